"""The errors of this package: `UcanError`, and one class for each thing a caller may want to do about it."""

from __future__ import annotations

from collections.abc import Sequence

from mst.cid import CID
from registry.errors import RegistryError


class UcanError(RegistryError):
    """Base of every error this package raises on purpose."""


class Malformed(UcanError):
    """Bytes, text or fields are not what they should be, or are over a limit."""


class Untrusted(UcanError):
    """What was read is well formed but not said by the one who should have said it."""


class HeaderTooLong(UcanError):
    """A message has no room in the X-Agent-Message header."""


class Unauthorized(UcanError):
    """An invocation may not be executed.

    Args:
        reason: why, for a person.
        name: which error a receipt calls it.
    """

    def __init__(self, reason: str, name: str = "Unauthorized") -> None:
        super().__init__(reason)
        self.name = name


class MissingProofs(UcanError):
    """Proofs that an invocation leans on have not been sent.

    Args:
        proofs: which, in the order they were met.
    """

    def __init__(self, proofs: Sequence[CID]) -> None:
        super().__init__(f"{len(proofs)} proofs are missing")
        self.proofs = tuple(proofs)
