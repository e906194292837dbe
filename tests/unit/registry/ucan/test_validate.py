"""What may be executed: chains that hold, and every way in which one does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest

from mst.cid import CID, DAG_CBOR
from registry.ucan.capability import Blob, BlobAllocate, Retrieve, capability
from registry.ucan.delegation import Delegation, delegate, gather, invoke
from registry.ucan.errors import MissingProofs, Unauthorized
from registry.ucan.limits import CLOCK_SKEW_SECONDS, PROOF_DEPTH_MAX, PROOFS_MAX
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability
from registry.ucan.v091 import UCAN_0_9_1
from registry.ucan.validate import authorize, require_proofs

DIGEST = bytes(range(32))
READ = "space/content/retrieve"


@pytest.fixture
def allowed(keys: SimpleNamespace, now: int) -> Callable[..., Capability]:
    """Authorize an invocation on the node."""

    def run(invocation: Delegation, **how: Any) -> Capability:
        return authorize(invocation.token, invocation.attached, **{"audiences": {keys.node.did}, "now": now} | how)

    return run


@pytest.fixture
def read(keys: SimpleNamespace, now: int) -> Callable[..., Delegation]:
    """The agent asks for bytes 10 to 19 of a blob of the space, by the given proofs."""

    def run(*proofs: Delegation, signer: KeySigner = keys.agent, **how: Any) -> Delegation:
        asked = capability(keys.space.did, Retrieve(DIGEST, 10, 19))
        return delegate(signer, keys.node.did, [asked], **{"expires": now + 30, "proofs": proofs} | how)

    return run


@pytest.fixture
def grant(keys: SimpleNamespace, now: int) -> Callable[..., Delegation]:
    """The space lets the agent read."""

    def run(can: str = READ, resource: str = keys.space.did, **how: Any) -> Delegation:
        nb = how.pop("nb", {})
        signer, audience = how.pop("signer", keys.space), how.pop("audience", keys.agent.did)
        return delegate(signer, audience, [Capability(can, resource, nb)], **{"expires": now + 60} | how)

    return run


def test_the_owner_needs_no_delegation(read: Any, allowed: Any, keys: SimpleNamespace) -> None:
    asked = read(signer=keys.space)
    assert allowed(asked) == asked.capability


def test_a_delegate_needs_one(read: Any, allowed: Any, grant: Any) -> None:
    asked = read(grant())
    assert allowed(asked) == asked.capability
    with pytest.raises(Unauthorized, match="no delegation"):
        allowed(read())


@pytest.mark.parametrize("can", [READ, "space/content/*", "space/*", "*"])
def test_abilities_that_cover(can: str, read: Any, allowed: Any, grant: Any) -> None:
    allowed(read(grant(can)))


@pytest.mark.parametrize("can", ["space/content/retrieves", "space/content", "spac/*", "space/content/retrieve/*",
                                 "space/content/r*", "blob/*", "space/content/retriev"])  # fmt: skip
def test_abilities_that_do_not(can: str, read: Any, allowed: Any, grant: Any) -> None:
    with pytest.raises(Unauthorized, match="does not grant"):
        allowed(read(grant(can)))


def test_all_that_the_issuer_has_covers(read: Any, allowed: Any, grant: Any, keys: SimpleNamespace) -> None:
    allowed(read(grant(resource="ucan:*")))
    with pytest.raises(Unauthorized):
        allowed(read(grant(resource="ucan:*", signer=keys.other)))
    with pytest.raises(Unauthorized):
        allowed(invoke(keys.space, keys.node.did, Capability(READ, "ucan:*"), expires=None))


def test_another_space_does_not_cover(read: Any, allowed: Any, grant: Any, keys: SimpleNamespace) -> None:
    with pytest.raises(Unauthorized, match="does not grant"):
        allowed(read(grant(resource=keys.other.did, signer=keys.other)))
    with pytest.raises(Unauthorized, match="no delegation"):
        allowed(read(grant(signer=keys.other)))


WITHIN = {"digest": b"\x12\x20" + DIGEST}


@pytest.mark.parametrize(
    "nb", [{}, None, {"blob": WITHIN}, {"range": [10, 19]}, {"range": [0, 100]}, {"blob": WITHIN, "range": [10, 20]}]
)
def test_conditions_that_are_met(nb: Any, read: Any, allowed: Any, grant: Any) -> None:
    allowed(read(grant(nb=nb)))


@pytest.mark.parametrize(
    "nb",
    [
        {"blob": {"digest": b"\x12\x20" + bytes(32)}},
        {"blob": {}},
        {"blob": {**WITHIN, "size": 1}},
        {"range": [11, 19]},
        {"range": [10, 18]},
        {"range": [0, 9]},
        {"range": []},
        {"range": [20, 10]},
        {"range": None},
        {"range": [False, 100]},
        {"range": {"start": 0}},
        {"more": 1},
        {"more": None},
    ],
    ids=str,
)
def test_conditions_that_are_not(nb: Any, read: Any, allowed: Any, grant: Any) -> None:
    with pytest.raises(Unauthorized, match="does not grant"):
        allowed(read(grant(nb=nb)))


def test_a_condition_is_equal_in_type_too(grant: Any, keys: SimpleNamespace, now: int, allowed: Any) -> None:
    def asked(argument: Any) -> Delegation:
        capability = Capability("test/do", keys.space.did, {"n": argument})
        return invoke(keys.agent, keys.node.did, capability, expires=now, proofs=[grant("test/do", nb={"n": 1})])

    allowed(asked(1))
    for other in (True, "1", [1], None, 2):
        with pytest.raises(Unauthorized):
            allowed(asked(other))


def test_a_chain_of_delegations(read: Any, allowed: Any, grant: Any, keys: SimpleNamespace, now: int) -> None:
    def chain(length: int) -> Delegation:
        signers = [keys.space, *(KeySigner(bytes([100 + n]) * 32) for n in range(length - 1)), keys.agent]
        link: list[Delegation] = []
        for signer, audience in pairwise(signers):
            link = [grant(signer=signer, audience=audience.did, proofs=link)]
        return read(*link)

    for length in (2, PROOF_DEPTH_MAX):
        allowed(chain(length))
    with pytest.raises(Unauthorized, match=f"more than {PROOF_DEPTH_MAX} delegations"):
        allowed(chain(PROOF_DEPTH_MAX + 1))


def test_every_link_must_grant(read: Any, allowed: Any, grant: Any, keys: SimpleNamespace, now: int) -> None:
    for first in ({"can": "blob/*"}, {"nb": {"range": [0, 12]}}, {"expires": now - 100}, {"audience": keys.node.did},
                  {"not_before": now + 100}, {"signer": keys.agent}):  # fmt: skip
        start = grant(**{"audience": keys.other.did} | first)
        with pytest.raises(Unauthorized):
            allowed(read(grant(signer=keys.other, proofs=[start])))
    allowed(read(grant(signer=keys.other, proofs=[grant(audience=keys.other.did)])))


def test_one_proof_of_many_is_enough(read: Any, allowed: Any, grant: Any, keys: SimpleNamespace, now: int) -> None:
    expired, foreign = grant(expires=now - 100), grant(signer=keys.other)
    allowed(read(expired, foreign, grant("blob/*"), grant()))
    with pytest.raises(Unauthorized) as refused:
        allowed(read(expired, foreign, grant("blob/*")))
    assert str(refused.value).count("\n") == 2
    assert refused.value.name == "Unauthorized"


def test_proofs_are_bounded(read: Any, allowed: Any, grant: Any) -> None:
    bad = [grant("blob/*", nonce=str(n)) for n in range(PROOFS_MAX)]
    inner = grant("space/*", proofs=bad)
    with pytest.raises(Unauthorized, match="more than"):
        require_proofs(read(inner).token, read(inner).attached)
    allowed(read(inner))


@pytest.mark.parametrize("late", [0, CLOCK_SKEW_SECONDS - 1])
def test_clocks_may_differ(late: int, read: Any, allowed: Any, grant: Any, now: int) -> None:
    allowed(read(grant(), expires=now - late))
    allowed(read(grant(expires=now - late)))
    allowed(read(grant(), not_before=now + late))
    allowed(read(grant(not_before=now + late + 1)))


@pytest.mark.parametrize("how", [{"expires": -CLOCK_SKEW_SECONDS}, {"not_before": CLOCK_SKEW_SECONDS + 1}])
def test_but_not_by_much(how: dict[str, int], read: Any, allowed: Any, grant: Any, now: int) -> None:
    times = {name: now + offset for name, offset in how.items()}
    for asked in (read(grant(), **times), read(grant(**times))):
        with pytest.raises(Unauthorized, match=r"expired|not valid before"):
            allowed(asked)
    with pytest.raises(Unauthorized):
        allowed(read(grant(), expires=now), skew_seconds=0)


def test_never_ending_is_allowed(read: Any, allowed: Any, grant: Any) -> None:
    allowed(read(grant(expires=None), expires=None))


def test_it_must_be_for_us(read: Any, allowed: Any, grant: Any, keys: SimpleNamespace) -> None:
    with pytest.raises(Unauthorized) as refused:
        allowed(read(grant()), audiences={keys.other.did})
    assert refused.value.name == "InvalidAudienceError"
    allowed(read(grant()), audiences={keys.other.did, keys.node.did})


def test_it_must_ask_one_thing(allowed: Any, keys: SimpleNamespace) -> None:
    two = delegate(keys.space, keys.node.did, [Capability(READ, keys.space.did)] * 2, expires=None)
    with pytest.raises(Unauthorized) as refused:
        allowed(two)
    assert refused.value.name == "InvocationCapabilityError"


def test_a_node_may_be_used_by_whom_it_lets(keys: SimpleNamespace, now: int, allowed: Any, grant: Any) -> None:
    asked = capability(keys.node.did, BlobAllocate(keys.space.did, Blob(DIGEST, 5), CID.of(DAG_CBOR, b"")))
    pass_ = grant("blob/allocate", keys.node.did, signer=keys.node, expires=None)
    allowed(invoke(keys.agent, keys.node.did, asked, expires=now, proofs=[pass_]))
    for proofs in ([], [grant("blob/accept", keys.node.did, signer=keys.node)], [grant("*", keys.node.did)]):
        with pytest.raises(Unauthorized):
            allowed(invoke(keys.agent, keys.node.did, asked, expires=now, proofs=proofs))


def test_any_changed_byte_of_a_chain_is_noticed(read: Any, grant: Any, allowed: Any, keys: SimpleNamespace) -> None:
    """Blocks that were tampered with have other CIDs; here the CID is made to fit as an attacker would."""
    proof = grant(expires=None)
    allowed(read(proof))
    refusals = 0
    for at in range(0, len(proof.token.data), 3):
        data = bytearray(proof.token.data)
        data[at] ^= 1
        try:
            forged = UCAN_0_9_1.decode(bytes(data))
        except Exception:
            continue
        refusals += 1
        with pytest.raises(Unauthorized):
            allowed(read(Delegation(forged)))
    assert refusals > 20


def test_a_signature_of_another_is_noticed(read: Any, grant: Any, allowed: Any, keys: SimpleNamespace) -> None:
    good = read(grant())
    other = read(grant(), nonce="other")
    with pytest.raises(Unauthorized, match="signature"):
        allowed(Delegation(replace(good.token, signature=other.token.signature), good.attached))


def test_an_issuer_whose_key_is_not_known_is_refused(allowed: Any, keys: SimpleNamespace) -> None:
    class Web:
        did = "did:web:example.com"
        sign = keys.space.sign

    asked = invoke(Web(), keys.node.did, Capability("test/do", "did:web:example.com"), expires=None)
    with pytest.raises(Unauthorized, match="no did:key"):
        allowed(asked)


def test_proofs_that_were_not_sent(read: Any, grant: Any, allowed: Any, keys: SimpleNamespace) -> None:
    first = grant(audience=keys.other.did)
    second = grant(signer=keys.other, proofs=[first])
    asked = read(second)
    require_proofs(asked.token, asked.attached)
    with pytest.raises(MissingProofs) as missing:
        require_proofs(asked.token, {})
    assert missing.value.proofs == (second.cid,)
    with pytest.raises(MissingProofs) as missing:
        require_proofs(asked.token, {second.cid: second.token.data})
    assert missing.value.proofs == (first.cid,)
    with pytest.raises(Unauthorized, match="missing"):
        allowed(gather(asked.cid, {asked.cid: asked.token.data}))
