"""A UCAN together with the UCANs it leans on: what is granted, sent and kept.

An invocation is a delegation with one capability to the one who is to execute it.
Spec: https://github.com/storacha/specs/blob/main/w3-ucan.md
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from mst.cbor import Value
from mst.cid import CID, Link
from registry.ucan.did import DID
from registry.ucan.errors import Malformed
from registry.ucan.limits import MESSAGE_BLOCKS_MAX
from registry.ucan.signing import Signer
from registry.ucan.token import Capability, Payload, Token, TokenFormat
from registry.ucan.v091 import UCAN_0_9_1


@dataclass(frozen=True, slots=True)
class Delegation:
    """One UCAN and the blocks that go with it.

    Attributes:
        token: the UCAN.
        attached: blocks of its proofs, each behind its own proofs, and others it speaks of.
    """

    token: Token
    attached: Mapping[Link, bytes] = field(default_factory=dict)

    @property
    def cid(self) -> CID:
        """The UCAN's CID."""
        return self.token.cid

    @property
    def capability(self) -> Capability:
        """The one capability of an invocation, or the first of a delegation."""
        return self.token.payload.capabilities[0]

    def blocks(self) -> Iterator[tuple[Link, bytes]]:
        """Every block, proofs first and the UCAN last."""
        yield from self.attached.items()
        yield self.token.cid, self.token.data


def delegate(
    signer: Signer,
    audience: DID,
    capabilities: Sequence[Capability],
    *,
    expires: int | None,
    proofs: Sequence[Delegation] = (),
    facts: Sequence[Mapping[str, Value]] = (),
    attached: Iterable[tuple[Link, bytes]] = (),
    not_before: int | None = None,
    nonce: str | None = None,
    form: TokenFormat = UCAN_0_9_1,
) -> Delegation:
    """A new delegation or invocation, signed.

    Args:
        signer: who grants or asks.
        audience: to whom.
        capabilities: what.
        expires: seconds since 1970, or None for never.
        proofs: by what the signer has it.
        facts: statements that grant nothing.
        attached: more blocks to carry.
        not_before: seconds since 1970, or None.
        nonce: makes two equal UCANs different.
        form: which UCAN to write.

    Raises:
        Malformed: it cannot be written, or is over a limit.
    """
    payload = Payload(
        issuer=DID.parse(signer.did),
        audience=audience,
        capabilities=tuple(capabilities),
        expires=expires,
        not_before=not_before,
        nonce=nonce,
        facts=tuple(facts),
        proofs=tuple(proof.cid for proof in proofs),
    )
    carried: dict[Link, bytes] = {}
    for proof in proofs:
        carried.update(proof.blocks())
    carried.update(attached)
    return Delegation(form.sign(payload, signer), carried)


def invoke(
    signer: Signer,
    audience: DID,
    capability: Capability,
    *,
    expires: int | None,
    proofs: Sequence[Delegation] = (),
    facts: Sequence[Mapping[str, Value]] = (),
    nonce: str | None = None,
) -> Delegation:
    """An invocation: `delegate` of one capability to the one who is to execute it."""
    return delegate(signer, audience, (capability,), expires=expires, proofs=proofs, facts=facts, nonce=nonce)


def gather(cid: Link, blocks: Mapping[Link, bytes], form: TokenFormat = UCAN_0_9_1) -> Delegation:
    """The delegation ``cid`` out of a pile of blocks, with those of its proofs that are there, however deep.

    Raises:
        Malformed: its block is not there, it or a proof is no UCAN, or they are too many.
    """
    token = decode_block(cid, blocks, form)
    order: dict[Link, bytes] = {}
    waiting = [iter(token.payload.proofs)]
    path: list[Token] = [token]
    while waiting:
        proof = next(waiting[-1], None)
        if proof is None:
            waiting.pop()
            done = path.pop()
            if waiting:
                order[done.cid] = done.data
        elif proof in blocks and proof not in order:
            if len(order) + len(path) > MESSAGE_BLOCKS_MAX:
                raise Malformed(f"a delegation with more than {MESSAGE_BLOCKS_MAX} proofs")
            path.append(decode_block(proof, blocks, form))
            waiting.append(iter(path[-1].payload.proofs))
    return Delegation(token, order)


def decode_block(cid: Link, blocks: Mapping[Link, bytes], form: TokenFormat = UCAN_0_9_1) -> Token:
    """The UCAN whose block is ``cid``.

    Raises:
        Malformed: the block is not there, or is no UCAN.
    """
    data = blocks.get(cid)
    if data is None:
        raise Malformed(f"the block of UCAN {cid} is missing")
    token = form.decode(data)
    if token.cid != cid:
        raise Malformed(f"{cid} does not name a UCAN of this form")
    return token
