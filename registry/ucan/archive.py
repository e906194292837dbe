"""Delegations as files and as text, so that a person can hand one over.

An archive is a CAR file whose root says which of its blocks is meant.  The text is the CID, in multibase base64, whose
"hash" is the archive itself.
Spec: https://github.com/storacha/specs/blob/main/w3-ucan.md
"""

from __future__ import annotations

from base64 import b64decode, b64encode

from mst import varint
from mst.block import Block
from mst.cid import CAR, CID, DAG_CBOR, IDENTITY, Link
from mst.errors import FormatError
from registry.ucan import car, wire
from registry.ucan.delegation import Delegation, gather
from registry.ucan.errors import Malformed
from registry.ucan.limits import ARCHIVE_BYTES_MAX
from registry.ucan.token import TokenFormat
from registry.ucan.v091 import UCAN_0_9_1

_TEXT_PREFIX = "m"
_IDENTITY_CAR = varint.encode(1) + varint.encode(CAR) + varint.encode(IDENTITY)
_TEXT_CHARS_MAX = ARCHIVE_BYTES_MAX * 4 // 3 + 32


def encode(delegation: Delegation, form: TokenFormat = UCAN_0_9_1) -> bytes:
    """The archive of a delegation."""
    root = Block.of(DAG_CBOR, wire.encode({form.tag: delegation.cid}, "archive"))
    return car.encode(root.cid, [*delegation.blocks(), root])


def decode(data: bytes, form: TokenFormat = UCAN_0_9_1) -> Delegation:
    """The delegation whose archive is ``data``, with its proofs; no signature has been checked.

    Raises:
        Malformed: it is no archive of a delegation.
    """
    found = car.decode(data, "archive", limit_bytes=ARCHIVE_BYTES_MAX)
    if found.root not in found.blocks:
        raise Malformed("archive: its root is missing")
    cid = wire.variant(found.blocks[found.root], form.tag, "archive", limit_bytes=ARCHIVE_BYTES_MAX)
    if type(cid) is not CID:
        raise Malformed("archive: its root names no UCAN")
    return gather(cid, found.blocks, form)


def to_text(delegation: Delegation) -> str:
    """The archive of a delegation as text, ``mAYIEA...``."""
    archive = encode(delegation)
    cid = _IDENTITY_CAR + varint.encode(len(archive)) + archive
    return _TEXT_PREFIX + b64encode(cid).decode().rstrip("=")


def from_text(text: str) -> Delegation:
    """The delegation whose text is ``text``; no signature has been checked.

    Raises:
        Malformed: it is no such text.
    """
    if not text.startswith(_TEXT_PREFIX) or len(text) > _TEXT_CHARS_MAX:
        raise Malformed("not the text of a delegation: it begins with mAYIEA")
    data = unpadded_base64(text[len(_TEXT_PREFIX) :], "text of a delegation")
    try:
        Link.read(data)
        if not data.startswith(_IDENTITY_CAR):
            raise Malformed("not the text of a delegation: it begins with mAYIEA")
        _, start = varint.decode(data, len(_IDENTITY_CAR))
    except FormatError as error:
        raise Malformed(f"text of a delegation: {error}") from None
    return decode(data[start:])


def unpadded_base64(text: str, what: str) -> bytes:
    """The bytes whose base64 without padding is exactly ``text``.

    Raises:
        Malformed: it is no such text.
    """
    try:
        data = b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError:
        raise Malformed(f"{what}: not base64 without padding") from None
    if b64encode(data).decode().rstrip("=") != text:
        raise Malformed(f"{what}: not base64 in its one form")
    return data
