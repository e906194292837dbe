"""What a node refuses, and how it says so."""

from __future__ import annotations


class Refused(Exception):
    """What is asked is not done; nothing was changed.

    Args:
        name: which failure a receipt calls it.
        message: why, for a person.
        status: for who asks over HTTP alone.
    """

    def __init__(self, name: str, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.name = name
        self.status = status
