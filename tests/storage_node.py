"""A storage node and indexer in memory, made of `registry.ucan` and nothing of the gateway's, that does what it is told
to: also the wrong thing.

It keeps the protocol's rules as another implementation would, so that what a client gets away with here it gets away
with elsewhere.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256

from aiohttp import web

from mst.cid import CID, Link, multihash
from registry import base58
from registry.ucan import archive, header, index, message, query, receipt
from registry.ucan.capability import AssertIndex, BlobAccept, BlobAllocate, Location, Retrieve, arguments, capability
from registry.ucan.delegation import Delegation, decode_block, delegate, gather
from registry.ucan.did import DID
from registry.ucan.errors import MissingProofs, UcanError, Unauthorized
from registry.ucan.receipt import Failure, Ok, Receipt
from registry.ucan.results import Acceptance, Address, Allocation
from registry.ucan.signing import KeySigner, Signer
from registry.ucan.token import Capability, Token
from registry.ucan.validate import authorize, require_proofs

NOW = 1_800_000_000
"""The time on the node's clock, seconds since 1970."""

Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
Fault = Callable[[web.BaseRequest, Handler], Awaitable[web.StreamResponse]]
"""What happens to a request instead of, around or after the right answer."""


class StorageNode:
    """One node, listening while `listening` lasts.

    Attributes:
        blobs: bytes by digest.
        allocations: which blob was allocated for which space.
        accepted: the claims of accepted blobs.
        faults: what to do with coming requests, by method; each is done once, in order.
        always: what to do with all requests of a method.
        alter: changes receipts before they are sent.
        alter_claim: changes location claims before they are given out.
        urls: makes the URLs of a location claim; None for the one at this node.
        eager_indexing: whether assertions are executed before what else is in a message.
        one_by_one: whether a header with more than one UCAN is too long for it.
        nowhere: the address of what the node has already.
        put_headers: more headers that a PUT must have.
    """

    def __init__(self, key: KeySigner) -> None:
        self.key = key
        self.did = key.did
        self.url = ""
        self.blobs: dict[bytes, bytes] = {}
        self.allocations: set[tuple[bytes, DID]] = set()
        self.accepted: dict[bytes, Delegation] = {}
        self.indexed: dict[bytes, list[Delegation]] = {}
        self.requests: list[tuple[str, str]] = []
        self.abilities: list[list[str]] = []
        self.faults: dict[str, list[Fault]] = {}
        self.always: dict[str, Fault] = {}
        self.alter: Callable[[Receipt], Receipt] = lambda one: one
        self.alter_claim: Callable[[Delegation], Delegation] = lambda one: one
        self.urls: Callable[[bytes], tuple[str, ...]] | None = None
        self.eager_indexing = False
        self.one_by_one = False
        self.nowhere: Address | None = None
        self.put_headers: dict[str, str] = {}
        self.put_expires = NOW + 24 * 3600
        self.seen_put_headers: list[dict[str, str]] = []
        self.broken: list[Exception] = []
        self._seen: dict[Link, bytes] = {}
        self._tickets: dict[str, int] = {}

    def grant(self, agent: DID) -> str:
        """The delegation that lets an agent store here, as text."""
        rights = [Capability(can, self.did) for can in (BlobAllocate.can, BlobAccept.can)]
        return archive.to_text(delegate(self.key, agent, rights, expires=None))

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[StorageNode]:
        """Serve on a port of its own."""
        server = web.Server(self._handle)
        listener = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{listener.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            listener.close()
            await server.shutdown(0.01)
        assert self.broken == []

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append((request.method, request.path))
        waiting = self.faults.get(request.method, [])
        fault = waiting.pop(0) if waiting else self.always.get(request.method)
        try:
            return await (self.answer(request) if fault is None else fault(request, self.answer))
        except ConnectionError:
            raise
        except Exception as error:
            self.broken.append(error)
            raise

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """The right answer."""
        if request.method == "POST":
            return await self._execute(request)
        if request.method == "PUT":
            return await self._put(request)
        if request.path == "/claims":
            return self._query(request)
        return self._retrieve(request)

    # --- invocations ---

    async def _execute(self, request: web.BaseRequest) -> web.Response:
        if request.headers.get("Content-Type") != message.CONTENT_TYPE:
            return web.Response(status=415)
        said = message.decode(await request.read())
        tokens = [decode_block(cid, said.blocks) for cid in said.execute]
        self.abilities.append([token.payload.capabilities[0].can for token in tokens])
        order = sorted(tokens, key=lambda token: self.eager_indexing and not self._asserts(token))
        receipts = {token.cid: self._receipt(token, said) for token in order}
        body = message.response([self.alter(receipts[token.cid]) for token in tokens])
        return web.Response(body=body, content_type=message.CONTENT_TYPE)

    @staticmethod
    def _asserts(token: Token) -> bool:
        return token.payload.capabilities[0].can == AssertIndex.can

    def _receipt(self, token: Token, said: message.Message) -> Receipt:
        attached: list[tuple[Link, bytes]] = []
        out: Ok | Failure
        try:
            asked = authorize(token, said.blocks, audiences={self.did}, now=NOW)
            if asked.can == BlobAllocate.can:
                out = Ok(self._allocate(arguments(BlobAllocate, asked)).value())
            elif asked.can == BlobAccept.can:
                accept = arguments(BlobAccept, asked)
                if accept.blob.digest not in self.blobs:
                    raise Unauthorized("blob not found", "HandlerExecutionError")
                claim = self._claim(accept)
                attached = list(claim.blocks())
                out = Ok(Acceptance(claim.cid).value())
            elif asked.can == AssertIndex.can:
                self._index(arguments(AssertIndex, asked), token, said)
                out = Ok({})
            else:
                raise Unauthorized(f"no handler for {asked.can}", "HandlerNotFoundError")
        except Unauthorized as error:
            out = Failure.of(error.name, str(error))
        except UcanError as error:
            out = Failure.of("Malformed", str(error))
        return receipt.issue(self.key, token.cid, out, attached=attached)

    def _allocate(self, asked: BlobAllocate) -> Allocation:
        digest, size = asked.blob.digest, asked.blob.size
        new = (digest, asked.space) not in self.allocations
        self.allocations.add((digest, asked.space))
        if digest in self.blobs:
            return Allocation(size if new else 0, self.nowhere)
        ticket = f"{len(self._tickets)}"
        self._tickets[ticket] = size
        url = f"{self.url}/blob/z{base58.encode(multihash(digest))}?ticket={ticket}&signed=a%2Fb"
        return Allocation(size if new else 0, Address(url, self.put_headers, self.put_expires))

    def _claim(self, asked: BlobAccept) -> Delegation:
        digest = asked.blob.digest
        urls = (self.piece_url(digest),) if self.urls is None else self.urls(digest)
        location = Location(digest, urls, asked.space, 0, asked.blob.size)
        claim = delegate(self.key, asked.space, [capability(self.did, location)], expires=None)
        self.accepted[digest] = self.alter_claim(claim)
        return self.accepted[digest]

    def piece_url(self, digest: bytes) -> str:
        """Where a blob can be read."""
        return f"{self.url}/piece/z{base58.encode(multihash(digest))}"

    def _index(self, asked: AssertIndex, token: Token, said: message.Message) -> None:
        if asked.digest not in self.accepted:
            raise Unauthorized("no location of the index is known", "HandlerExecutionError")
        fact = token.payload.facts[0]["retrievalAuth"]
        assert isinstance(fact, CID)
        allowed = gather(fact, said.blocks)
        read = arguments(Retrieve, allowed.capability)
        assert (read.digest, read.start) == (asked.digest, 0)
        assert allowed.token.payload.expires is not None
        found = index.decode(self.blobs[asked.digest][read.start : read.end + 1])
        claim = gather(token.cid, said.blocks)
        for shard, slices in found.shards.items():
            for digest in (shard, *slices):
                self.indexed.setdefault(digest, []).append(claim)

    # --- blobs ---

    async def _put(self, request: web.BaseRequest) -> web.Response:
        self.seen_put_headers.append(dict(request.headers))
        ticket = request.query.get("ticket", "")
        if self._tickets.get(ticket) is None or request.raw_path.count("a%2Fb") != 1:
            return web.Response(status=401)
        if any(request.headers.get(name) != value for name, value in self.put_headers.items()):
            return web.Response(status=401)
        if request.content_length != self._tickets[ticket]:
            return web.Response(status=400)
        body = b"".join([chunk async for chunk in request.content.iter_any()])
        if request.path != f"/blob/z{base58.encode(multihash(sha256(body).digest()))}":
            return web.Response(status=409)
        self.blobs[sha256(body).digest()] = body
        return web.Response(status=200)

    def _retrieve(self, request: web.BaseRequest) -> web.Response:
        text = request.headers.get(header.NAME)
        if text is None:
            return web.Response(status=415, text="no message")
        said = message.decode(header.decode(text))
        (asked_for,) = said.execute
        came = dict(said.blocks)
        if self.one_by_one and len(came) > len(("message", "invocation or proof")):
            return web.Response(status=431)
        blocks = self._seen | came
        self._seen |= came
        token = decode_block(asked_for, blocks)
        try:
            require_proofs(token, blocks)
        except MissingProofs as error:
            wanted = {"name": "MissingProofs", "message": "", "proofs": [{"/": str(cid)} for cid in error.proofs]}
            return web.Response(status=510, text=json.dumps(wanted), content_type="application/json")
        status, body, out = self._bytes(token, blocks)
        reported = self.alter(receipt.issue(self.key, asked_for, out))
        return web.Response(
            status=status, body=body, headers={header.NAME: header.encode(message.response([reported]))}
        )

    def _bytes(self, token: Token, blocks: dict[Link, bytes]) -> tuple[int, bytes, Ok | Failure]:
        try:
            asked = authorize(token, blocks, audiences={self.did}, now=NOW)
            read = arguments(Retrieve, asked)
        except Unauthorized as error:
            return 200, b"", Failure.of(error.name, str(error))
        except UcanError as error:
            return 200, b"", Failure.of("Malformed", str(error))
        space = DID.parse(asked.resource)
        if (read.digest, space) not in self.allocations or read.digest not in self.blobs:
            return 404, b"", Failure.of("NotFound", "blob not found")
        blob = self.blobs[read.digest]
        if read.end >= len(blob):
            return 416, b"", Failure.of("RangeNotSatisfiable", "")
        body = blob[read.start : read.end + 1]
        return 200 if len(body) == len(blob) else 206, body, Ok({})

    # --- queries ---

    def _query(self, request: web.BaseRequest) -> web.Response:
        said = message.decode(header.decode(request.headers[header.NAME]))
        (cid,) = said.execute
        reading = gather(cid, said.blocks)
        assert reading.token.payload.audience == self.did
        assert [reading.capability.resource] == request.query.getall("spaces")
        claims: dict[CID, Delegation] = {}
        archives: dict[bytes, bytes] = {}
        for text in request.query.getall("multihash"):
            digest = base58.decode(text[1:])[2:]
            located = [digest]
            for claim in self.indexed.get(digest, ()):
                claims[claim.cid] = claim
                blob = arguments(AssertIndex, claim.capability).digest
                archives[sha256(blob).digest()] = self.blobs[blob]
                located += [blob, *index.decode(self.blobs[blob]).shards]
            claims |= {self.accepted[one].cid: self.accepted[one] for one in located if one in self.accepted}
        return web.Response(body=query.encode(list(claims.values()), archives))


def resigned(one: Receipt, signer: Signer) -> Receipt:
    """A receipt as if somebody else had signed it."""
    other = receipt.issue(signer, one.ran, one.out, fork=one.fork, attached=one.attached.items())
    return replace(other, attached=one.attached)
