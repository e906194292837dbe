"""Decentralized identifiers as UCANs write them: text in capabilities and receipts, bytes in tokens.

did:key is the multicodec key itself; any other method is the code 0x0d1d and the text after ``did:``.
Specs: https://www.w3.org/TR/did-1.0/ and https://github.com/ucan-wg/ucan-ipld.
"""

from __future__ import annotations

import re
from typing import Self

from registry import did_key
from registry.did_key import ED25519_PUBLIC, PUBLIC_KEY_BYTES, SignatureInvalid
from registry.ucan.errors import Malformed
from registry.ucan.limits import DID_BYTES_MAX

_OTHER_METHOD = b"\x9d\x1a"
"""Multicodec 0x0d1d as a varint: any DID."""
_SCHEME = "did:"
_KEY_METHOD = "did:key:"
_SYNTAX = re.compile(r"did:[a-z0-9]+(?::(?:[A-Za-z0-9._-]|%[0-9A-Fa-f]{2})+)+")


class DID(str):
    """A DID without path, query or fragment; a did:key is one of an ed25519 key.

    The constructor trusts its argument; use `parse` or `read` for anything that comes from outside.
    """

    __slots__ = ()

    @classmethod
    def parse(cls, text: str) -> Self:
        """The DID whose text is exactly ``text``.

        Raises:
            Malformed: it is no DID, is too long, or is a did:key of another kind of key.
        """
        if len(text) > DID_BYTES_MAX or _SYNTAX.fullmatch(text) is None:
            raise Malformed(f"{text[:64]!r} is no DID")
        did = cls(text)
        if did.is_key:
            try:
                did_key.public_key(text)
            except SignatureInvalid as error:
                raise Malformed(str(error)) from None
        return did

    @classmethod
    def read(cls, data: bytes) -> Self:
        """The DID whose binary form is exactly ``data``.

        Raises:
            Malformed: as for `parse`, or a did:key in the form of other methods.
        """
        if data.startswith(ED25519_PUBLIC) and len(data) == len(ED25519_PUBLIC) + PUBLIC_KEY_BYTES:
            return cls(did_key.did_key(data[len(ED25519_PUBLIC) :]))
        if not data.startswith(_OTHER_METHOD) or len(data) > DID_BYTES_MAX:
            raise Malformed("bytes that are no DID, or a did:key of another kind than ed25519")
        try:
            did = cls.parse(_SCHEME + data[len(_OTHER_METHOD) :].decode("ascii"))
        except UnicodeDecodeError:
            raise Malformed("bytes that are no DID") from None
        if did.is_key:
            raise Malformed("a did:key in the binary form of other methods")
        return did

    @property
    def is_key(self) -> bool:
        """Whether the name is a key, so that signatures can be checked with it."""
        return self.startswith(_KEY_METHOD)

    @property
    def binary(self) -> bytes:
        """The binary form."""
        if self.is_key:
            return ED25519_PUBLIC + did_key.public_key(self)
        return _OTHER_METHOD + self.removeprefix(_SCHEME).encode()
