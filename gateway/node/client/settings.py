"""What a client is given: which node, by whose authority, and how patient to be."""

from __future__ import annotations

from dataclasses import dataclass, field

from registry.ucan.did import DID
from registry.ucan.signing import Signer

KIB = 1024


@dataclass(frozen=True, slots=True)
class Service:
    """Somebody who executes invocations.

    Attributes:
        url: where, ``http://`` or ``https://``.
        did: who; a did:key, because receipts are checked with it.
    """

    url: str
    did: DID


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a request may take.

    Attributes:
        connect_seconds: until there is a connection, with TLS where that is used.
        read_seconds: until an answer begins, and over which the slowest transfer is judged.
        total_seconds: with all retries, beside the time that the bytes may take.
        bytes_per_second: the slowest transfer that is waited for.
    """

    connect_seconds: float = 5.0
    read_seconds: float = 20.0
    total_seconds: float = 30.0
    bytes_per_second: int = 32 * KIB


@dataclass(frozen=True, slots=True, kw_only=True)
class Retries:
    """How often and how soon to try again, and when to stop trying anybody.

    Attributes:
        attempts: most attempts of one request.
        base_seconds: the longest pause before the second attempt; it doubles with each.
        cap_seconds: the longest pause.
        failures_max: so many failures in a row open the circuit breaker.
        open_seconds: how long it stays open before one request may try.
    """

    attempts: int = 4
    base_seconds: float = 0.1
    cap_seconds: float = 5.0
    failures_max: int = 8
    open_seconds: float = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Remote:
    """A storage node and what is needed to use it.

    Attributes:
        node: the storage node.
        indexer: who finds blobs and blocks; None where the node does.
        grant: the node's delegation of ``blob/allocate`` and ``blob/accept`` to the agent, as text.
        space: the key of the space whose blobs these are.
        agent: the key that asks; None where the space key does.
        timeouts: how long to wait.
        retries: how often to try.
    """

    node: Service
    grant: str
    space: Signer
    indexer: Service | None = None
    agent: Signer | None = None
    timeouts: Timeouts = field(default_factory=Timeouts)
    retries: Retries = field(default_factory=Retries)
