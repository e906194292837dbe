"""URLs that a node gives: only those that are plainly of HTTP are followed, and just as they were written."""

from __future__ import annotations

import re

from yarl import URL

from gateway.node.client.errors import NodeLied
from registry.ucan.limits import URL_CHARS_MAX

_HOST = r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])"
_PLAIN = re.compile(rf"https?://{_HOST}(?::[0-9]+)?(?:[/?][!-\"$-~]*)?")
"""Without user, password and fragment."""


def http_url(text: str) -> URL:
    """The URL that is exactly ``text``.

    Raises:
        NodeLied: it is not of HTTP, too long, or has a user, a password or a fragment.
    """
    if len(text) <= URL_CHARS_MAX and _PLAIN.fullmatch(text) is not None:
        try:
            url = URL(text, encoded=True)
            if url.host and url.port is not None:
                return url
        except ValueError:
            pass
    raise NodeLied(f"{text[:100]!r} is no URL of HTTP without user and fragment")
