"""Makes and signs the requests of one run."""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator
from typing import NamedTuple

from bench.bodies import BodyPool
from bench.signing import UNSIGNED_PAYLOAD, Credentials, Signer, encode_path, encode_query
from bench.spec import LoadSpec

MAX_READ_KEYS = 4096
LIST_PAGE_KEYS = 1000
LIST_STARTS = 64
FOLDER_KEYS = 1000


class Request(NamedTuple):
    head: bytes
    body_index: int
    """Which body is sent or expected."""


def key_name(prefix: str, index: int) -> str:
    """The key of an index: fixed width, so that byte order is index order.

    A new folder every 1,000 keys: it is how people lay keys out, and a server that maps keys to
    files is not made to search one huge directory at each PUT (rclone does).
    """
    return f"{prefix}{index // FOLDER_KEYS:06d}/{index:09d}"


class RequestMaker:
    """Signs requests as a specification wants them; `pool` has the bodies of its PUTs."""

    def __init__(self, spec: LoadSpec, pool: BodyPool | None) -> None:
        self._spec = spec
        self._pool = pool
        credentials = Credentials(spec.access_key, spec.secret_key, spec.region)
        self._signer = Signer(credentials, f"127.0.0.1:{spec.port}")

    def puts(self, first: int, count: int) -> list[Request]:
        return [self._put(index) for index in range(first, first + count)]

    def reads(self) -> Iterator[Request]:
        """An endless, shuffled repetition of the GET, HEAD, LIST or plain requests."""
        spec = self._spec
        if spec.operation == "plain":
            return itertools.repeat(Request(self._signer.head("GET", "/"), 0))
        requests = self._lists() if spec.operation == "list" else self._objects()
        random.Random(1).shuffle(requests)
        return itertools.cycle(requests)

    def _put(self, index: int) -> Request:
        assert self._pool is not None
        digest = self._pool.sha256(index) if self._spec.signed_payload else UNSIGNED_PAYLOAD
        path = encode_path(self._spec.bucket, key_name(self._spec.prefix, index))
        return Request(self._signer.head("PUT", path, "", digest, self._spec.size_bytes), index)

    def _objects(self) -> list[Request]:
        spec = self._spec
        method = spec.operation.upper()
        indexes = range(spec.first_index, spec.first_index + min(spec.keys, MAX_READ_KEYS))
        paths = (encode_path(spec.bucket, key_name(spec.prefix, index)) for index in indexes)
        heads = (self._signer.head(method, path) for path in paths)
        return [Request(head, index) for head, index in zip(heads, indexes, strict=True)]

    def _lists(self) -> list[Request]:
        """Pages that start at places spread evenly over the bucket; a full page follows each."""
        spec = self._spec
        last = spec.keys - LIST_PAGE_KEYS - 1
        requests = []
        for number in range(LIST_STARTS):
            after = key_name(spec.prefix, spec.first_index + last * number // (LIST_STARTS - 1))
            query = encode_query((("list-type", "2"), ("max-keys", str(LIST_PAGE_KEYS)), ("start-after", after)))
            requests.append(Request(self._signer.head("GET", f"/{spec.bucket}", query), number))
        return requests
