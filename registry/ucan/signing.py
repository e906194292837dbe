"""Signatures with their kind in front, and keys that are not in a key file.

A signature is ``varint(kind) varint(length) raw``; only ed25519 is made and accepted.
Spec: https://github.com/ucan-wg/ucan-ipld (signatures) and RFC 8032.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from functools import lru_cache
from typing import Protocol, Self

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from registry import did_key
from registry.did_key import ED25519_PUBLIC, SignatureInvalid
from registry.ucan.did import DID
from registry.ucan.errors import Malformed, Untrusted

SIGNATURE_PREFIX = b"\xed\xa1\x03\x40"
"""Kind 0xd0ed (EdDSA) and the length, 64."""
SIGNATURE_BYTES = 68
SEED_BYTES = 32
REMEMBERED = 512
"""Signatures of late that need not be checked again: at most 16 MiB of messages."""

_ED25519_PRIVATE = b"\x80\x26"
"""Multicodec ed25519-priv (0x1300), as a varint."""
_PUBLIC_AT = len(_ED25519_PRIVATE) + SEED_BYTES
_TEXT_PREFIX = "M"
_TEXT_CHARS = 93


class Signer(Protocol):
    """What can sign: a `KeySigner`, a `registry.space.SpaceKey`, a key in some other machine."""

    @property
    def did(self) -> str:
        """The did:key of the key."""

    def sign(self, message: bytes) -> bytes:
        """The raw signature over ``message``, 64 bytes."""


class KeySigner:
    """An ed25519 key made from its seed.

    Args:
        seed: 32 bytes.

    Raises:
        Malformed: another length.
    """

    __slots__ = ("_key", "_public", "_seed", "did")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise Malformed(f"the seed of a key has {SEED_BYTES} bytes")
        self._seed = seed
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self._public = self._key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        self.did = DID(did_key.did_key(self._public))

    @classmethod
    def from_text(cls, text: str) -> Self:
        """The key whose text form is ``text``: multibase ``M`` (padded base64) of `encode`.

        Raises:
            Malformed: it is no such text, or its two halves are not of one key.
        """
        if len(text) != _TEXT_CHARS or not text.startswith(_TEXT_PREFIX):
            raise Malformed("not the text of an ed25519 key")
        try:
            data = b64decode(text[1:], validate=True)
        except ValueError:
            raise Malformed("not the text of an ed25519 key") from None
        signer = cls(data[len(_ED25519_PRIVATE) : _PUBLIC_AT])
        if signer.encode() != data:
            raise Malformed("not the text of an ed25519 key")
        return signer

    def sign(self, message: bytes) -> bytes:
        """The raw signature over ``message``, 64 bytes."""
        return self._key.sign(message)

    def encode(self) -> bytes:
        """Both halves with their kinds in front, 68 bytes.  Secret."""
        return _ED25519_PRIVATE + self._seed + ED25519_PUBLIC + self._public

    def to_text(self) -> str:
        """The text form.  Secret."""
        return _TEXT_PREFIX + b64encode(self.encode()).decode()


def sign(signer: Signer, message: bytes) -> bytes:
    """The signature over ``message`` with its kind in front, 68 bytes."""
    return SIGNATURE_PREFIX + signer.sign(message)


@lru_cache(maxsize=REMEMBERED)
def verify(did: DID, signature: bytes, message: bytes) -> None:
    """Check a signature; that one holds is remembered, because the same proofs come with every invocation.

    Args:
        did: who should have signed.
        signature: with its kind in front.
        message: what was signed.

    Raises:
        Untrusted: it is of another kind or does not hold, or ``did`` is no did:key.
    """
    if len(signature) != SIGNATURE_BYTES or not signature.startswith(SIGNATURE_PREFIX):
        raise Untrusted(f"the signature of {did} is not of kind EdDSA")
    try:
        did_key.verify(did, signature[len(SIGNATURE_PREFIX) :], message)
    except SignatureInvalid as error:
        raise Untrusted(str(error)) from None
