"""Storing blobs: allocate, put, accept, remove, list, expire; and every way in which that is refused."""

from __future__ import annotations

import errno
import http.client
import random
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from mst.cid import CID
from registry.ucan import message
from registry.ucan.capability import Blob, BlobAccept, SpaceBlobList, SpaceBlobRemove, capability
from registry.ucan.delegation import delegate, invoke
from registry.ucan.results import Allocation
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability
from registry.ucan.v091 import UCAN_0_9_1
from tests.node_client import NodeClient, blob_of, call, failure, ok

DATA = b"hello world"
BLOB = blob_of(DATA)
BIG = random.Random(1).randbytes(3_500_000)


def _files(path: Path) -> list[str]:
    return sorted(found.name for found in (path / "blobs").rglob("*") if found.is_file())


def _uploads(path: Path) -> list[Path]:
    return list((path / "uploads").iterdir())


@pytest.mark.parametrize("data", [DATA, b"", BIG], ids=len)
def test_the_whole_way_of_a_blob(data: bytes, client: NodeClient, node: Any, clock: Any) -> None:
    blob = blob_of(data)
    allocated = client.allocate(blob)
    assert allocated.size == blob.size
    assert allocated.address is not None
    assert allocated.address.url.startswith(node.url)
    assert allocated.address.expires == clock() + 24 * 60 * 60
    assert client.put(allocated, data).status == 200
    location = client.accept(blob)
    assert location.urls[0].startswith(f"{node.url}/blob/z")
    assert _files(node.path) == [blob.digest.hex()]
    assert _uploads(node.path) == []
    name = blob.digest.hex()
    assert (node.path / "blobs" / name[:2] / name[2:4] / name).stat().st_mode & 0o77 == 0


def test_every_step_may_be_asked_again(client: NodeClient, node: Any) -> None:
    first = client.allocate(BLOB)
    second = client.allocate(BLOB)
    assert (second.size, second.address) == (0, first.address)
    assert client.put(first, DATA).status == 200
    assert client.put(first, DATA).status == 200
    assert client.allocate(BLOB) == client.allocate(BLOB)
    assert client.allocate(BLOB).address is None
    once, twice = client.accept(BLOB), client.accept(BLOB)
    assert once == twice
    assert client.put(first, DATA).status == 200
    asked = client.allocation(BLOB)
    assert client.execute(asked)[0].out == client.execute(asked)[0].out
    assert client.allocate(BLOB) == type(first)(0, None)


def test_several_things_in_one_message(client: NodeClient, node: Any) -> None:
    datas = [bytes([n]) * n for n in range(1, 21)]
    blobs = [blob_of(data) for data in datas]
    asked = [client.allocation(blob) for blob in blobs]
    for data, found in zip(datas, client.execute(*asked), strict=True):
        assert client.put(Allocation.read(ok(found)), data).status == 200
    accepted = client.execute(*(client.acceptance(b, a.cid) for b, a in zip(blobs, asked, strict=True)))
    for blob, found in zip(blobs, accepted, strict=True):
        client.location(found, blob)
    nonsense = client.acceptance(Blob(bytes(32), 1), asked[0].cid)
    good, bad = client.execute(client.acceptance(blobs[0], asked[0].cid), nonsense)
    client.location(good, blobs[0])
    assert failure(bad).name == "AllocationNotFound"


def test_what_was_stored_is_there_after_a_restart(run_node: Callable[..., Any]) -> None:
    first = run_node()
    location = first.client().store(DATA)
    first.stop()
    second = run_node()
    assert second.node.did == first.node.did
    assert second.client().read(BLOB.digest, 0, 10) == DATA
    assert second.client().accept(BLOB).digest == location.digest


def test_a_blob_is_not_given_away_to_who_knows_its_name(client: NodeClient, node: Any) -> None:
    client.store(DATA)
    other = node.client(space=7)
    allocated = other.allocate(BLOB)
    assert (allocated.size, allocated.address is not None) == (BLOB.size, True)
    reply, found = other.get(other.reading(BLOB.digest, 0, 10))
    assert (reply.status, reply.body, failure(found).name) == (404, b"", "NotFound")
    [refused] = other.execute(other.acceptance(BLOB, CID.of(0x71, b"")))
    assert failure(refused).name == "BlobNotFound"
    assert other.put(allocated, DATA).status == 200
    other.accept(BLOB)
    assert other.read(BLOB.digest, 0, 10) == DATA


def test_accepting_what_was_not_put(client: NodeClient) -> None:
    [found] = client.execute(client.acceptance(BLOB, CID.of(0x71, b"")))
    assert failure(found).name == "AllocationNotFound"
    client.allocate(BLOB)
    [found] = client.execute(client.acceptance(BLOB, CID.of(0x71, b"")))
    assert failure(found).name == "BlobNotFound"
    client.store(DATA)
    [found] = client.execute(client.acceptance(Blob(BLOB.digest, 12), CID.of(0x71, b"")))
    assert failure(found).name == "BlobSizeMismatch"
    [found] = client.execute(client.allocation(Blob(BLOB.digest, 12)))
    assert failure(found).name == "BlobSizeMismatch"


def test_a_wrong_size_can_be_corrected_before_the_bytes_came(client: NodeClient) -> None:
    wrong = client.allocate(Blob(BLOB.digest, 12))
    right = client.allocate(BLOB)
    assert right.address is not None
    assert right.address != wrong.address
    assert client.put(wrong, DATA + b"!").status == 403
    client.store(DATA)


@pytest.mark.parametrize(
    ("data", "status"),
    [(b"hello_world", 409), (DATA + b"!", 400), (DATA[:-1], 400), (b"", 400)],
)
def test_other_bytes_are_refused(data: bytes, status: int, client: NodeClient, node: Any) -> None:
    allocated = client.allocate(BLOB)
    assert client.put(allocated, data).status == status
    assert _files(node.path) == _uploads(node.path) == []
    assert client.put(allocated, DATA).status == 200


def test_other_uploads_are_refused(client: NodeClient, node: Any) -> None:
    allocated = client.allocate(BLOB)
    assert allocated.address is not None
    path = urlsplit(allocated.address.url).path
    assert call(node.url, "PUT", path[:-1] + "!", DATA).status == 403
    assert call(node.url, "PUT", "/upload/", DATA).status == 403
    assert call(node.url, "PUT", "/blob/z", DATA).status == 404
    connection = http.client.HTTPConnection(urlsplit(node.url).netloc, timeout=10)
    connection.request("PUT", path, iter([DATA]), {"Transfer-Encoding": "chunked"}, encode_chunked=True)
    assert connection.getresponse().status == 411
    connection.close()


def test_an_upload_that_breaks_off_leaves_nothing(client: NodeClient, node: Any) -> None:
    allocated = client.allocate(blob_of(BIG))
    assert allocated.address is not None
    split = urlsplit(allocated.address.url)
    with socket.create_connection((split.hostname or "", split.port or 0), timeout=10) as raw:
        raw.sendall(b"PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: %d\r\n\r\n" % (split.path.encode(), len(BIG)))
        raw.sendall(BIG[:2_000_000])
        raw.shutdown(socket.SHUT_WR)
        raw.recv(1000)
    assert client.put(allocated, BIG).status == 200
    assert _files(node.path) == [blob_of(BIG).digest.hex()]
    assert _uploads(node.path) == []


def test_an_upload_that_pauses_is_given_up(client: NodeClient, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.node.server.http.BODY_IDLE_SECONDS", 0.05)
    allocated = client.allocate(BLOB)
    assert allocated.address is not None
    split = urlsplit(allocated.address.url)
    with socket.create_connection((split.hostname or "", split.port or 0), timeout=10) as raw:
        raw.sendall(b"PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\nhello" % split.path.encode())
        assert b" 408 " in raw.recv(1000).splitlines()[0]
    assert not node.failed.is_set()
    assert _uploads(node.path) == []


def test_a_disk_that_fails_stops_the_node(client: NodeClient, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Any) -> None:
        raise OSError(errno.EIO, "input/output error")

    allocated = client.allocate(BLOB)
    with monkeypatch.context() as patched:
        patched.setattr("gateway.node.server.blobs.sync_directory", fail)
        assert client.put(allocated, DATA).status == 500
    assert node.failed.is_set()
    [found] = client.execute(client.acceptance(BLOB, CID.of(0x71, b"")))
    assert failure(found).name == "BlobNotFound"


def test_a_full_disk_stops_nothing(client: NodeClient, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "no space left on device")

    allocated = client.allocate(BLOB)
    with monkeypatch.context() as patched:
        patched.setattr("gateway.node.server.blobs.Upload.write", fail)
        assert client.put(allocated, DATA).status == 507
    assert not node.failed.is_set()
    assert client.put(allocated, DATA).status == 200


def test_a_client_that_waits_is_told_to_go_on(client: NodeClient) -> None:
    allocated = client.allocate(BLOB)
    assert allocated.address is not None
    split = urlsplit(allocated.address.url)
    with socket.create_connection((split.hostname or "", split.port or 0), timeout=10) as raw:
        raw.sendall(
            b"PUT %s HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\nExpect: 100-continue\r\n\r\n" % split.path.encode()
        )
        assert raw.recv(1000).startswith(b"HTTP/1.1 100 ")
        raw.sendall(DATA)
        assert b" 200 " in raw.recv(1000).splitlines()[0]


def test_two_put_the_same_at_once(client: NodeClient, node: Any) -> None:
    allocated = client.allocate(blob_of(BIG))
    statuses: list[int] = []
    threads = [threading.Thread(target=lambda: statuses.append(client.put(allocated, BIG).status)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert statuses == [200] * 4
    assert client.accept(blob_of(BIG)).length == len(BIG)
    assert _uploads(node.path) == []


def test_a_proof_that_has_expired(client: NodeClient, node: Any) -> None:
    may = [Capability("blob/allocate", client.node)]
    for expires, outcome in ((client.now() - 61, "Unauthorized"), (client.now() + 60, None)):
        asked = client.allocation(BLOB, proofs=[delegate(node.node.key, client.agent.did, may, expires=expires)])
        [found] = client.execute(asked)
        assert (failure(found).name if outcome else None) == outcome


def test_too_large_a_blob(run_node: Callable[..., Any]) -> None:
    client = run_node(blob_bytes_max=10).client()
    [found] = client.execute(client.allocation(BLOB))
    assert failure(found).name == "BlobSizeOutsideOfSupportedRange"
    client.store(DATA[:10])


def test_no_room(client: NodeClient, node: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    allocated = client.allocate(BLOB)
    monkeypatch.setattr("gateway.node.server.node.RESERVE_FREE_BYTES", 2**62)
    [found] = client.execute(client.allocation(blob_of(b"more")))
    assert failure(found).name == "InsufficientStorage"
    assert client.put(allocated, DATA).status == 507
    monkeypatch.undo()
    assert client.put(allocated, DATA).status == 200


def test_what_is_not_accepted_expires(client: NodeClient, node: Any, clock: Any) -> None:
    client.store(b"kept")
    half = client.allocate(BLOB)
    client.put(half, DATA)
    never = client.allocate(blob_of(b"never put"))
    assert node.node.sweep() == 0
    clock.now_s += 24 * 60 * 60 - 1
    assert node.node.sweep() == 0
    assert len(_files(node.path)) == 2
    clock.now_s += 1
    assert client.put(half, DATA).status == 403
    assert client.put(never, b"never put").status == 403
    [found] = client.execute(client.acceptance(BLOB, CID.of(0x71, b"")))
    assert failure(found).name == "AllocationNotFound"
    assert client.get(client.reading(BLOB.digest, 0, 10))[0].status == 404
    assert node.node.sweep() == 2
    assert _files(node.path) == [blob_of(b"kept").digest.hex()]
    client.store(DATA)
    assert client.read(blob_of(b"kept").digest, 0, 3) == b"kept"


def test_how_long_is_configured(run_node: Callable[..., Any], clock: Any) -> None:
    client = run_node(allocation_seconds=5).client()
    allocated = client.allocate(BLOB)
    clock.now_s += 5
    assert client.put(allocated, DATA).status == 403
    assert client.allocate(BLOB).address != allocated.address


def test_a_blob_goes_when_its_last_space_lets_it_go(client: NodeClient, node: Any) -> None:
    other = node.client(space=7)
    client.store(DATA)
    other.store(DATA)
    assert client.remove(BLOB.digest) == BLOB.size
    assert client.remove(BLOB.digest) == 0
    assert client.get(client.reading(BLOB.digest, 0, 10))[0].status == 404
    assert client.query(b"\x12\x20" + BLOB.digest, spaces=[client.space.did]).claims == ()
    assert other.read(BLOB.digest, 0, 10) == DATA
    assert other.remove(BLOB.digest) == BLOB.size
    assert _files(node.path) == []
    client.store(DATA)
    assert client.read(BLOB.digest, 0, 10) == DATA


def test_only_the_space_lets_go(client: NodeClient, node: Any) -> None:
    client.store(DATA)
    asked = capability(client.space.did, SpaceBlobRemove(BLOB.digest))
    [found] = client.execute(invoke(client.agent, client.node, asked, expires=None))
    assert failure(found).name == "Unauthorized"
    grant = delegate(client.space, client.agent.did, [Capability("space/blob/*", client.space.did)], expires=None)
    [found] = client.execute(invoke(client.agent, client.node, asked, expires=None, proofs=[grant]))
    assert ok(found) == {"size": BLOB.size}


def test_a_space_can_list_its_blobs(client: NodeClient, node: Any, clock: Any) -> None:
    datas = [bytes([n]) * 5 for n in range(7)]
    for data in datas:
        client.store(data)
        clock.now_s += 1
    client.allocate(BLOB)
    node.client(space=7).store(b"of another")
    first = client.list(size=4)
    assert first["size"] == 4
    second = client.list(size=4, cursor=first["cursor"])
    assert "cursor" not in second
    listed = [one["blob"]["digest"] for page in (first, second) for one in page["results"]]
    assert listed == [b"\x12\x20" + blob_of(data).digest for data in reversed(datas)]
    assert first["results"][0]["insertedAt"] == "2027-01-15T08:00:06.000Z"
    assert client.list()["size"] == 7
    for cursor in ("", "x", "9" * 30 + "." + "0" * 64):
        [found] = client.execute(client.on_space(SpaceBlobList(cursor)))
        assert failure(found).name == "InvalidCursor"


def _expired(client: NodeClient) -> Any:
    return client.allocation(BLOB, expires=client.now() - 61)


def _without_proof(client: NodeClient) -> Any:
    return client.allocation(BLOB, proofs=[])


def _by_proof_of_another(client: NodeClient) -> Any:
    client.agent = KeySigner(b"\x09" * 32)
    return client.allocation(BLOB)


def _for_another_node(client: NodeClient) -> Any:
    asked = client.allocation(BLOB)
    return delegate(
        client.agent, KeySigner(b"\x08" * 32).did, [asked.capability], expires=client.now() + 30,
        proofs=[client.proof] if client.proof else [],
    )  # fmt: skip


def _by_proof_of_a_stranger(client: NodeClient) -> Any:
    stranger, may = KeySigner(b"\x08" * 32), [Capability("blob/allocate", client.node)]
    return client.allocation(BLOB, proofs=[delegate(stranger, client.agent.did, may, expires=None)])


def _tampered(client: NodeClient) -> Any:
    asked = client.allocation(BLOB)
    changed = asked.token.data.replace(b"dsize\x0b", b"dsize\x0c")
    assert changed != asked.token.data
    return type(asked)(UCAN_0_9_1.decode(changed), asked.attached)


REFUSALS: dict[str, tuple[Callable[[NodeClient], Any], str]] = {
    "expired": (_expired, "Unauthorized"),
    "no proof": (_without_proof, "Unauthorized"),
    "proof of another": (_by_proof_of_another, "Unauthorized"),
    "another node": (_for_another_node, "InvalidAudienceError"),
    "proof of a stranger": (_by_proof_of_a_stranger, "Unauthorized"),
    "tampered": (_tampered, "Unauthorized"),
    "own resource": (
        lambda client: invoke(
            client.agent, client.node,
            capability(client.agent.did, BlobAccept(client.space.did, BLOB, CID.of(0x71, b""))), expires=None,
        ),
        "UnknownResource",
    ),
    "unknown": (
        lambda client: invoke(client.agent, client.node, Capability("test/do", client.agent.did), expires=None),
        "HandlerNotFoundError",
    ),
    "bad arguments": (
        lambda client: invoke(
            client.agent, client.node, Capability("blob/allocate", client.node, {"space": b"x"}), expires=None,
            proofs=[client.proof] if client.proof else [],
        ),
        "InvocationMalformed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_who_may_not_store(name: str, client: NodeClient, node: Any) -> None:
    make, expected = REFUSALS[name]
    asked = make(client)
    [found] = client.execute(asked)
    assert failure(found).name == expected
    fresh = node.client()
    assert fresh.allocate(BLOB).size == BLOB.size


def test_messages_that_are_none(node: Any, client: NodeClient) -> None:
    good = message.request([client.allocation(BLOB)])
    kind = {"Content-Type": message.CONTENT_TYPE}
    assert call(node.url, "POST", "/", good).status == 415
    assert call(node.url, "POST", "/", good, {"Content-Type": "application/octet-stream"}).status == 415
    assert call(node.url, "POST", "/", good, kind | {"Accept": "text/html"}).status == 406
    assert call(node.url, "POST", "/", good, kind | {"Accept": "text/html, */*;q=0.1"}).status == 200
    assert call(node.url, "POST", "/claims", good, kind).status == 200
    assert call(node.url, "POST", "/", good[:-1], kind).status == 400
    assert call(node.url, "POST", "/", b"", kind).status == 400
    assert call(node.url, "POST", "/", bytes(1024 * 1024 + 1), kind).status == 413
    assert call(node.url, "POST", "/", message.request([]), kind).status == 200
    missing = message.partial_request([client.allocation(BLOB).cid], ())
    answered = message.decode(call(node.url, "POST", "/", missing, kind).body)
    [ran] = answered.report
    assert failure(answered.receipt(ran)).name == "InvocationMalformed"
    for method, path in (("DELETE", "/"), ("GET", "/nothing"), ("POST", "/blob/z"), ("GET", "/%00")):
        assert call(node.url, method, path).status == 404
