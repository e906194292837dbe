"""The errors of this package, so that a caller can catch all of them, or exactly one kind."""

from __future__ import annotations


class MstError(Exception):
    """Base of every error this package raises on purpose."""


class FormatError(MstError):
    """Bytes are not a valid canonical document of their format, or a value has no such form.

    The only exception a decoder raises, whatever the bytes.
    """


class TreeLimitError(MstError):
    """A change would push a tree node over a limit, so the tree refuses it.

    Args:
        reason: which limit, in words.
        key: the key whose insertion was refused, where one key alone is to blame.
    """

    def __init__(self, reason: str, key: bytes | None = None) -> None:
        super().__init__(reason)
        self.key = key
