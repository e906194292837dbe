"""Whole requests, damaged: what a client of any operation might send if it were wrong in any way, or hostile.

A request is a function of a number, so a failure is repeated by its number.  Most are signed after they were damaged,
by botocore, so that they come through authentication to the code behind it.
"""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cache
from hashlib import sha256
from typing import Any
from urllib.parse import quote

from botocore.loaders import Loader

from gateway.s3.checksums import Algorithm
from gateway.s3.routes import COPY, ROUTES, SUBRESOURCES
from gateway.s3.sigv4 import PayloadMode
from tests.rawclient import read_reply, wire_form
from tests.servers import Server

BUCKET, OTHER = "fuzzed", "fuzzed-too"
KEYS = ("key", "dir/a b", "large", "\N{DECIDUOUS TREE}/+&?%", "no-such-key")
DAMAGES_MAX = 3
DECLARED = {(501, "NotImplemented"), (503, "SlowDown"), (507, "InsufficientStorage")}
"""Answers above 499 that a request may get without anything being wrong with the server."""
_FILLING = b"\r\n\r\n" + b"x" * 110_000 + b"\r\n\r\n"
"""Behind a request whose end is uncertain: completes its head and its body, or is garbage behind it."""
_TURNS = 200  # after so many, hostile requests have deleted what good ones are about
_METHODS = ("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "TRACE")
_VALUES = (
    "", "0", "1", "-1", "2", "1000", "2147483648", "9" * 30, "true", "null", "*", "a", "/", "a/", ",", ";", "=", '"',
    "%", "%zz", "\u00e9", "\U0001f333", "\x7f", "\x01", "\u2028", "\ufffe", "x" * 2000, "../..", "..", "<a>&amp;",
    "bytes=0-", "bytes=5-2", "url", "AAAAAA==", "CRC32", "SHA256", "x-amz-checksum-crc32", "COMPOSITE", "FULL_OBJECT",
    "REPLACE", "aws-chunked", "100-continue", "gzip", "chunked", "Sun, 06 Nov 1994 08:49:37 GMT",
    "Fri, 31 Dec 9999 23:59:59 GMT", "=?UTF-8?Q?=0A?=", "text/html; charset=\u00e9", "\u0663", "1e3", "+1", "0x10",
    "STANDARD", "GLACIER", f"{BUCKET}/key", f"/{OTHER}/key?versionId=null", f"{BUCKET}/", "//",
    f"http://127.0.0.1/{BUCKET}/key", "None", "\t", "  two  blanks  ",
)  # fmt: skip
_PATHS = (
    "/", "//", "///key", "/.", "/..", "/%", "/%00", "/%2F", "/%2e%2e/x", f"/{BUCKET}", f"/{BUCKET}/", f"/{BUCKET}//",
    f"/{BUCKET}/%", f"/{BUCKET}/%FF", f"/{BUCKET}/%00", f"/{BUCKET}/../x", f"/{BUCKET}/a/../../x",
    f"/{BUCKET}/{'k' * 1024}", f"/{BUCKET}/{'k' * 1025}", f"/{BUCKET}/{quote(chr(0x1F333)) * 256}", f"/{BUCKET}/%01",
    f"/{BUCKET}/%EF%BF%BE", f"/{BUCKET}/a+b", f"/{OTHER}/key", "/no-such-bucket", "/no-such-bucket/key", "/UPPER/key",
    "/a", f"/{'b' * 64}/key", "/192.168.0.1/key", "/xn--a/key", f"/{BUCKET}%2Fkey", "/%C3%A9/key", "/a..b/key",
    f"/{BUCKET}/~!*'()/;:@&=$,[]{{}}|^`", f"http://127.0.0.1/{BUCKET}/key", "*", "",
)  # fmt: skip
_DOCUMENTS = (
    b"", b"<", b"<Delete/>", b"<Delete><Object><Key></Key></Object></Delete>",
    b"<Delete><Object><Key>&#1;</Key></Object></Delete>",
    b"<Delete><Object><Key>key</Key><ETag>x</ETag></Object><Object><Key>../x</Key></Object></Delete>",
    b"<Delete><Object><Key>key</Key><VersionId>x</VersionId></Object></Delete>", b"<CompleteMultipartUpload/>",
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>\xc3\xa9</ETag></Part></CompleteMultipartUpload>",
    b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber><ETag>x</ETag><ChecksumCRC32>x</ChecksumCRC32></Part>"
    b"</CompleteMultipartUpload>",
    b"<CreateBucketConfiguration><LocationConstraint>\xf0\x9f\x8c\xb3</LocationConstraint></CreateBucketConfiguration>",
    b"<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>",
    b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>",
    b"<!DOCTYPE a [<!ENTITY b 'c'>]><Delete>&b;</Delete>", b"\xff\xfe<\x00a\x00>\x00", b"<a>" * 1000, b"x" * 70_000,
    b"\0" * 10,
)  # fmt: skip
_OTHER_HEADERS = {
    "Connection", "Content-Encoding", "Expect", "If-Range", "Origin", "Transfer-Encoding", "Upgrade", "x-amz-meta-",
    "x-amz-meta-a",
}  # fmt: skip
"""Headers that are not S3's own, or are patterns there."""
_ALGORITHMS = tuple(algorithm.header for algorithm in Algorithm)


@cache
def _names() -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Every header and every query parameter that S3's own service model has."""
    shapes: dict[str, Any] = Loader().load_service_model("s3", "service-2")["shapes"]
    members = [member for shape in shapes.values() for member in shape.get("members", {}).values()]
    headers = {member["locationName"] for member in members if member.get("location") == "header"}
    parameters = {member["locationName"] for member in members if member.get("location") == "querystring"}
    headers |= _OTHER_HEADERS
    parameters |= SUBRESOURCES | {"x-id", "x-amz-meta-a"}
    return tuple(sorted(headers)), tuple(sorted(parameters))


@dataclass(frozen=True)
class Draft:
    """A request before it is signed."""

    method: str
    path: str
    query: tuple[tuple[str, str | None], ...]
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""
    payload: str | None = None

    @property
    def target(self) -> str:
        query = "&".join(
            quote(name) if value is None else f"{quote(name)}={quote(value, safe='')}" for name, value in self.query
        )
        return f"{self.path}?{query}" if query else self.path


@dataclass(frozen=True)
class Sent:
    """A request on the wire.

    Attributes:
        wire: its bytes.
    """

    wire: bytes

    @property
    def method(self) -> str:
        return self.wire.partition(b" ")[0].decode("latin-1")


def drafts(upload_id: str) -> Iterator[Draft]:
    """A good request of every operation there is."""
    values = {"uploadId": upload_id, "partNumber": "1", "list-type": "2"}
    for (method, level, qualifiers), route in ROUTES.items():
        path = {"service": "/", "bucket": f"/{BUCKET}", "object": f"/{BUCKET}/{KEYS[0]}"}[level]
        query = tuple((name, values.get(name)) for name in sorted(qualifiers - {COPY}))
        headers = (("x-amz-copy-source", f"/{OTHER}/key"),) if COPY in qualifiers else ()
        body = _BODIES.get(route.operation, b"body" if method == "PUT" and not headers else b"")
        yield Draft(method, path, query, headers, body)


_BODIES = {
    "CreateBucket": b"",
    "DeleteObjects": b"<Delete><Object><Key>no-such-key</Key></Object><Quiet>true</Quiet></Delete>",
    "CompleteMultipartUpload": b"<CompleteMultipartUpload><Part><PartNumber>1</PartNumber>"
    b"<ETag>d41d8cd98f00b204e9800998ecf8427e</ETag></Part></CompleteMultipartUpload>",
}


def damaged(seed: int, server: Server, good: Sequence[Draft]) -> Sent:
    """Request number ``seed``: one of ``good`` with a few damages, signed or not."""
    choice = random.Random(seed)
    draft = choice.choice(good)
    if choice.random() < 0.5 and draft.path.count("/") > 1:
        draft = replace(draft, path=f"/{BUCKET}/{quote(choice.choice(KEYS))}")
    for _ in range(choice.randint(0, DAMAGES_MAX)):
        draft = choice.choice(_DAMAGES)(choice, draft)
    if draft.payload and draft.payload.startswith("STREAMING"):
        draft = _framed(choice, draft)
    return _signed(choice, server, draft)


def _other_method(choice: random.Random, draft: Draft) -> Draft:
    return replace(draft, method=choice.choice(_METHODS))


def _other_path(choice: random.Random, draft: Draft) -> Draft:
    return replace(draft, path=choice.choice(_PATHS))


def _more_query(choice: random.Random, draft: Draft) -> Draft:
    return replace(draft, query=(*draft.query, (choice.choice(_names()[1]), choice.choice((None, *_VALUES)))))


def _other_query(choice: random.Random, draft: Draft) -> Draft:
    if not draft.query:
        return _more_query(choice, draft)
    query = list(draft.query)
    at = choice.randrange(len(query))
    query[at] = (query[at][0], choice.choice(_VALUES))
    return replace(draft, query=(*query, choice.choice(query)) if choice.random() < 0.1 else tuple(query))


def _more_headers(choice: random.Random, draft: Draft) -> Draft:
    return replace(draft, headers=(*draft.headers, (choice.choice(_names()[0]), choice.choice(_VALUES))))


def _checksum(choice: random.Random, draft: Draft) -> Draft:
    return replace(draft, headers=(*draft.headers, (choice.choice(_ALGORITHMS), choice.choice(_VALUES))))


def _other_body(choice: random.Random, draft: Draft) -> Draft:
    if draft.body and choice.random() < 0.5:
        at = choice.randrange(len(draft.body))
        return replace(draft, body=draft.body[:at] + choice.randbytes(choice.randint(0, 3)) + draft.body[at + 1 :])
    return replace(draft, body=choice.choice(_DOCUMENTS))


def _other_payload(choice: random.Random, draft: Draft) -> Draft:
    modes = [mode.value for mode in PayloadMode if mode is not PayloadMode.SIGNED]
    return replace(draft, payload=choice.choice([*modes, *modes, sha256(b"other").hexdigest(), "", "SHA256"]))


_DAMAGES = (
    _other_method, _other_path, _more_query, _more_query, _other_query, _other_query, _more_headers, _more_headers,
    _more_headers, _checksum, _other_body, _other_payload,
)  # fmt: skip


def _framed(choice: random.Random, draft: Draft) -> Draft:
    """The body as aws-chunked; its chunk signatures, where there are any, are those of nobody."""
    extension = b";chunk-signature=%b" % (b"0" * 64) if "HMAC" in (draft.payload or "") else b""
    chunks = [draft.body, b""] if draft.body else [b""]
    framed = b"".join(b"%x%b\r\n%b" % (len(chunk), extension, chunk + b"\r\n" if chunk else b"") for chunk in chunks)
    trailer = choice.choice(
        ("", "x-amz-checksum-crc32:AAAAAA==\r\n", "x-amz-checksum-crc32:\u00e9\r\n", "x\r\n", "a:b\r\n" * 300)
    )
    announced = (("x-amz-trailer", choice.choice(("x-amz-checksum-crc32", "content-type"))),) if trailer else ()
    length = choice.choice((str(len(draft.body)),) * 6 + _VALUES[:6])
    headers = (("x-amz-decoded-content-length", length), *announced, *draft.headers)
    return replace(draft, headers=headers, body=framed + trailer.encode() + b"\r\n")


def _signed(choice: random.Random, server: Server, draft: Draft) -> Sent:
    """Sign and serialise, and sometimes damage the bytes afterwards."""
    unique = {name: value for name, value in draft.headers if name.lower() not in ("host", "content-length")}
    framing = {
        name: unique.pop(name)
        for name in list(unique)
        if name.lower() in ("transfer-encoding", "connection", "upgrade")
    }
    target = draft.target
    signable = target if target.startswith("/") else "/"
    how = choice.random()
    if how < 0.75:
        headers = server.signed(draft.method, signable, unique, draft.body, payload=draft.payload)
    elif how < 0.9:
        target = server.presigned(draft.method, signable)
        headers = {"Host": server.host} | unique
    else:
        headers = {"Host": server.host} | unique
    length = len(draft.body)
    unsure = bool(framing)
    if choice.random() < 0.05:
        length = choice.choice((0, 1, length + 1, length + 100_000))
        unsure = True
    wire = wire_form(draft.method, target, headers | framing, draft.body, length=length)
    if draft.headers and choice.random() < 0.05:
        wire = wire.replace(b"\r\n", f"\r\n{draft.headers[0][0]}: again\r\n".encode(), 1)
    if choice.random() < 0.1:
        unsure = True
        for _ in range(choice.randint(1, 3)):
            at = choice.randrange(len(wire))
            wire = wire[:at] + choice.randbytes(choice.randint(0, 2)) + wire[at + choice.randint(0, 2) :]
    return Sent(wire + _FILLING if unsure else wire)


def set_up(server: Server) -> list[Draft]:
    """Put the buckets, the objects and an upload in place that the good requests are about, and return those."""
    s3 = server.boto3()
    for bucket in (BUCKET, OTHER):
        s3.create_bucket(Bucket=bucket)
        for key in KEYS[:-1]:
            body = b"x" * (2 * 1024**2 if key == "large" else 10)
            s3.put_object(Bucket=bucket, Key=key, Body=body, Metadata={"a": "b"})
    upload_id = s3.create_multipart_upload(Bucket=BUCKET, Key=KEYS[0])["UploadId"]
    s3.upload_part(Bucket=BUCKET, Key=KEYS[0], UploadId=upload_id, PartNumber=1, Body=b"")
    server.close_clients()
    return list(drafts(upload_id))


def judge(server: Server, sent: Sent) -> int | None:
    """Send a request and check that the answer is one that a client can live with.

    Returns:
        The answer's status, None if the connection was closed without one.
    """
    with server.connect() as connection:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            connection.sendall(sent.wire)
        reply = read_reply(connection, sent.method)
    if reply is None:
        return None
    assert reply.status < 500 or (reply.status, reply.code) in DECLARED or sent.method == "HEAD", reply
    assert reply.status < 502, reply
    if reply.status >= 400 and sent.method != "HEAD":
        assert reply.code, reply
        assert reply.element("RequestId") == reply.headers["x-amz-request-id"]
    return reply.status


def fuzz(server: Server, seeds: Iterable[int]) -> Counter[int | None]:
    """Send requests of these numbers, and make sure between them that the server still serves.

    Returns:
        How often which status was the answer.
    """
    statuses: Counter[int | None] = Counter()
    for turn, seed in enumerate(seeds):
        if turn % _TURNS == 0:
            good = set_up(server)
        sent = damaged(seed, server, good)
        try:
            statuses[judge(server, sent)] += 1
        except Exception as error:
            raise AssertionError(f"request {seed}: {sent.wire[:3000]!r}") from error
    set_up(server)
    failures = [line for line in server.log.splitlines() if "[error" in line or "[critical" in line]
    assert not failures, failures
    return statuses
