"""Receipts: what came of an invocation, signed by the one who executed it.

Spec: https://github.com/ucan-wg/invocation (receipts, as of version 0.1) and
https://github.com/storacha/specs/blob/main/w3-ucan.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mst import cbor
from mst.cbor import Value
from mst.cid import CID, DAG_CBOR, Link
from registry.ucan import signing, wire
from registry.ucan.did import DID
from registry.ucan.errors import Malformed, Untrusted
from registry.ucan.limits import FORKS_MAX, PROOFS_MAX, RECEIPT_BYTES_MAX
from registry.ucan.signing import Signer
from registry.ucan.wire import Fields

_REASON_CHARS = 500


@dataclass(frozen=True, slots=True)
class Ok:
    """It was done; ``value`` is what the capability promises."""

    value: Value


@dataclass(frozen=True, slots=True)
class Failure:
    """It was not done.

    Attributes:
        fields: a map with a ``message`` and mostly a ``name``; traces of the other side may be in it.
    """

    fields: Mapping[str, Value]

    @classmethod
    def of(cls, name: str, message: str) -> Failure:
        """A failure of that name."""
        return cls({"name": name, "message": message})

    @property
    def name(self) -> str:
        """Which failure it is, or an empty text."""
        return self._text("name")

    @property
    def message(self) -> str:
        """What went wrong, cut to a length fit for a log, or an empty text."""
        return self._text("message")

    def _text(self, name: str) -> str:
        value = self.fields.get(name)
        return value[:_REASON_CHARS] if isinstance(value, str) else ""


@dataclass(frozen=True, slots=True)
class Receipt:
    """One receipt.  Nothing says the signature holds until `verify` did.

    Attributes:
        ran: the invocation.
        out: what came of it.
        issuer: who executed it, or None where the receipt does not say.
        fork: invocations and claims that follow from it.
        join: an invocation to wait for, or None.
        proofs: UCANs by which the issuer may sign for the executor.
        data: the receipt's block.
        signed: the bytes that are signed.
        signature: with its kind in front.
        attached: blocks that the receipt speaks of.
    """

    ran: CID
    out: Ok | Failure
    issuer: DID | None
    fork: tuple[CID, ...]
    join: CID | None
    proofs: tuple[CID, ...]
    data: bytes
    signed: bytes
    signature: bytes
    attached: Mapping[Link, bytes] = field(default_factory=dict)

    @property
    def cid(self) -> CID:
        """The receipt's CID."""
        return CID.of(DAG_CBOR, self.data)

    def blocks(self) -> Iterator[tuple[Link, bytes]]:
        """Every block, the receipt last."""
        yield from self.attached.items()
        yield self.cid, self.data

    def verify(self, executor: DID, ran: CID) -> None:
        """Check who signed it and what for.

        Args:
            executor: who should have executed the invocation, a did:key.
            ran: the invocation.

        Raises:
            Untrusted: it is by somebody else, about something else, or the signature does not hold.
        """
        if self.ran != ran:
            raise Untrusted(f"a receipt for {self.ran} instead of {ran}")
        if self.issuer is not None and self.issuer != executor:
            raise Untrusted(f"a receipt of {self.issuer} instead of {executor}")
        signing.verify(executor, self.signature, self.signed)


def issue(
    signer: Signer,
    ran: CID,
    out: Ok | Failure,
    *,
    fork: Sequence[CID] = (),
    attached: Iterable[tuple[Link, bytes]] = (),
) -> Receipt:
    """A new receipt, signed.

    Args:
        signer: who executed the invocation.
        ran: the invocation.
        out: what came of it.
        fork: what follows from it.
        attached: blocks to carry.

    Raises:
        Malformed: ``out`` has no form in DAG-CBOR, or the receipt is too large.
    """
    outcome: dict[str, Value] = {"ok": out.value} if isinstance(out, Ok) else {"error": out.fields}
    content: dict[str, Value] = {
        "fx": {"fork": fork},
        "iss": signer.did,
        "out": outcome,
        "prf": [],
        "ran": ran,
        "meta": {},
    }
    signature = signing.sign(signer, wire.encode(content, "receipt"))
    return decode(wire.encode({"ocm": content, "sig": signature}, "receipt"), dict(attached))


def decode(data: bytes, attached: Mapping[Link, bytes] | None = None) -> Receipt:
    """The receipt whose block is exactly ``data``.

    Args:
        data: the block.
        attached: the blocks it came with.

    Raises:
        Malformed: it is no receipt.
    """
    fields = Fields(wire.decode(data, "receipt", limit_bytes=RECEIPT_BYTES_MAX), "receipt")
    content: dict[str, Value] = fields.take("ocm", dict)
    signature = fields.take("sig", bytes)
    fields.end()
    said = Fields(content, "receipt")
    effects = Fields(said.take("fx", dict), "effects of a receipt")
    issuer = said.take_if("iss", str)
    receipt = Receipt(
        ran=said.take("ran", CID),
        out=_outcome(said.take("out", dict)),
        issuer=None if issuer is None else DID.parse(issuer),
        fork=effects.take_list("fork", CID, many=FORKS_MAX),
        join=effects.take_if("join", CID),
        proofs=said.take_list("prf", CID, many=PROOFS_MAX),
        data=data,
        signed=cbor.encode(content),
        signature=signature,
        attached=attached or {},
    )
    said.take("meta", dict)
    effects.end()
    said.end()
    return receipt


def _outcome(value: dict[str, Value]) -> Ok | Failure:
    if value.keys() == {"ok"}:
        return Ok(value["ok"])
    if value.keys() == {"error"}:
        error = value["error"]
        return Failure(error if isinstance(error, dict) else {"message": str(error)[:_REASON_CHARS]})
    raise Malformed("a receipt says neither ok nor error, or both")
