"""A client of storage nodes for tests: every step by itself, so that each can be done wrongly.

Plain http.client and `registry.ucan`; nothing of the node's server is used.
"""

from __future__ import annotations

import http.client
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from mst.cid import CID, multihash
from registry import base58
from registry.ucan import header, message, query
from registry.ucan.capability import (
    AssertIndex,
    Blob,
    BlobAccept,
    BlobAllocate,
    HttpPut,
    Location,
    Retrieve,
    SpaceBlobAdd,
    SpaceBlobList,
    SpaceBlobRemove,
    arguments,
    capability,
)
from registry.ucan.delegation import Delegation, delegate, gather, invoke
from registry.ucan.did import DID
from registry.ucan.index import NO_CONTENT
from registry.ucan.query import QueryResult
from registry.ucan.receipt import Failure, Ok, Receipt
from registry.ucan.results import Acceptance, Allocation
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability
from registry.ucan.v091 import UCAN_0_9_1

TIMEOUT_SECONDS = 30


class Reply(NamedTuple):
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes


def call(
    url: str, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] | None = None
) -> Reply:
    """One request on a connection of its own."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_SECONDS)
    try:
        connection.request(method, path, body, dict(headers or {}))
        response = connection.getresponse()
        return Reply(response.status, response.headers, response.read())
    finally:
        connection.close()


def blob_of(data: bytes) -> Blob:
    return Blob(sha256(data).digest(), len(data))


@dataclass
class NodeClient:
    """A gateway that talks to one node.

    Attributes:
        url: where the node is.
        node: who it should be.
        proof: by what it may be used.
        agent: who asks.
        space: whose blobs.
        now: tells the time, seconds since 1970.
    """

    url: str
    node: DID
    proof: Delegation | None
    agent: KeySigner = field(default_factory=lambda: KeySigner(b"\x02" * 32))
    space: KeySigner = field(default_factory=lambda: KeySigner(b"\x01" * 32))
    now: Any = lambda: int(time.time())

    def execute(self, *invocations: Delegation) -> list[Receipt]:
        """Ask, and check the receipts."""
        reply = call(
            self.url, "POST", "/", message.request(invocations),
            {"Content-Type": message.CONTENT_TYPE, "Accept": message.CONTENT_TYPE},
        )  # fmt: skip
        assert reply.status == 200, reply
        assert reply.headers["Content-Type"] == message.CONTENT_TYPE
        answered = message.decode(reply.body)
        receipts = [answered.receipt(one.cid) for one in invocations]
        for one, found in zip(invocations, receipts, strict=True):
            found.verify(self.node, one.cid)
        return receipts

    def on_node(self, arguments_: Any, **how: Any) -> Delegation:
        """The agent asks the node to do something with itself."""
        proofs = [] if self.proof is None else [self.proof]
        options = {"expires": self.now() + 30, "proofs": proofs} | how
        return invoke(self.agent, self.node, capability(self.node, arguments_), **options)

    def on_space(self, arguments_: Any, **how: Any) -> Delegation:
        """The space asks the node to do something with its blobs."""
        options = {"expires": self.now() + 30} | how
        return invoke(self.space, self.node, capability(self.space.did, arguments_), **options)

    def allocation(self, blob: Blob, **how: Any) -> Delegation:
        cause = invoke(self.agent, self.agent.did, capability(self.space.did, SpaceBlobAdd(blob)), expires=self.now())
        return self.on_node(BlobAllocate(self.space.did, blob, cause.cid), **how)

    def acceptance(self, blob: Blob, allocation: CID, **how: Any) -> Delegation:
        key = KeySigner(blob.digest)
        put = invoke(key, key.did, capability(key.did, HttpPut(blob, allocation)), expires=self.now() + 30)
        return self.on_node(BlobAccept(self.space.did, blob, put.cid), **{"expires": None} | how)

    def allocate(self, blob: Blob) -> Allocation:
        [found] = self.execute(self.allocation(blob))
        return Allocation.read(ok(found))

    def put(self, allocated: Allocation, data: bytes) -> Reply:
        assert allocated.address is not None
        return call(self.url, "PUT", urlsplit(allocated.address.url).path, data, allocated.address.headers)

    def accept(self, blob: Blob) -> Location:
        """Have a blob accepted; returns the claim, checked."""
        [found] = self.execute(self.acceptance(blob, CID.of(0x71, b"")))
        return self.location(found, blob)

    def location(self, found: Receipt, blob: Blob) -> Location:
        """The claim in a receipt, checked."""
        site = Acceptance.read(ok(found)).site
        assert site in found.fork
        claim = gather(site, found.attached)
        UCAN_0_9_1.verify(claim.token)
        location = arguments(Location, claim.capability)
        assert (claim.token.payload.issuer, claim.capability.resource) == (self.node, self.node)
        assert claim.token.payload.audience == location.space == self.space.did
        assert (location.digest, location.offset, location.length) == (blob.digest, 0, blob.size)
        return location

    def store(self, data: bytes) -> Location:
        """All it takes to store a blob."""
        blob = blob_of(data)
        allocated = self.allocate(blob)
        if allocated.address is not None:
            reply = self.put(allocated, data)
            assert reply.status == 200, reply
        return self.accept(blob)

    def remove(self, digest: bytes) -> int:
        [found] = self.execute(self.on_space(SpaceBlobRemove(digest)))
        size: int = ok(found)["size"]
        return size

    def list(self, **how: Any) -> Any:
        [found] = self.execute(self.on_space(SpaceBlobList(**how)))
        return ok(found)

    def reading(self, digest: bytes, start: int, end: int, **how: Any) -> Delegation:
        """The agent asks for bytes, which the space lets it for a minute."""
        grant = delegate(
            self.space, self.agent.did, [Capability(Retrieve.can, self.space.did)], expires=self.now() + 60
        )
        asked = capability(self.space.did, Retrieve(digest, start, end))
        return invoke(self.agent, self.node, asked, **{"expires": self.now() + 30, "proofs": [grant]} | how)

    def get(self, asked: Delegation, path: str | None = None) -> tuple[Reply, Receipt]:
        """Ask for bytes, and check the receipt."""
        sent = header.encode(message.request([asked]))
        reply = call(self.url, "GET", path or "/blob/any", headers={header.NAME: sent})
        found = message.decode(header.decode(reply.headers[header.NAME])).receipt(asked.cid)
        found.verify(self.node, asked.cid)
        return reply, found

    def read(self, digest: bytes, start: int, end: int) -> bytes:
        reply, found = self.get(self.reading(digest, start, end))
        ok(found)
        assert reply.status in (200, 206)
        return reply.body

    def publication(self, archive: bytes, **how: Any) -> Delegation:
        """The agent publishes an index, which the space lets the node read."""
        blob = blob_of(archive)
        read = capability(self.space.did, Retrieve(blob.digest, 0, blob.size - 1))
        first = delegate(self.space, self.agent.did, [read], expires=self.now() + 60)
        second = delegate(self.agent, self.node, [read], expires=self.now() + 60, proofs=[first])
        asked = capability(self.agent.did, AssertIndex(how.pop("content", NO_CONTENT), blob.digest))
        options = {"expires": self.now() + 30, "proofs": [second], "facts": [{"retrievalAuth": second.cid}]} | how
        return invoke(self.agent, self.node, asked, **options)

    def query(
        self, *multihashes: bytes, allow: bool = True, extra: str = "", spaces: Sequence[str] = ()
    ) -> QueryResult:
        """Ask for claims; with ``allow`` the space lets the node read its indexes."""
        headers = {}
        if allow:
            grant = delegate(self.space, self.node, [Capability(Retrieve.can, self.space.did)], expires=self.now() + 60)
            headers[header.NAME] = header.encode(message.request([grant]))
        search = "&".join([f"multihash=z{base58.encode(one)}" for one in multihashes] + [f"spaces={s}" for s in spaces])
        reply = call(self.url, "GET", f"/claims?{search}{extra}", headers=headers)
        assert reply.status == 200, reply
        return query.decode(reply.body)


def ok(found: Receipt) -> Any:
    assert isinstance(found.out, Ok), found.out
    return found.out.value


def failure(found: Receipt) -> Failure:
    assert isinstance(found.out, Failure), found.out
    return found.out


def mh(data: bytes) -> bytes:
    return multihash(sha256(data).digest())
