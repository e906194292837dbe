"""did:key: an ed25519 public key as a name, and checking signatures with the key that a name is.

Specs: https://w3c-ccg.github.io/did-key-spec/ and RFC 8032.
"""

from __future__ import annotations

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from registry import base58
from registry.errors import RegistryError

PUBLIC_KEY_BYTES = 32
ED25519_PUBLIC = b"\xed\x01"
"""Multicodec ed25519-pub, as a varint."""

_PREFIX = "did:key:z"
_CHARS = 56
"""Length of a did:key of an ed25519 key."""


class SignatureInvalid(RegistryError):
    """A signature was not made by the named key over these bytes, or the name is of no key."""


def did_key(public_key: bytes) -> str:
    """The name of a public key of 32 bytes."""
    return _PREFIX + base58.encode(ED25519_PUBLIC + public_key)


def public_key(did: str) -> bytes:
    """The key that ``did`` names, 32 bytes.

    Raises:
        SignatureInvalid: ``did`` is not the did:key of an ed25519 key.
    """
    if len(did) != _CHARS or not did.startswith(_PREFIX):
        raise SignatureInvalid(f"{did[:_CHARS]!r} is no did:key of an ed25519 key")
    try:
        decoded = base58.decode(did.removeprefix(_PREFIX))
    except ValueError as error:
        raise SignatureInvalid(f"{did!r} is no did:key: {error}") from None
    if len(decoded) != len(ED25519_PUBLIC) + PUBLIC_KEY_BYTES or not decoded.startswith(ED25519_PUBLIC):
        raise SignatureInvalid(f"{did!r} is no did:key of an ed25519 key")
    return decoded[len(ED25519_PUBLIC) :]


def verify(did: str, signature: bytes, message: bytes) -> None:
    """Check a signature.

    Args:
        did: the signer, a did:key of an ed25519 key.
        signature: 64 bytes.
        message: what was signed.

    Raises:
        SignatureInvalid: it does not hold, or ``did`` is not such a did:key.
    """
    key = public_key(did)
    try:
        Ed25519PublicKey.from_public_bytes(key).verify(signature, message)
    except (InvalidSignature, ValueError):
        raise SignatureInvalid(f"the signature is not one of {did} over these bytes") from None
