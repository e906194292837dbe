"""Whether an invocation may be executed: by whom it is, for whom, when, and by what chain of delegations.

An invocation holds if a chain of delegations leads from its issuer to the owner of the resource, the DID that it is.
Every link of the chain must be signed, be valid now, be addressed to the issuer of the next one, and grant all that is
asked.
Spec: https://github.com/ucan-wg/spec/tree/v0.9.1 sections 4 and 5
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

from mst.cid import CID, Link
from registry.ucan.covering import grants
from registry.ucan.delegation import decode_block
from registry.ucan.did import DID
from registry.ucan.errors import MissingProofs, UcanError, Unauthorized
from registry.ucan.limits import CLOCK_SKEW_SECONDS, PROOF_DEPTH_MAX, PROOFS_MAX
from registry.ucan.token import Capability, Payload, Token, TokenFormat
from registry.ucan.v091 import UCAN_0_9_1

REASONS_MAX = 8
"""Most reasons that a refusal lists."""


def authorize(
    invocation: Token,
    blocks: Mapping[Link, bytes],
    *,
    audiences: Collection[DID],
    now: int,
    skew_seconds: int = CLOCK_SKEW_SECONDS,
    form: TokenFormat = UCAN_0_9_1,
) -> Capability:
    """The one capability that an invocation may exercise.

    Args:
        invocation: what is asked.
        blocks: where its proofs are.
        audiences: who may execute it: the names of this machine.
        now: seconds since 1970.
        skew_seconds: how far the clocks may be apart.
        form: what the proofs are written in.

    Raises:
        Unauthorized: it may not; the error's name is what a receipt calls it.
    """
    payload = invocation.payload
    if payload.audience not in audiences:
        raise Unauthorized(
            f"the invocation is for {payload.audience}, not for {' or '.join(sorted(audiences))}",
            "InvalidAudienceError",
        )
    if len(payload.capabilities) != 1:
        raise Unauthorized("an invocation has exactly one capability", "InvocationCapabilityError")
    claimed = payload.capabilities[0]
    if problem := _outside_of_time(payload, now, skew_seconds):
        raise Unauthorized(f"the invocation {problem}")
    try:
        form.verify(invocation)
    except UcanError as error:
        raise Unauthorized(str(error)) from None
    search = _Search(claimed, blocks, now, skew_seconds, form)
    if not search.leads_to_owner(invocation):
        reasons = "".join(f"\n  - {reason}" for reason in search.reasons[:REASONS_MAX])
        raise Unauthorized(f"{payload.issuer} may not {claimed.can} with {claimed.resource}{reasons}")
    return claimed


def require_proofs(invocation: Token, blocks: Mapping[Link, bytes], *, form: TokenFormat = UCAN_0_9_1) -> None:
    """Whether every proof is there, and theirs.

    Raises:
        MissingProofs: some are not.
        Malformed: one that is there is no UCAN.
        Unauthorized: they are too many.
    """
    missing: list[CID] = []
    seen: set[CID] = set()
    waiting = list(invocation.payload.proofs)
    while waiting:
        proof = waiting.pop(0)
        if proof in seen:
            continue
        seen.add(proof)
        if len(seen) > PROOFS_MAX:
            raise Unauthorized(f"the invocation leans on more than {PROOFS_MAX} proofs")
        if proof in blocks:
            waiting += decode_block(proof, blocks, form).payload.proofs
        else:
            missing.append(proof)
    if missing:
        raise MissingProofs(missing)


def _outside_of_time(payload: Payload, now: int, skew_seconds: int) -> str | None:
    """What is wrong with the time of a UCAN, if anything is."""
    if payload.expires is not None and payload.expires + skew_seconds <= now:
        return f"has expired, at {payload.expires}"
    if payload.not_before is not None and now + skew_seconds < payload.not_before:
        return f"is not valid before {payload.not_before}"
    return None


class _Step(NamedTuple):
    """One UCAN of a chain that is being followed, and those of its proofs not looked at yet."""

    token: Token
    proofs: Iterator[CID]


class _Search:
    """Follows chains from an invocation until one ends at the owner; each proof is looked at once."""

    def __init__(
        self, claimed: Capability, blocks: Mapping[Link, bytes], now: int, skew_seconds: int, form: TokenFormat
    ) -> None:
        self.reasons: list[str] = []
        self._claimed = claimed
        self._blocks = blocks
        self._now = now
        self._skew_seconds = skew_seconds
        self._form = form
        self._seen: set[CID] = set()

    def leads_to_owner(self, invocation: Token) -> bool:
        path = [_Step(invocation, iter(invocation.payload.proofs))]
        while path:
            token, proofs = path[-1]
            if token.payload.issuer == self._claimed.resource:
                return True
            proof = next(proofs, None)
            if proof is None:
                path.pop()
            elif len(path) > PROOF_DEPTH_MAX:
                self.reasons.append(f"the chain has more than {PROOF_DEPTH_MAX} delegations")
                path.pop()
            elif proof not in self._seen:
                if len(self._seen) == PROOFS_MAX:
                    self.reasons.append(f"the invocation leans on more than {PROOFS_MAX} proofs")
                    return False
                self._seen.add(proof)
                if (found := self._usable(proof, token.payload.issuer)) is not None:
                    path.append(_Step(found, iter(found.payload.proofs)))
        if not self.reasons:
            self.reasons.append("it has no delegation")
        return False

    def _usable(self, proof: CID, audience: DID) -> Token | None:
        """The UCAN ``proof`` if it grants what is claimed to ``audience`` now, by itself."""
        try:
            token = decode_block(proof, self._blocks, self._form)
            problem = self._problem(token, audience)
            if problem is None:
                self._form.verify(token)
                return token
        except UcanError as error:
            problem = str(error)
        self.reasons.append(f"delegation {proof}: {problem}")
        return None

    def _problem(self, token: Token, audience: DID) -> str | None:
        payload = token.payload
        if payload.audience != audience:
            return f"is for {payload.audience}, not for {audience}"
        if not any(grants(granted, self._claimed) for granted in payload.capabilities):
            return f"does not grant {self._claimed.can} with {self._claimed.resource} so"
        return _outside_of_time(payload, self._now, self._skew_seconds)
