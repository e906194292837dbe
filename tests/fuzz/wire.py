"""Fuzz targets for request targets and headers: whatever a client sends is understood in exactly one way, or refused
with an error that blames the client.
"""

from __future__ import annotations

import pickle
import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from hashlib import md5
from typing import Any
from urllib.parse import quote, unquote
from xml.etree import ElementTree

from gateway.s3 import checksums, claims, httpdate, listing, preconditions, ranges
from gateway.s3 import metadata as object_metadata
from gateway.s3.claims import Declared
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers, fold, has_control, with_hoisted
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.ranges import ByteRange
from gateway.s3.sigv4 import PayloadMode
from gateway.s3.target import CopySource, parse_copy_source, parse_target
from gateway.s3.target import Target as RequestTarget
from gateway.s3.xmltext import escape, url_encode
from mst import cbor
from mst.cid import CID, RAW
from mst.entry import Entry
from tests.fuzz.fields import DOMAINS, check_refusal, headers_of, value_of, wire_target
from tests.signing import NOW


def _lines(headers: Mapping[str, str]) -> bytes:
    return "\n".join(f"{name}:{value}" for name, value in headers.items()).encode()


# Targets of requests and copies


def _target(data: bytes) -> RequestTarget:
    target, _, host = data.partition(b"\n")
    return parse_target(target.decode("utf-8", "surrogateescape"), fold([(b"host", host)])["host"], DOMAINS)


def _spelled(target: RequestTarget) -> str:
    """The target in the one spelling that quotes everything."""
    path = f"/{target.bucket}" if target.bucket else "/"
    path += f"/{quote(target.key, safe='')}" if target.key else ""
    query = "&".join(f"{quote(name, safe='')}={quote(value, safe='')}" for name, value in target.query.items())
    return f"{path}?{query}"


def _target_check(_: bytes, found: RequestTarget) -> None:
    assert found.key is None or 1 <= len(found.key.encode()) <= 1024
    assert "\0" not in (found.key or "")
    again = parse_target(_spelled(found), "h")
    assert (again.bucket, again.key, list(again.query.items())) == (found.bucket, found.key, list(found.query.items()))


def _copy_source_check(_: bytes, found: CopySource) -> None:
    version = f"?versionId={found.version_id}" if found.version_id else ""
    assert parse_copy_source(f"{found.bucket}/{quote(found.key)}{version}") == found


def _hoisted(data: bytes) -> tuple[Headers, dict[str, str]]:
    query = _target(data).query
    return with_hoisted(Headers({"host": "h"}), query), object_metadata.overrides(query)


def _hoisted_check(_: bytes, found: tuple[Headers, dict[str, str]]) -> None:
    for headers in found:
        assert not any(has_control(name) or has_control(value) for name, value in headers.items())
    assert headers_of(_lines(found[0])) == found[0]


# Headers


def _headers_check(_: bytes, found: Headers) -> None:
    assert not any(has_control(name) or has_control(value) for name, value in found.items())
    assert headers_of(_lines(found)) == found


def _metadata_check(_: bytes, found: ObjectMetadata) -> None:
    assert cbor.decode(cbor.encode(found.stored)) == found.stored
    given_back = found.response_headers()
    assert all(value.isprintable() or not has_control(value) for value in given_back.values())
    again = ObjectMetadata.from_headers(headers_of(_lines(given_back)))
    missing = {name for name, value in found.user.items() if has_control(value)}
    assert again.user == {name: value for name, value in found.user.items() if name not in missing}
    assert given_back.get("x-amz-missing-meta", "0") == str(len(missing))
    # Tags are only counted in an answer.
    assert _besides(again, "um", "tg") == _besides(found, "um", "tg")


def _besides(metadata: ObjectMetadata, *keys: str) -> dict[str, Any]:
    return {key: value for key, value in metadata.stored.items() if key not in keys}


def _declared(data: bytes) -> Declared | None:
    headers = headers_of(data)
    claims.content_md5(headers)
    claims.requested(headers)
    return claims.declared(headers, PayloadMode.CHUNKED_UNSIGNED_TRAILER, composite=True)


def _declared_check(_: bytes, found: Declared | None) -> None:
    if found is not None and found.digest is not None:
        text = checksums.format_checksum(found.digest, found.parts)
        assert claims.parse_checksum(found.algorithm, text, composite=found.parts is not None) == found


ETAG = "5d41402abc4b2a76b9719d911017c592"
NOW_MS = int(NOW) * 1000
MODIFIED_MS = NOW_MS
ENTRY = Entry(CID.of(RAW, b"hello"), 5, MODIFIED_MS, bytes.fromhex(ETAG), None)
_READ_CONDITIONS = ("if-match", "if-none-match", "if-modified-since", "if-unmodified-since")
_SOURCE_CONDITIONS = tuple(f"x-amz-copy-source-{name}" for name in _READ_CONDITIONS)


def _outcome(decide: Callable[[], object]) -> object:
    try:
        return decide()
    except S3Error as refusal:
        check_refusal(refusal)
        return refusal.code


def _conditions(data: bytes) -> tuple[Headers, object, object, object]:
    headers = headers_of(data)
    return (
        headers,
        _outcome(lambda: preconditions.check_read(headers, ETAG, MODIFIED_MS, NOW_MS)),
        _outcome(lambda: preconditions.check_copy_source(headers, ETAG, MODIFIED_MS, NOW_MS)),
        preconditions.range_applies(headers, ETAG, MODIFIED_MS),
    )


def _conditions_check(_: bytes, found: tuple[Headers, object, object, object]) -> None:
    headers, read, copied, ranged = found
    assert read in (None, "NotModified", "PreconditionFailed")
    assert copied in (None, "PreconditionFailed")
    # Nothing but a condition decides, and each only in its own direction.
    if read == "NotModified":
        assert headers.keys() & {"if-none-match", "if-modified-since"}
    if read == "PreconditionFailed":
        assert headers.keys() & {"if-match", "if-unmodified-since"}
    assert copied is None or headers.keys() & set(_SOURCE_CONDITIONS)
    assert ranged or "if-range" in headers
    # The source's conditions are those of a read under other names.
    as_source = Headers({f"x-amz-copy-source-{name}": headers[name] for name in _READ_CONDITIONS if name in headers})
    assert (_outcome(lambda: preconditions.check_copy_source(as_source, ETAG, MODIFIED_MS, NOW_MS)) is None) == (
        read is None
    )


def _write_check_check(_: bytes, found: Any) -> None:
    if found is not None:
        again = pickle.loads(pickle.dumps(found))
        for entry in (None, ENTRY):
            assert _outcome(lambda e=entry: found(e)) == _outcome(lambda e=entry: again(e))
            assert _outcome(lambda e=entry: found(e)) in (None, "NoSuchKey", "PreconditionFailed")


# Ranges: the object's length on the first line


def _sized(data: bytes) -> tuple[int, str]:
    size, _, header = data.partition(b"\n")
    return (int(size) if re.fullmatch(rb"[0-9]{1,14}", size) else 10), value_of(header)


def _range(data: bytes) -> tuple[int, ByteRange | None]:
    size, header = _sized(data)
    return size, ranges.parse_range(header, size)


def _copy_range(data: bytes) -> tuple[int, ByteRange | None]:
    size, header = _sized(data)
    return size, ranges.parse_copy_range(header, size)


def _range_check(_: bytes, found: tuple[int, ByteRange | None]) -> None:
    size, chosen = found
    if chosen is not None:
        assert 0 <= chosen.start < chosen.stop <= size
        text = f"bytes={chosen.start}-{chosen.stop - 1}"
        assert ranges.parse_range(text, size) == ranges.parse_copy_range(text, size) == chosen


# Dates, tokens, text


def _dates(data: bytes) -> tuple[int | None, int | None]:
    text = value_of(data)
    return httpdate.parse_http(text), httpdate.parse_basic(text)


def _dates_check(_: bytes, found: tuple[int | None, int | None]) -> None:
    http, basic = found
    assert http is None or httpdate.parse_http(httpdate.format_http(http)) == http
    assert basic is None or httpdate.parse_basic(httpdate.format_basic(basic)) == basic


def _token_check(_: bytes, found: bytes) -> None:
    assert listing.decode_token(listing.encode_token(found), "continuation-token") == found


def _text_check(_: bytes, found: str) -> None:
    assert unquote(url_encode(found)) == found
    if re.fullmatch("[\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]*", found):
        assert (ElementTree.fromstring(f'<a b="{escape(found)}">{escape(found)}</a>').text or "") == found
    assert ElementTree.fromstring(S3Error("NoSuchKey", Key=found).document(resource="/", request_id="0")).tag == "Error"


_MD5 = b64encode(md5(b"", usedforsecurity=False).digest()).decode()
_DATE = httpdate.format_http(int(NOW))

WIRE = {
    "headers": wire_target(
        headers_of, _headers_check, b"Host: h\nX-Amz-Meta-A: b\nrange: bytes=0-1", b"a: \xc3\xa9\nb: \xe9\na: 2"
    ),
    "request-target": wire_target(
        _target, _target_check,
        b"/\nh", b"/photos/a%20b//c?list-type=2&prefix=%C3%A9+x\nh", b"/a/b?x=1&y\nphotos.s3.test:9000",
        b"http://h/photos/a?\nh", b"/photos/%C3%A9\nS3.TEST.",
        tokens=(b"\nphotos.s3.test", b"http://h", b"xn--", b"192.168.0.1", b"&a=1&a=2", b"/../..", b"/./"),
    ),
    "hoisted-headers": wire_target(
        _hoisted, _hoisted_check,
        b"/photos/k?x-amz-meta-a=b&X-Amz-Date=x&response-content-type=text%2Fhtml\nh",
        b"/photos/k?x-amz-checksum-crc32=AAAAAA%3D%3D\nh",
        tokens=(b"&x-amz-meta-", b"&response-expires=", b"%0A", b"%7F", b"%C2%85"),
    ),
    "copy-source": wire_target(
        lambda data: parse_copy_source(value_of(data)), _copy_source_check,
        b"photos/a", b"/photos/a%20b/c%3Fd?versionId=null", b"photos%2Fa+b", b"photos/\xc3\xa9",
        tokens=(b"?versionId=", b"http://169.254.169.254/", b"/../"),
    ),
    "metadata": wire_target(
        lambda data: ObjectMetadata.from_headers(headers_of(data)), _metadata_check,
        b"content-type: text/html; charset=utf-8\ncontent-encoding: aws-chunked, gzip\ncache-control: no-cache",
        b"x-amz-meta-a: =?UTF-8?B?w6k=?=\nx-amz-meta-b: \xc3\xa9\nx-amz-storage-class: STANDARD_IA",
        b"x-amz-meta-a: =?iso-8859-1?Q?a=E9_b?= =?utf-8?q?=C3?=\nexpires: 0\ncontent-language: de",
        b"x-amz-meta-a: =?UTF-8?Q?=3D=3Futf-8=3FQ=3Fa=3F=3D?=\nx-amz-meta-b: =?UTF-8?Q?_a=09?=",
        b"x-amz-meta-a: =?UTF-8?Q?=3D=3Futf-8=3FQ=3Fa=1F=3D?=\nx-amz-meta-b: =?UTF-8?Q?_a=09?=",
        b"x-amz-meta-a: b\nx-amz-tagging: a=b&c=d",
        tokens=(b"=?", b"?=", b"?Q?", b"?B?", b"=?utf-8?q?=0A?=", b"=?UTF-8?B??=", b"aws-chunked", b"\nx-amz-meta-"),
    ),
    "checksums": wire_target(
        _declared, _declared_check,
        b"x-amz-checksum-crc32: AAAAAA==\nx-amz-sdk-checksum-algorithm: CRC32", b"x-amz-trailer: x-amz-checksum-crc32c",
        b"x-amz-checksum-algorithm: SHA256\nx-amz-checksum-type: COMPOSITE", b"content-md5: " + _MD5.encode(),
        b"x-amz-checksum-algorithm: crc64nvme\nx-amz-checksum-type: full_object",
        tokens=(b"CRC64NVME", b"\nx-amz-checksum-sha1: ", b"-3", b"FULL_OBJECT", b"=", b"=="),
    ),
    "conditions": wire_target(
        _conditions, _conditions_check,
        *(f"{name}: {value}".encode() for name in (*_READ_CONDITIONS, *_SOURCE_CONDITIONS, "if-range")
          for value in (f'"{ETAG}"', f'W/"{ETAG}", *', _DATE)),
        f'if-match: "{ETAG}"\nif-none-match: "x"\nif-modified-since: {_DATE}\nrange: bytes=0-1'.encode(),
        tokens=(b"\nif-none-match: ", b"\nif-match: ", ETAG.encode(), b"W/", _DATE.encode()),
    ),
    "write-conditions": wire_target(
        lambda data: preconditions.write_check(headers_of(data)), _write_check_check,
        b"", b"if-none-match: *", f'if-match: "{ETAG}"'.encode(), f"if-match: {ETAG}, *".encode(),
        tokens=(b"\nif-none-match: ", b"\nif-match: ", ETAG.encode(), b"W/"),
    ),
    "range": wire_target(
        _range, _range_check, b"10\nbytes=0-4", b"10\nbytes=-4", b"10\nbytes=4-", b"10\nbytes=0-1,3-4",
        b"5497558138880\nbytes=1-",
        tokens=(b"bytes=", b"9" * 5000, b"-1"),
    ),
    "copy-range": wire_target(
        _copy_range, _range_check, b"10\nbytes=0-9", b"10\nbytes=3-3", b"5497558138880\nbytes=1-5368709120",
        tokens=(b"bytes=",),
    ),
    "dates": wire_target(
        _dates, _dates_check, _DATE.encode(), b"Sunday, 06-Nov-94 08:49:37 GMT", b"Sun Nov  6 08:49:37 1994",
        b"20260921T141320Z",
        tokens=(b"GMT", b"UTC", b"+0000", b"60", b"31", b"Feb", b"0000", b"9999", b"\xd9\xa3"),
    ),
    "continuation-token": wire_target(
        lambda data: listing.decode_token(value_of(data), "continuation-token"), _token_check,
        listing.encode_token(b"").encode(), listing.encode_token("a/é\0".encode()).encode(),
        tokens=(b"=", b"-_", b"+/"),
    ),
    "text": wire_target(
        lambda data: data.decode("utf-8", "replace"), _text_check,
        b"a<b>&amp;\"'\r\n\t", "é\N{DECIDUOUS TREE}\x01\ufffe".encode(),
    ),
}  # fmt: skip
