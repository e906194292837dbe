"""Ends of uploads that no client can make in a hurry, each in a store of its own: the largest, and one of an update."""

from __future__ import annotations

import asyncio
import hashlib
from base64 import b64encode
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from gateway.s3.call import Call, Front
from gateway.s3.checksums import Algorithm, ChecksumType
from gateway.s3.completing import complete_upload
from gateway.s3.headers import Headers
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.sigv4 import PayloadMode, Verified
from gateway.s3.sigv4.verified import SigningKey
from gateway.s3.target import parse_target
from gateway.s3.upload import UploadPlan
from gateway.s3.xml import PARTS_MAX
from mst import cbor
from mst.cid import CID, RAW
from registry import uploads
from registry.schema import parts
from tests.store_client import CLOCK_MS, StoreClient, open_client

MIB = 1 << 20
PART_BYTES = 5 * MIB
TURNS_MIN = 50
"""How often the event loop must come round meanwhile; work that held it would let it come round a handful of times."""


class _Body:
    """What aiohttp gives a handler of a request that has arrived whole."""

    def __init__(self, data: bytes) -> None:
        self._data = data

    def at_eof(self) -> bool:
        return not self._data

    def read_nowait(self) -> bytes:
        data, self._data = self._data, b""
        return data


class _Request:
    scheme = "http"

    def __init__(self, body: bytes) -> None:
        self.content = _Body(body)


def _call(client: StoreClient, upload_id: str, body: bytes) -> Call:
    front = Front(client.store, "us-east-1", 4, False, 60, lambda: CLOCK_MS, {}.get)
    digest = hashlib.sha256(body).digest()
    verified = Verified("AK", PayloadMode.SIGNED, digest, False, "", "", "", SigningKey(b""), ())
    request: Any = _Request(body)
    return Call(front, request, "0", parse_target(f"/bucket/k?uploadId={upload_id}", "x"), Headers({}), verified, {})


def _begin(client: StoreClient, kind: ChecksumType, sums: Sequence[Mapping[str, bytes]]) -> tuple[str, bytes]:
    """An upload whose parts have these checksums, and the request that ends it."""
    plan = UploadPlan(ObjectMetadata({}), Algorithm.CRC32, kind, "me")
    etags = [hashlib.md5(b"%d" % number).digest() for number in range(1, len(sums) + 1)]
    leaves = [(CID.of(RAW, b"%d" % leaf), MIB) for leaf in range(PART_BYTES // MIB)]
    row: dict[str, Any] = {"size_bytes": PART_BYTES, "modified_ms": 1}
    row["leaves"] = cbor.encode([value for leaf in leaves for value in leaf])
    with client.store.database.write() as connection:
        instance = client.store.bucket("bucket").instance
        made = uploads.create(connection, instance=instance, key=b"k", owner="me", meta=plan.encode(), now_ms=1)
        row["upload_id"] = made.upload_id
        rows = [
            row | {"number": number, "etag": etag, "checksums": cbor.encode(of_part)}
            for number, (etag, of_part) in enumerate(zip(etags, sums, strict=True), 1)
        ]
        connection.execute(sa.insert(parts), rows)
    shown = [
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag.hex()}</ETag>"
        f"<ChecksumCRC32>{b64encode(of_part['CRC32']).decode()}</ChecksumCRC32></Part>"
        for number, (etag, of_part) in enumerate(zip(etags, sums, strict=True), 1)
    ]
    return made.upload_id, f"<CompleteMultipartUpload>{''.join(shown)}</CompleteMultipartUpload>".encode()


def test_ten_thousand_parts_do_not_hold_the_event_loop(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_client(tmp_path) as client:
            await client.make("bucket")
            sums = [{"CRC32": number.to_bytes(4, "big")} for number in range(PARTS_MAX)]
            upload_id, body = _begin(client, ChecksumType.FULL_OBJECT, sums)
            ending = asyncio.ensure_future(complete_upload(_call(client, upload_id, body)))
            turns = 0
            while not ending.done():
                turns += 1
                await asyncio.sleep(0.001)
            assert ending.result().status == 200
            assert turns > TURNS_MIN
            [(key, entry)] = (await client.entries("bucket")).items()
            assert (key, entry.size) == (b"k", PARTS_MAX * PART_BYTES)
            assert entry.etag_text.endswith(f"-{PARTS_MAX}")
            metadata = ObjectMetadata(await client.store.trees.meta(entry))
            assert metadata.parts == [(number, PART_BYTES) for number in range(1, PARTS_MAX + 1)]
            again = await complete_upload(_call(client, upload_id, body))
            assert again.body == ending.result().body

    asyncio.run(run())


@pytest.mark.parametrize("first", [{"CRC32": b"old1"}, {"CRC32": b"new1", "CRC64NVME": b"beside-1"}])
def test_a_part_that_came_before_an_update_has_no_checksum_beside(tmp_path: Path, first: dict[str, bytes]) -> None:
    """Then none of the object's parts has; what their client asked for is there in any case."""
    second = {"CRC32": b"new2", "CRC64NVME": b"beside-2"}

    async def run() -> ObjectMetadata:
        async with open_client(tmp_path) as client:
            await client.make("bucket")
            upload_id, body = _begin(client, ChecksumType.COMPOSITE, [first, second])
            assert (await complete_upload(_call(client, upload_id, body))).status == 200
            [entry] = (await client.entries("bucket")).values()
            return ObjectMetadata(await client.store.trees.meta(entry))

    metadata = asyncio.run(run())
    assert metadata.part_checksums == [first["CRC32"], b"new2"]
    assert metadata.part_checksums_beside == ([b"beside-1", b"beside-2"] if len(first) == len(second) else [])
