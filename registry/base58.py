"""Base58 as Bitcoin writes it: how multibase texts that begin with ``z`` are read and written.

The time it takes grows with the square of the length, so texts are bounded.
Spec: https://datatracker.ietf.org/doc/html/draft-msporny-base58-03
"""

from __future__ import annotations

TEXT_CHARS_MAX = 256
"""Longest text that is read, in characters."""

_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_DIGIT_OF = {char: digit for digit, char in enumerate(_ALPHABET)}
_BASE = 58


def encode(data: bytes) -> str:
    """The text of ``data``, without a multibase prefix."""
    number = int.from_bytes(data, "big")
    text = []
    while number:
        number, digit = divmod(number, _BASE)
        text.append(_ALPHABET[digit])
    zeros = len(data) - len(data.lstrip(b"\x00"))
    return _ALPHABET[0] * zeros + "".join(reversed(text))


def decode(text: str) -> bytes:
    """The bytes whose text is ``text``.

    Raises:
        ValueError: it is longer than ``TEXT_CHARS_MAX``, or has a character that is not of the alphabet.
    """
    if len(text) > TEXT_CHARS_MAX:
        raise ValueError(f"more than {TEXT_CHARS_MAX} characters of base58")
    number = 0
    for char in text:
        digit = _DIGIT_OF.get(char)
        if digit is None:
            raise ValueError("a character that is not of the base58 alphabet")
        number = number * _BASE + digit
    zeros = len(text) - len(text.lstrip(_ALPHABET[0]))
    return bytes(zeros) + number.to_bytes((number.bit_length() + 7) // 8, "big")
