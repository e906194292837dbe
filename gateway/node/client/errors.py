"""What can go wrong with a storage node.

::

    NodeError
    ├── NodeUnavailable     it could not be reached, was too slow, or said so itself: try again later
    ├── NodeRefused         it was reached and said no
    ├── NodeLied            its answer is not what it should be: wrong bytes, receipt, claim or form
    ├── SourceDamaged       what was to be sent is not what its digest says; nothing the node did
    └── Misconfigured       what the client was given does not fit together
"""

from __future__ import annotations


class NodeError(Exception):
    """Base of everything the client raises on purpose."""


class NodeUnavailable(NodeError):
    """The node cannot be used now; the same may work later.

    Args:
        reason: what happened, for a person.
        retry_after_seconds: when the node, or the circuit breaker, said to come back; None where nobody did.
    """

    def __init__(self, reason: str, retry_after_seconds: float | None = None) -> None:
        super().__init__(reason, retry_after_seconds)
        self.retry_after_seconds = retry_after_seconds

    def __str__(self) -> str:
        return str(self.args[0])


class NodeRefused(NodeError):
    """The node said no.

    Args:
        name: which refusal a receipt says it is, or ``HTTP`` and the status where there is no receipt.
        message: why, in the node's words.
    """

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message)
        self.name = name
        self.message = message

    def __str__(self) -> str:
        return f"{self.name}: {self.message}"


class NodeLied(NodeError):
    """The node's answer is not to be believed."""


class SourceDamaged(NodeError):
    """The bytes that were to be sent are not those of the blob's digest and size."""


class Misconfigured(NodeError):
    """The node's address, its name and the grant do not fit together; the message says what to do about it."""
