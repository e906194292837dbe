"""What invocations make the node do.

An operation looks at the arguments first, outside of any transaction, and returns the work that is left.  Work that
raises `Refused` has written nothing.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import TYPE_CHECKING, TypeAlias

import sqlalchemy as sa

from gateway.node.server import allocations, claims
from gateway.node.server.allocations import Allocated
from gateway.node.server.claims import Claim, Published
from gateway.node.server.errors import Refused
from mst.cbor import Value
from mst.cid import CID, Link, multihash
from registry.ucan import archive, index
from registry.ucan.capability import (
    AssertIndex,
    Blob,
    BlobAccept,
    BlobAllocate,
    ClaimCache,
    Location,
    Retrieve,
    SpaceBlobList,
    SpaceBlobRemove,
    arguments,
    capability,
)
from registry.ucan.covering import grants
from registry.ucan.delegation import Delegation, gather, invoke
from registry.ucan.did import DID
from registry.ucan.errors import UcanError
from registry.ucan.limits import BLOBS_LISTED_MAX, INDEX_BYTES_MAX
from registry.ucan.results import Acceptance, Address, Allocation, BlobList
from registry.ucan.token import Capability
from registry.ucan.v091 import UCAN_0_9_1
from registry.ucan.validate import authorize

if TYPE_CHECKING:
    from gateway.node.server.node import Node

TOKEN_BYTES = 24
"""Randomness of an upload's URL."""

_RETRIEVAL_AUTH = "retrievalAuth"
_NEVER = (2**62, b"")
_CURSOR = re.compile(r"([0-9]{1,15})\.([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Done:
    """What came of an invocation.

    Attributes:
        value: what its receipt says.
        fork: what follows from it.
        dropped: blobs that a space let go.
    """

    value: Value
    fork: tuple[Delegation, ...] = ()
    dropped: frozenset[bytes] = frozenset()


@dataclass(frozen=True, slots=True)
class Asked:
    """An invocation that may be executed.

    Attributes:
        invocation: it and its proofs.
        blocks: everything that came in its message.
        now_s: the time, in seconds since 1970.
    """

    invocation: Delegation
    blocks: Mapping[Link, bytes]
    now_s: int

    @property
    def capability(self) -> Capability:
        """What is asked."""
        return self.invocation.capability


Work: TypeAlias = Callable[[sa.Connection], Done]
Operation: TypeAlias = Callable[["Node", Asked], Work]


def allocate(node: Node, asked: Asked) -> Work:
    """``blob/allocate``: await a blob.

    A space that has not sent the bytes is asked for them even if they are here, because whoever knows a digest could
    read the blob of another otherwise.
    """
    _require_own(node, asked.capability)
    wanted = arguments(BlobAllocate, asked.capability)
    blob, space = wanted.blob, wanted.space
    if blob.size > node.settings.blob_bytes_max:
        most = node.settings.blob_bytes_max
        raise Refused("BlobSizeOutsideOfSupportedRange", f"a blob has at most {most} bytes, not {blob.size}")
    node.require_room(blob.size)

    def work(connection: sa.Connection) -> Done:
        found = allocations.get(connection, blob.digest, space, asked.now_s)
        if found is not None and found.received:
            _require_size(found, blob)
            if node.blobs.size(blob.digest) == blob.size:
                return Done(Allocation(0, None).value())
        elif found is None or found.size != blob.size:
            expires_s = asked.now_s + node.settings.allocation_seconds
            token = secrets.token_urlsafe(TOKEN_BYTES)
            made = Allocated(blob.digest, space, blob.size, token, expires_s, False, None, None)
            allocations.put(connection, made)
            return Done(Allocation(blob.size, _address(node, made)).value())
        return Done(Allocation(0, _address(node, found)).value())

    return work


def accept(node: Node, asked: Asked) -> Work:
    """``blob/accept``: vouch for a blob that was put."""
    _require_own(node, asked.capability)
    wanted = arguments(BlobAccept, asked.capability)
    blob, space = wanted.blob, wanted.space

    def work(connection: sa.Connection) -> Done:
        found = allocations.get(connection, blob.digest, space, asked.now_s)
        if found is None:
            raise Refused("AllocationNotFound", f"the blob was not allocated for {space}, or too long ago")
        _require_size(found, blob)
        if not found.received or node.blobs.size(blob.digest) != blob.size:
            raise Refused("BlobNotFound", "blob not found: it was allocated but not put")
        location = Location(blob.digest, (node.blob_url(blob.digest),), space, 0, blob.size)
        # Equal in everything if it is made again, so that a client that asks again gets the same claim.
        claim = invoke(node.key, space, capability(node.did, location), expires=None)
        if found.claim != claim.cid:
            if found.claim is not None:
                claims.delete(connection, found.claim)
            remembered = Claim(claim.cid, space, archive.encode(claim))
            content = multihash(blob.digest)
            claims.put(connection, remembered, kind="location", content=content, expires_s=None, now_s=asked.now_s)
            allocations.set_accepted(connection, found, claim.cid, asked.now_s)
        return Done(Acceptance(claim.cid).value(), fork=(claim,))

    return work


def remove(node: Node, asked: Asked) -> Work:
    """``space/blob/remove``: a space lets a blob go; it stays while another has it."""
    space = asked.capability.resource
    digest = arguments(SpaceBlobRemove, asked.capability).digest

    def work(connection: sa.Connection) -> Done:
        found = allocations.get(connection, digest, space, asked.now_s)
        if found is None:
            return Done({"size": 0})
        claims.unpublish(connection, digest, space)
        if found.claim is not None:
            claims.delete(connection, found.claim)
        allocations.delete(connection, found)
        return Done({"size": found.size}, dropped=frozenset({digest}))

    return work


def list_blobs(node: Node, asked: Asked) -> Work:
    """``space/blob/list``: the accepted blobs of a space, the newest first."""
    space = asked.capability.resource
    wanted = arguments(SpaceBlobList, asked.capability)
    before = _NEVER if wanted.cursor is None else _position(wanted.cursor)
    many = min(wanted.size or BLOBS_LISTED_MAX, BLOBS_LISTED_MAX)

    def work(connection: sa.Connection) -> Done:
        found = allocations.accepted(connection, space, before=before, many=many + 1)
        shown = found[:many]
        cursor = None
        if len(found) > many:
            cursor = f"{shown[-1].accepted_s}.{shown[-1].digest.hex()}"
        blobs = tuple((Blob(one.digest, one.size), _iso(one.accepted_s or 0)) for one in shown)
        return Done(BlobList(blobs, cursor).value())

    return work


def cache_claim(node: Node, asked: Asked) -> Work:
    """``claim/cache``: answer queries with a location claim, of another node too."""
    _require_own(node, asked.capability)
    claim = gather(arguments(ClaimCache, asked.capability).claim, asked.blocks)
    payload = claim.token.payload
    location = arguments(Location, claim.capability)
    if len(payload.capabilities) != 1 or claim.capability.resource != payload.issuer:
        raise Refused("ClaimNotBelieved", "a node claims where its own blobs are, one at a time")
    if payload.expires is not None and payload.expires <= asked.now_s:
        raise Refused("ClaimNotBelieved", "the claim has expired")
    UCAN_0_9_1.verify(claim.token)
    remembered = Claim(claim.cid, location.space, archive.encode(claim))

    def work(connection: sa.Connection) -> Done:
        content = multihash(location.digest)
        claims.put(
            connection, remembered, kind="location", content=content, expires_s=payload.expires, now_s=asked.now_s
        )
        return Done({})

    return work


def assert_index(node: Node, asked: Asked) -> Work:
    """``assert/index``: a blob of this node is an index.

    Who asserts must be the space, or have been let read the blob by it and let the node do so.
    """
    wanted = arguments(AssertIndex, asked.capability)
    size = node.blobs.size(wanted.digest)
    if size is None or size > INDEX_BYTES_MAX:
        raise Refused("IndexNotFound", "the index is no blob of this node, or too large for one")
    space = _space_of_index(node, asked, wanted.digest, size)
    data = node.blobs.read(wanted.digest)
    if sha256(data).digest() != wanted.digest:
        raise Refused("IndexNotFound", "the blob is damaged")
    found = index.decode(data)
    digests = {digest for shard, slices in found.shards.items() for digest in (shard, *slices)}
    content = wanted.content.multihash
    remembered = Claim(asked.invocation.cid, space, archive.encode(asked.invocation))

    def work(connection: sa.Connection) -> Done:
        kept = allocations.get(connection, wanted.digest, space, asked.now_s)
        if kept is None or kept.accepted_s is None:
            raise Refused("IndexNotFound", f"the index is no accepted blob of {space}")
        claims.publish(connection, Published(0, wanted.digest, space, size, asked.invocation.cid), content, digests)
        claims.put(connection, remembered, kind="index", content=content, expires_s=None, now_s=asked.now_s)
        return Done({})

    return work


OPERATIONS: Mapping[str, Operation] = {
    BlobAllocate.can: allocate,
    BlobAccept.can: accept,
    SpaceBlobRemove.can: remove,
    SpaceBlobList.can: list_blobs,
    ClaimCache.can: cache_claim,
    AssertIndex.can: assert_index,
}


def _require_own(node: Node, asked: Capability) -> None:
    """The resource must be this node: anybody may do anything with a resource of their own."""
    if asked.resource != node.did:
        raise Refused("UnknownResource", f"{asked.can} is done with {node.did}, not with {asked.resource}")


def _require_size(found: Allocated, blob: Blob) -> None:
    if found.size != blob.size:
        raise Refused("BlobSizeMismatch", f"the blob was allocated with {found.size} bytes, not {blob.size}")


def _address(node: Node, allocated: Allocated) -> Address:
    return Address(f"{node.settings.public_url}/upload/{allocated.token}", {}, allocated.expires_s)


def _space_of_index(node: Node, asked: Asked, digest: bytes, size: int) -> DID:
    """Whose blob the index is, by the authority that the assertion came with."""
    for fact in asked.invocation.token.payload.facts:
        link = fact.get(_RETRIEVAL_AUTH)
        if not isinstance(link, CID):
            continue
        granted = authorize(gather(link, asked.blocks).token, asked.blocks, audiences={node.did}, now=asked.now_s)
        if not grants(granted, reading(granted.resource, digest, size)):
            raise Refused("IndexNotReadable", "the delegation does not let the node read the index")
        return DID.parse(granted.resource)
    try:
        return DID.parse(asked.capability.resource)
    except UcanError:
        raise Refused("IndexNotReadable", "the assertion says nothing by which the node may read the index") from None


def reading(space: str, digest: bytes, size: int) -> Capability:
    """The capability to read a whole blob of a space."""
    return capability(space, Retrieve(digest, 0, max(size - 1, 0)))


def _position(cursor: str) -> tuple[int, bytes]:
    found = _CURSOR.fullmatch(cursor)
    if found is None:
        raise Refused("InvalidCursor", "no answer ended at this cursor")
    return int(found[1]), bytes.fromhex(found[2])


def _iso(time_s: int) -> str:
    return f"{datetime.fromtimestamp(time_s, UTC):%Y-%m-%dT%H:%M:%S}.000Z"
