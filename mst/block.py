"""A block together with its CID, the unit that is stored, shipped and verified."""

from __future__ import annotations

from hashlib import sha256
from typing import NamedTuple, Self

from mst.cid import CID
from mst.errors import FormatError


class Block(NamedTuple):
    """Bytes named by a CID.  Nothing says they match until `verify` did."""

    cid: CID
    data: bytes

    @classmethod
    def of(cls, codec: int, data: bytes) -> Self:
        """The block of ``data`` under ``codec`` (see `mst.cid.CID.of`)."""
        return cls(CID.of(codec, data), data)

    def verify(self) -> None:
        """Hash the bytes.

        Raises:
            FormatError: they are not the bytes the CID names.
        """
        if sha256(self.data).digest() != self.cid[4:]:
            raise FormatError(f"the bytes of block {self.cid} do not match it")
