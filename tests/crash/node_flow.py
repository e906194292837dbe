"""A node at work, to be killed, and a look at what is left: ``python -m tests.crash.node_flow FOLDER run|look``.

``run`` prints a line for everything that was answered; ``look`` reads those lines and prints a report.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable
from hashlib import sha256
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from gateway.node.server import allocations
from gateway.node.server.folder import NodeFolder
from gateway.node.server.node import Node, NodeSettings
from gateway.node.server.schema import allocations as table
from gateway.node.server.schema import claims as claims_table
from gateway.node.server.schema import indexes as indexes_table
from mst.cid import CID
from registry.ucan import message
from registry.ucan.capability import SpaceBlobRemove
from registry.ucan.delegation import Delegation, delegate
from registry.ucan.index import NO_CONTENT, Index, Slice
from registry.ucan.receipt import Ok
from registry.ucan.results import Allocation
from registry.ucan.token import Capability
from tests.node_client import NodeClient, blob_of, mh

NOW_S = 1_800_000_000
INDEX = Index(NO_CONTENT, {blob_of(b"0" * 5000).digest: {bytes(32): Slice(0, 1)}}).encode()
DATAS = (b"0" * 5000, b"1" * 3_000_000, INDEX, b"2")
LAST = CID.of(0x71, b"")


def open_node(path: Path) -> Node:
    folder = NodeFolder(path).create()
    folder.own()
    return Node.open(folder, NodeSettings("http://node"), lambda: NOW_S)


def client_of(node: Node) -> NodeClient:
    client = NodeClient("http://node", node.did, None, now=lambda: NOW_S)
    may = [Capability("blob/*", node.did)]
    client.proof = delegate(node.key, client.agent.did, may, expires=None)
    return client


def ask(node: Node, asked: Delegation) -> Any:
    """Execute an invocation without HTTP; returns what its receipt says."""
    found = message.decode(node.execute(message.decode(message.request([asked])))).receipt(asked.cid)
    assert isinstance(found.out, Ok), found.out
    return found.out.value


def store(node: Node, client: NodeClient, data: bytes, said: Callable[[str, bytes], None]) -> None:
    blob = blob_of(data)
    address = Allocation.read(ask(node, client.allocation(blob))).address
    if address is not None:
        awaited = node.awaited(address.url.rpartition("/")[2])
        upload = node.blobs.begin()
        try:
            upload.write(data)
            node.keep(awaited, upload)
        finally:
            upload.close()
    said("put", blob.digest)
    ask(node, client.acceptance(blob, LAST))
    said("accepted", blob.digest)
    if data == INDEX:
        ask(node, client.publication(INDEX))
        said("published", blob.digest)


def run(path: Path) -> None:
    def said(what: str, digest: bytes) -> None:
        print(json.dumps([what, digest.hex()]), flush=True)

    node = open_node(path)
    client = client_of(node)
    print('["ready", ""]', flush=True)
    for data in DATAS:
        store(node, client, data, said)
    for data in (DATAS[1], INDEX):
        said("removing", blob_of(data).digest)
        ask(node, client.on_space(SpaceBlobRemove(blob_of(data).digest)))
        said("removed", blob_of(data).digest)
    print('["end", ""]', flush=True)
    node.close()


def look(path: Path, lines: Iterable[str]) -> list[str]:
    """What is wrong with a folder, after those answers were given."""
    wrong: list[str] = []
    answered: dict[bytes, set[str]] = {}
    for line in lines:
        what, digest = json.loads(line)
        answered.setdefault(bytes.fromhex(digest), set()).add(what)
    node = open_node(path)
    try:
        with node.database.read() as connection:
            rows = {row.digest: row for row in connection.execute(sa.select(table))}
            claimed = set(connection.execute(sa.select(claims_table.c.cid)).scalars())
            indexed = set(connection.execute(sa.select(indexes_table.c.digest)).scalars())
            kept = {digest for digest in rows if allocations.is_kept(connection, digest)}
        files = set(node.blobs.digests())
        wrong += [f"file without allocation {digest.hex()}" for digest in files - kept]
        damaged = {digest for digest in files if sha256(node.blobs.read(digest)).digest() != digest}
        wrong += [f"damaged file {digest.hex()}" for digest in damaged]
        wrong += [f"upload {found.name}" for found in node.folder.uploads.iterdir()]
        for digest, row in rows.items():
            if row.received and digest not in files:
                wrong.append(f"received without a file {digest.hex()}")
            if row.accepted_s is not None and row.claim not in claimed:
                wrong.append(f"accepted without a claim {digest.hex()}")
        for digest, said in answered.items():
            row = rows.get(digest)
            gone = "removing" in said
            for what, holds in (
                ("put", row is not None and row.received),
                ("accepted", row is not None and row.accepted_s is not None),
                ("published", digest in indexed),
            ):
                if what in said and not holds and not gone:
                    wrong.append(f"{what} was answered and is not so {digest.hex()}")
            if "removed" in said and (row is not None or digest in files or digest in indexed):
                wrong.append(f"removed was answered and is not so {digest.hex()}")
        client = client_of(node)
        for data in DATAS:
            store(node, client, data, lambda what, digest: None)
        with node.database.read() as connection:
            for data in DATAS:
                found = allocations.get(connection, blob_of(data).digest, client.space.did, NOW_S)
                if found is None or found.accepted_s is None or node.blobs.read(found.digest) != data:
                    wrong.append(f"cannot be stored afterwards {mh(data).hex()}")
    finally:
        node.close()
    return wrong


if __name__ == "__main__":
    if sys.argv[2] == "run":
        run(Path(sys.argv[1]))
    else:
        print(json.dumps(look(Path(sys.argv[1]), sys.stdin)))
