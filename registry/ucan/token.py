"""One UCAN: who lets whom do what with which resource until when, and the interface of a form to write it in.

A newer form than 0.9.1 exists; what needs to know the form is behind `TokenFormat`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from mst.cbor import Value
from mst.cid import CID
from registry.ucan.did import DID
from registry.ucan.signing import Signer


@dataclass(frozen=True, slots=True)
class Capability:
    """Something that may be done.

    Attributes:
        can: the ability, such as ``blob/accept``, or a pattern, ``blob/*`` or ``*``.
        resource: what it is done with: a DID, another URI, or ``ucan:*`` for all the issuer has.
        nb: the conditions, or in an invocation the arguments; None where a token has no such field.
    """

    can: str
    resource: str
    nb: Mapping[str, Value] | None = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """What a UCAN says.

    Attributes:
        issuer: who says it, and signs.
        audience: to whom.
        capabilities: what the audience may do; an invocation has exactly one.
        expires: when it ends, seconds since 1970, or None for never.
        not_before: when it begins, or None.
        nonce: makes two equal UCANs different, or None.
        facts: statements that grant nothing.
        proofs: UCANs by which the issuer has what it grants.
    """

    issuer: DID
    audience: DID
    capabilities: tuple[Capability, ...]
    expires: int | None
    not_before: int | None = None
    nonce: str | None = None
    facts: tuple[Mapping[str, Value], ...] = ()
    proofs: tuple[CID, ...] = ()


@dataclass(frozen=True, slots=True)
class Token:
    """A signed UCAN.  Nothing says the signature holds until `TokenFormat.verify` did.

    Attributes:
        payload: what it says.
        signature: with its kind in front.
        cid: the CID of its block.
        data: its block.
    """

    payload: Payload
    signature: bytes
    cid: CID
    data: bytes


class TokenFormat(Protocol):
    """A form of UCANs."""

    tag: str
    """What an archive calls it."""

    def sign(self, payload: Payload, signer: Signer) -> Token:
        """The UCAN that says ``payload``, signed.

        Raises:
            Malformed: the payload has no such form.
            Untrusted: the signer is not the issuer.
        """

    def decode(self, data: bytes) -> Token:
        """The UCAN whose block is exactly ``data``.

        Raises:
            Malformed: it is none.
        """

    def verify(self, token: Token) -> None:
        """Check the signature.

        Raises:
            Untrusted: it does not hold, or cannot be checked because the issuer is no did:key.
        """
