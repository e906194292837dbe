"""Base58 as Bitcoin writes it, by multiformats: how multibase texts that begin with ``z`` are read and written.

The time it takes grows with the square of the length (half a millisecond for a key), so texts are bounded, and those of
late are remembered: the same few names and digests come again and again.
Spec: https://datatracker.ietf.org/doc/html/draft-msporny-base58-03
"""

from __future__ import annotations

from functools import lru_cache

from multiformats import multibase

TEXT_CHARS_MAX = 256
"""Longest text that is read, in characters."""

_BASE = "base58btc"
_PREFIX = "z"
_REMEMBERED = 4096


@lru_cache(maxsize=_REMEMBERED)
def encode(data: bytes) -> str:
    """The text of ``data``, without a multibase prefix."""
    return multibase.encode(data, _BASE).removeprefix(_PREFIX)


@lru_cache(maxsize=_REMEMBERED)
def decode(text: str) -> bytes:
    """The bytes whose text is ``text``.

    Raises:
        ValueError: it is longer than ``TEXT_CHARS_MAX``, or has a character that is not of the alphabet.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise ValueError(f"more than {TEXT_CHARS_MAX} characters of base58")
    try:
        return multibase.decode(_PREFIX + text)
    except (KeyError, ValueError) as error:
        raise ValueError(f"no base58: {error}") from None
