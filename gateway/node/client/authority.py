"""Everything the client signs: what it asks of a node, and what it lets others read meanwhile.

A right to read that is handed out covers the whole space on nodes that do not look at its conditions, so it lasts for
minutes at most.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gateway.node.client.errors import Misconfigured
from gateway.node.client.settings import Remote
from mst.cbor import Value
from mst.cid import CID, Link
from registry.ucan import archive
from registry.ucan.capability import (
    RETRIEVE,
    AssertIndex,
    Blob,
    BlobAccept,
    BlobAllocate,
    HttpPut,
    Retrieve,
    SpaceBlobAdd,
    capability,
)
from registry.ucan.covering import grants
from registry.ucan.delegation import Delegation, delegate, invoke
from registry.ucan.did import DID
from registry.ucan.errors import UcanError
from registry.ucan.signing import KeySigner
from registry.ucan.token import Capability
from registry.ucan.v091 import UCAN_0_9_1

INVOCATION_SECONDS = 60
"""How long an invocation may be executed."""
READING_SECONDS = 60
"""How long a right to read lasts that goes along with reads."""
RENEWAL_SECONDS = 20
"""How long before its end such a right is replaced."""
INDEXING_SECONDS = 600
"""How long an indexer may read an index that it is told of."""


class Authority:
    """Signs for one space with one node.

    Args:
        remote: the keys and the grant.
        now: seconds since 1970.

    Raises:
        Misconfigured: the grant is not the node's to this agent, or the node's name is no did:key.
    """

    def __init__(self, remote: Remote, now: Callable[[], float]) -> None:
        self.node = remote.node.did
        self.space = DID.parse(remote.space.did)
        self._space_key = remote.space
        self._agent_key = remote.space if remote.agent is None else remote.agent
        self._agent = DID.parse(self._agent_key.did)
        self._grant = _read_grant(remote.grant, self.node, self._agent)
        self._now = now
        self._reading: dict[DID, Delegation] = {}

    def allocation(self, blob: Blob) -> Delegation:
        """Asks the node to take a blob."""
        cause = self._invoke(self._agent, capability(self._agent, SpaceBlobAdd(blob)))
        return self._invoke(self.node, capability(self.node, BlobAllocate(self.space, blob, cause.cid)), (self._grant,))

    def acceptance(self, blob: Blob, allocation: CID) -> Delegation:
        """Asks the node to vouch for a blob that was put.

        Args:
            blob: which.
            allocation: the `allocation` that it was put for.
        """
        # Anybody can derive this key: the PUT is the act of whoever has the bytes.
        key = KeySigner(blob.digest)
        keys: dict[str, Value] = {"id": key.did, "keys": {key.did: key.encode()}}
        put = invoke(
            key, key.did, capability(key.did, HttpPut(blob, allocation)), expires=self._end(), facts=({"keys": keys},)
        )
        asked = capability(self.node, BlobAccept(self.space, blob, put.cid))
        # Without an end, as every client of the network does it: a node may come back to it much later.
        return invoke(self._agent_key, self.node, asked, expires=None, proofs=(self._grant,))

    def indexing(self, indexer: DID, content: Link, index: Blob) -> Delegation:
        """Tells an indexer of an index, and lets it read that for a few minutes.

        Args:
            indexer: whom.
            content: root of the DAG that is indexed, or `registry.ucan.index.NO_CONTENT`.
            index: the blob that is the archive of the index.
        """
        reading = capability(self.space, Retrieve(index.digest, 0, index.size - 1))
        until = int(self._now()) + INDEXING_SECONDS
        proofs: tuple[Delegation, ...] = ()
        if self._agent != self.space:
            proofs = (delegate(self._space_key, self._agent, (reading,), expires=until),)
        allowed = delegate(self._agent_key, indexer, (reading,), expires=until, proofs=proofs)
        return invoke(
            self._agent_key,
            indexer,
            capability(self._agent, AssertIndex(content, index.digest)),
            expires=self._end(),
            proofs=(allowed,),
            facts=({"retrievalAuth": allowed.cid},),
        )

    def retrieval(self, digest: bytes, start: int, stop: int) -> Delegation:
        """Asks the node for bytes of a blob.

        Args:
            digest: which blob.
            start: the first byte.
            stop: behind the last byte, greater than ``start``.
        """
        proofs = () if self._agent == self.space else (self.reading(self._agent),)
        return self._invoke(self.node, capability(self.space, Retrieve(digest, start, stop - 1)), proofs)

    def reading(self, audience: DID) -> Delegation:
        """Lets somebody read the space for a minute; signed again shortly before that is over."""
        now = int(self._now())
        known = self._reading.get(audience)
        if known is None or (known.token.payload.expires or 0) - now < RENEWAL_SECONDS:
            everything = Capability(RETRIEVE, self.space)
            known = delegate(self._space_key, audience, (everything,), expires=now + READING_SECONDS)
            self._reading[audience] = known
        return known

    def _invoke(self, executor: DID, asked: Capability, proofs: tuple[Delegation, ...] = ()) -> Delegation:
        return invoke(self._agent_key, executor, asked, expires=self._end(), proofs=proofs)

    def _end(self) -> int:
        return int(self._now()) + INVOCATION_SECONDS


def _read_grant(text: str, node: DID, agent: DID) -> Delegation:
    try:
        grant = archive.from_text(text)
        UCAN_0_9_1.verify(grant.token)
    except UcanError as error:
        raise Misconfigured(f"the grant of the storage node cannot be used: {error}") from None
    said = grant.token.payload
    if said.audience != agent:
        raise Misconfigured(f"the grant of the storage node is for {said.audience}, and this is {agent}")
    for can in (BlobAllocate.can, BlobAccept.can):
        claimed = Capability(can, node)
        if not any(grants(replace(granted, nb={}), claimed) for granted in said.capabilities):
            raise Misconfigured(f"the grant does not allow {can} with the storage node {node}")
    return grant
