"""UCAN 0.9.1 in DAG-CBOR: a signed map whose signature is over the text of an equivalent JWT.

Specs: https://github.com/ucan-wg/spec/tree/v0.9.1 and https://github.com/ucan-wg/ucan-ipld.
"""

from __future__ import annotations

from base64 import urlsafe_b64encode
from functools import lru_cache
from typing import Any

from mst.cbor import Value
from mst.cid import CID, DAG_CBOR
from registry.ucan import dagjson, signing, wire
from registry.ucan.did import DID
from registry.ucan.errors import Malformed, Untrusted
from registry.ucan.limits import (
    ABILITY_CHARS_MAX,
    CAPABILITIES_MAX,
    PROOFS_MAX,
    RESOURCE_CHARS_MAX,
    TIME_SECONDS_MAX,
    TOKEN_BYTES_MAX,
)
from registry.ucan.signing import SIGNATURE_BYTES, Signer
from registry.ucan.token import Capability, Payload, Token
from registry.ucan.wire import Fields

VERSION = "0.9.1"
REMEMBERED = 512
"""UCANs of late that need not be read again: at most 8 MiB of blocks."""


class Ucan091:
    """The form of version 0.9.1; see `registry.ucan.token.TokenFormat`."""

    tag = f"ucan@{VERSION}"

    def sign(self, payload: Payload, signer: Signer) -> Token:
        """The UCAN that says ``payload``, signed."""
        if signer.did != payload.issuer:
            raise Untrusted(f"a UCAN of {payload.issuer} cannot be signed by {signer.did}")
        _check(payload)
        return _token(payload, signing.sign(signer, _signed_text(payload)))

    def decode(self, data: bytes) -> Token:
        """The UCAN whose block is exactly ``data``."""
        return _decode(data)

    def verify(self, token: Token) -> None:
        """Check the signature."""
        signing.verify(token.payload.issuer, token.signature, _signed_text(token.payload))


UCAN_0_9_1 = Ucan091()


@lru_cache(maxsize=REMEMBERED)
def _decode(data: bytes) -> Token:
    """Remembered, because the same proofs come with every invocation, and each is looked at several times."""
    fields = Fields(wire.decode(data, "UCAN", limit_bytes=TOKEN_BYTES_MAX), "UCAN")
    if fields.take("v", str) != VERSION:
        raise Malformed(f"a UCAN of another version than {VERSION}")
    signature = fields.take("s", bytes)
    facts: tuple[dict[str, Value], ...] = ()
    if (listed := fields.take_if("fct", list)) is not None:
        facts = tuple(listed)
        if not facts or not all(isinstance(fact, dict) for fact in facts):
            raise Malformed("the facts of a UCAN are not a list of maps, or empty")
    payload = Payload(
        issuer=DID.read(fields.take("iss", bytes)),
        audience=DID.read(fields.take("aud", bytes)),
        capabilities=tuple(map(_capability, fields.take_list("att", dict, many=CAPABILITIES_MAX))),
        expires=fields.take_nullable("exp", int),
        not_before=fields.take_if("nbf", int),
        nonce=fields.take_if("nnc", str),
        facts=facts,
        proofs=fields.take_list("prf", CID, many=PROOFS_MAX),
    )
    fields.end()
    _check(payload)
    if len(signature) > SIGNATURE_BYTES:
        raise Malformed("the signature of a UCAN is of another kind than EdDSA")
    return Token(payload, signature, CID.of(DAG_CBOR, data), data)


def _capability(value: dict[str, Value]) -> Capability:
    fields = Fields(value, "capability of a UCAN")
    nb: dict[str, Value] | None = fields.take_if("nb", dict)
    capability = Capability(fields.take("can", str), fields.take("with", str), nb)
    fields.end()
    return capability


def _check(payload: Payload) -> None:
    for time in (payload.expires, payload.not_before):
        if time is not None and not 0 <= time <= TIME_SECONDS_MAX:
            raise Malformed("a time of a UCAN is out of range")
    if not 1 <= len(payload.capabilities) <= CAPABILITIES_MAX:
        raise Malformed(f"a UCAN has 1 to {CAPABILITIES_MAX} capabilities")
    for capability in payload.capabilities:
        can, resource = capability.can, capability.resource
        if len(can) > ABILITY_CHARS_MAX or can != can.lower() or not (can == "*" or "/" in can.strip("/")):
            raise Malformed(f"{can[:64]!r} is no ability")
        if len(resource) > RESOURCE_CHARS_MAX or ":" not in resource:
            raise Malformed(f"{resource[:64]!r} is no resource")
    if len(payload.proofs) > PROOFS_MAX or any(proof.codec != DAG_CBOR for proof in payload.proofs):
        raise Malformed(f"a UCAN has at most {PROOFS_MAX} proofs, each a DAG-CBOR block")


def _token(payload: Payload, signature: bytes) -> Token:
    document: dict[str, Value] = {
        "v": VERSION,
        "s": signature,
        "iss": payload.issuer.binary,
        "aud": payload.audience.binary,
        "att": [_capability_map(capability) for capability in payload.capabilities],
        "exp": payload.expires,
        "prf": payload.proofs,
        **_present(payload),
    }
    data = wire.encode(document, "UCAN")
    if len(data) > TOKEN_BYTES_MAX:
        raise Malformed(f"a UCAN of more than {TOKEN_BYTES_MAX} bytes")
    return Token(payload, signature, CID.of(DAG_CBOR, data), data)


def _signed_text(payload: Payload) -> bytes:
    document: dict[str, Value] = {
        "iss": payload.issuer,
        "aud": payload.audience,
        "att": [_capability_map(capability) for capability in payload.capabilities],
        "exp": payload.expires,
        "prf": [str(proof) for proof in payload.proofs],
        **_present(payload),
    }
    return _HEADER + b"." + _base64url(dagjson.encode(document))


def _present(payload: Payload) -> dict[str, Value]:
    """The fields that are written only where they say something."""
    present: dict[str, Value] = {}
    if payload.facts:
        present["fct"] = payload.facts
    if payload.not_before is not None:
        present["nbf"] = payload.not_before
    if payload.nonce is not None:
        present["nnc"] = payload.nonce
    return present


def _capability_map(capability: Capability) -> dict[str, Any]:
    document: dict[str, Any] = {"can": capability.can, "with": capability.resource}
    if capability.nb is not None:
        document["nb"] = capability.nb
    return document


def _base64url(text: str) -> bytes:
    return urlsafe_b64encode(text.encode()).rstrip(b"=")


_HEADER = _base64url(dagjson.encode({"alg": "EdDSA", "typ": "JWT", "ucv": VERSION}))
