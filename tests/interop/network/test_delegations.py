"""Chains of delegations, made by us and by the public packages from the same description: the same bytes, and both
judge them alike."""

from __future__ import annotations

import json
import time
from base64 import b64decode, b64encode
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from mst import cbor
from mst.cid import CID, DAG_CBOR, multihash
from registry.ucan import message
from registry.ucan.delegation import Delegation, delegate, gather
from registry.ucan.did import DID
from registry.ucan.errors import Unauthorized
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability
from registry.ucan.v091 import UCAN_0_9_1
from registry.ucan.validate import authorize

pytestmark = pytest.mark.interop

NODE, SPACE, AGENT, FRIEND = (KeySigner(bytes([seed]) * 32) for seed in (1, 2, 3, 4))
DIGEST = bytes(range(32))
READ = "space/content/retrieve"
NOW = int(time.time())
LATER, LONG_AGO = NOW + 3600, NOW - 3600

Step = dict[str, Any]


def lets(signer: KeySigner, audience: KeySigner, can: str = READ, **what: Any) -> Step:
    """A step of a chain: ``signer`` lets ``audience`` do something."""
    return {"signer": signer, "audience": audience.did, "can": can, "with": SPACE.did, "expires": LATER, **what}


def asks(signer: KeySigner = AGENT, audience: KeySigner = NODE, **what: Any) -> Step:
    """The last step: ``signer`` asks the node for bytes."""
    return lets(signer, audience, **{"digest": DIGEST, "range": [10, 19]} | what)


GOOD = {
    "the space itself": [asks(SPACE)],
    "one delegation": [lets(SPACE, AGENT), asks()],
    "two delegations": [lets(SPACE, FRIEND), lets(FRIEND, AGENT), asks()],
    "without an end": [lets(SPACE, AGENT, expires=None), asks(expires=None)],
    "since a while": [lets(SPACE, AGENT, notBefore=LONG_AGO), asks()],
    "all of an ability": [lets(SPACE, AGENT, "space/content/*"), asks()],
    "all abilities": [lets(SPACE, AGENT, "*"), asks()],
    "just that range": [lets(SPACE, AGENT, digest=DIGEST, range=[10, 19]), asks()],
    "a wider range": [lets(SPACE, AGENT, digest=DIGEST, range=[0, 99]), asks()],
}
BAD = {
    "no delegation": [asks()],
    "an expired delegation": [lets(SPACE, AGENT, expires=LONG_AGO), asks()],
    "an expired one behind": [lets(SPACE, FRIEND, expires=LONG_AGO), lets(FRIEND, AGENT), asks()],
    "an expired invocation": [lets(SPACE, AGENT), asks(expires=LONG_AGO)],
    "not yet": [lets(SPACE, AGENT, notBefore=LATER), asks()],
    "for somebody else": [lets(SPACE, FRIEND), asks()],
    "by somebody else": [lets(FRIEND, AGENT), asks()],
    "another ability": [lets(SPACE, AGENT, "space/blob/add"), asks()],
    "another space": [lets(FRIEND, AGENT, **{"with": FRIEND.did}), asks()],
    "another blob": [lets(SPACE, AGENT, digest=DIGEST[::-1], range=[0, 99]), asks()],
    "more of the range": [lets(SPACE, AGENT, digest=DIGEST, range=[10, 18]), asks()],
    "more than the one before": [lets(SPACE, FRIEND, "space/blob/add"), lets(FRIEND, AGENT), asks()],
    "a tampered delegation": [lets(SPACE, AGENT, expires=LONG_AGO, tampered=True), asks()],
    "a tampered invocation": [lets(SPACE, AGENT), asks(expires=LONG_AGO, tampered=True)],
}
MISDIRECTED = {"for another node": [lets(SPACE, AGENT), asks(audience=FRIEND)]}
EXPECTED = {
    **dict.fromkeys(GOOD, "ok"),
    **dict.fromkeys(BAD, "Unauthorized"),
    **dict.fromkeys(MISDIRECTED, "InvalidAudienceError"),
}


def issue(step: Step, proofs: Sequence[Delegation]) -> Delegation:
    nb: dict[str, Any] = {}
    if "digest" in step:
        nb["blob"] = {"digest": multihash(step["digest"])}
    if "range" in step:
        nb["range"] = step["range"]
    made = delegate(
        step["signer"],
        DID.parse(step["audience"]),
        [Capability(step["can"], step["with"], nb)],
        expires=step["expires"],
        not_before=step.get("notBefore"),
        proofs=proofs,
    )
    return without_end(made) if step.get("tampered") else made


def without_end(one: Delegation) -> Delegation:
    """The same UCAN, but for its expiry: the signature is the one over the former."""
    fields = cbor.decode(one.token.data)
    assert isinstance(fields, dict)
    data = cbor.encode({**fields, "exp": None})
    return gather(CID.of(DAG_CBOR, data), {**one.attached, CID.of(DAG_CBOR, data): data})


def made_of(steps: Sequence[Step]) -> bytes:
    proofs: list[Delegation] = []
    for step in steps:
        proofs = [issue(step, proofs)]
    return message.request(proofs)


def described(step: Step) -> dict[str, Any]:
    """A step as the script reads it."""
    seed = step["signer"].encode()[2:34].hex()
    rest = {name: value for name, value in step.items() if name != "signer"}
    return rest | {"issuer": seed} | ({"digest": multihash(step["digest"]).hex()} if "digest" in step else {})


def judge(data: bytes) -> str:
    said = message.decode(data)
    (asked,) = said.execute
    try:
        authorize(UCAN_0_9_1.decode(said.blocks[asked]), said.blocks, audiences={NODE.did}, now=int(time.time()))
    except Unauthorized as error:
        return error.name
    return "ok"


def test_chains(script: Callable[..., bytes]) -> None:
    chains = GOOD | BAD | MISDIRECTED
    ours = {name: made_of(steps) for name, steps in chains.items()}
    asked = {
        name: {"steps": [described(step) for step in steps], "message": b64encode(ours[name]).decode()}
        for name, steps in chains.items()
    }
    theirs = json.loads(script("chains.js", stdin=json.dumps({"node": NODE.did, "chains": asked}).encode()))
    made = {name: b64decode(one["made"]) for name, one in theirs.items()}
    assert made == ours
    assert {name: judge(data) for name, data in made.items()} == EXPECTED
    assert {name: one["verdict"] for name, one in theirs.items()} == EXPECTED
