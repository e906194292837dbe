"""Text in headers beyond ASCII, as RFC 2047 encoded words; lenient where what is sent is not quite that.

Source: RFC 2047 sections 2 and 4, and what Amazon S3 does with user metadata.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final
from urllib.parse import unquote_to_bytes

_WORD: Final = re.compile(r"=\?(utf-8|us-ascii|iso-8859-1)\?([bq])\?([!->@-~]*)\?=", re.IGNORECASE | re.ASCII)
_BAD_Q_ESCAPE: Final = re.compile(r"=(?![0-9A-Fa-f]{2})")
_WORD_BYTES_MAX: Final = 45  # RFC 2047 2: an encoded word has at most 75 characters


def encode(text: str) -> str:
    """Return ``text`` fit for a header: as it is if that can be read back, else as RFC 2047 encoded words."""
    if text.isascii() and text.strip(" \t") == text == decode(text):
        return text
    words: list[str] = []
    chunk = b""
    for character in text:
        encoded = character.encode()
        if len(chunk) + len(encoded) > _WORD_BYTES_MAX:
            words.append(chunk.decode())
            chunk = b""
        chunk += encoded
    words.append(chunk.decode())
    return " ".join(f"=?UTF-8?B?{base64.b64encode(w.encode()).decode()}?=" for w in words)


def decode(value: str) -> str:
    """Return the text of a value that is made of RFC 2047 encoded words, else the value itself."""
    if not value.startswith("=?"):
        return value
    decoded = ""
    pending = b""  # a character may be split between two words
    charset = ""
    try:
        for word in value.split():
            match = _WORD.fullmatch(word)
            if match is None:
                return value
            if match[1].lower() != charset:
                decoded += pending.decode(charset or "ascii")
                pending, charset = b"", match[1].lower()
            pending += _word_bytes(match[2].lower(), match[3])
        return decoded + pending.decode(charset)
    except (UnicodeDecodeError, binascii.Error):
        return value


def _word_bytes(encoding: str, text: str) -> bytes:
    if encoding == "b":
        return base64.b64decode(text, validate=True)
    if _BAD_Q_ESCAPE.search(text):
        raise binascii.Error
    return unquote_to_bytes(text.replace("%", "%25").replace("=", "%").replace("_", " "))
