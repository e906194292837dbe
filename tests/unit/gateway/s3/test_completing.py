"""The end of the largest upload there can be, in a store of its own."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from typing import Any

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


def _begin(client: StoreClient) -> tuple[str, bytes]:
    """An upload of ten thousand parts, and the request that ends it."""
    plan = UploadPlan(ObjectMetadata({}), Algorithm.CRC32, ChecksumType.FULL_OBJECT, "me")
    etags = [hashlib.md5(b"%d" % number).digest() for number in range(1, PARTS_MAX + 1)]
    leaves = [(CID.of(RAW, b"%d" % leaf), MIB) for leaf in range(PART_BYTES // MIB)]
    row: dict[str, Any] = {"size_bytes": PART_BYTES, "modified_ms": 1}
    row["leaves"] = cbor.encode([value for leaf in leaves for value in leaf])
    with client.store.database.write() as connection:
        instance = client.store.bucket("bucket").instance
        made = uploads.create(connection, instance=instance, key=b"k", owner="me", meta=plan.encode(), now_ms=1)
        row["upload_id"] = made.upload_id
        rows = [
            row | {"number": number, "etag": etag, "checksums": cbor.encode({"CRC32": etag[:4]})}
            for number, etag in enumerate(etags, 1)
        ]
        connection.execute(sa.insert(parts), rows)
    shown = [
        f"<Part><PartNumber>{number}</PartNumber><ETag>{etag.hex()}</ETag></Part>"
        for number, etag in enumerate(etags, 1)
    ]
    return made.upload_id, f"<CompleteMultipartUpload>{''.join(shown)}</CompleteMultipartUpload>".encode()


def test_ten_thousand_parts_do_not_hold_the_event_loop(tmp_path: Path) -> None:
    async def run() -> None:
        async with open_client(tmp_path) as client:
            await client.make("bucket")
            upload_id, body = _begin(client)
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
