"""Text on its way into an XML response.

Responses are built as strings (an element tree costs eight times as much for a listing of 1000
keys), so each value has to pass through exactly one of the two functions here.
"""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote

DECLARATION: Final = '<?xml version="1.0" encoding="UTF-8"?>\n'
NAMESPACE: Final = "http://s3.amazonaws.com/doc/2006-03-01/"

# Besides markup: the characters XML 1.0 cannot carry, and CR, which a parser would turn into LF.
_SPECIAL: Final = re.compile('[&<>"\x00-\x08\x0b-\x1f\ud800-\udfff\ufffe\uffff]')
_UNRESERVED: Final = re.compile(r"[A-Za-z0-9_.~/-]*", re.ASCII)
_NAMED: Final = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;"}


def _reference(match: re.Match[str]) -> str:
    character = match.group()
    return _NAMED.get(character) or f"&#x{ord(character):x};"


def escape(text: str) -> str:
    """Return ``text`` as XML character data, usable inside double-quoted attributes too.

    Control characters become numeric references, as Amazon S3 writes them. XML 1.0 has no way to
    carry them, so a client that may meet such keys has to list with ``encoding-type=url``.
    """
    if _SPECIAL.search(text) is None:
        return text
    return _SPECIAL.sub(_reference, text)


def url_encode(text: str) -> str:
    """Return ``text`` percent-encoded for a listing with ``encoding-type=url``.

    ``/`` is kept, a space is ``%20`` and ``+`` is ``%2B``: both a decoder that turns ``+`` into a
    space and one that does not give back the key.
    """
    # Most keys have nothing to encode, and looking is four times as fast as encoding.
    return text if _UNRESERVED.fullmatch(text) else quote(text, safe="/")
