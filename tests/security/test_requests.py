"""Targets and headers: public advisories about S3 servers, the id in the test's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest

from gateway.s3.chunked import decoded_length
from gateway.s3.claims import declared
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers, fold, with_hoisted
from gateway.s3.metadata import ObjectMetadata, overrides
from gateway.s3.preconditions import check_read
from gateway.s3.ranges import parse_range
from gateway.s3.sigv4 import Authenticator, PayloadMode
from gateway.s3.target import parse_copy_source, parse_target


def refusal(act: Callable[[], Any]) -> S3Error:
    with pytest.raises(S3Error) as refused:
        act()
    return refused.value


@pytest.mark.parametrize(
    "target",
    [
        "/photos/../other/key",
        "/photos/%2e%2e/other/key",
        "/photos/a/..%2f..%2f..%2fetc/passwd",
        "/..%2f..%2fetc/passwd",
        "/%2e%2e/%2e%2e/etc",
        "/photos%2f..%2fother/key",
        "/photos%00/key",
        "/photos/%00",
        "/photos\\..\\other/key",
    ],
)
def test_cve_2026_54917_cross_bucket_traversal(target: str) -> None:
    assert refusal(lambda: parse_target(target, "h")).status == 400


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("/photos/%ff", "/photos/%25ff"),
        ("/photos/a#b", "/photos/a"),
        ("/photos/a?", "/photos/a%3F"),
        ("/photos/a%2", "/photos/a%252"),
        ("/photos/a", "/photos/a/"),
    ],
)
def test_cve_2026_42882_one_spelling_one_resource(one: str, other: str) -> None:
    def resource(target: str) -> object:
        try:
            parsed = parse_target(target, "h")
        except S3Error:
            return None
        return parsed.bucket, parsed.key

    assert resource(one) != resource(other)


@pytest.mark.parametrize(
    "host",
    [
        "photos.s3.test.evil.test",
        "evils3.test",
        "s3.test@evil",
        "photos.s3.test:80:80",
        "..s3.test",
        "a_b.s3.test",
        "[::1]",
    ],
)
def test_host_header_names_no_bucket_outside_its_domain(host: str) -> None:
    try:
        parsed = parse_target("/bucket/key", host, ("s3.test",))
    except S3Error as refused:
        assert refused.code == "InvalidBucketName"
        return
    assert (parsed.bucket, parsed.key) == ("bucket", "key")


@pytest.mark.parametrize(
    "value",
    ["", "/", "//", "?", "?versionId=x", "a", "a/", "%", "\0", "a/b?versionId", "//etc/passwd"],
)
def test_cve_2024_47866_empty_or_odd_copy_source(value: str) -> None:
    assert refusal(lambda: parse_copy_source(value)).status == 400


@pytest.mark.parametrize("target", ["", "/", "?", "*", "/?", "//", "///", "/ ", "/%", "/?%", "?a=b"])
def test_cve_2022_3854_empty_and_odd_urls(target: str) -> None:
    try:
        parsed = parse_target(target, "h")
    except S3Error as refused:
        assert refused.status == 400
        return
    assert (parsed.bucket, parsed.key, parsed.query) == (None, None, {})


@pytest.mark.parametrize(
    "value", ["AWS", "AWS ", "AWS :", "AWS4-HMAC-SHA256", "AWS4-HMAC-SHA256 ,,,", ",", "=", "\x80"]
)
def test_cve_2019_10222_odd_authorization_headers(value: str) -> None:
    headers = Headers({"host": "h", "authorization": value})
    authenticator = Authenticator({}.get, "us-east-1")
    error = refusal(lambda: authenticator.verify("GET", parse_target("/", "h"), headers, 0))
    assert error.status in (400, 403)


INJECTIONS = ["a\r\nSet-Cookie: x", "a\nb", "a\rb", "a\0b", "\x1b[31m", "a\x7f"]


@pytest.mark.parametrize("value", INJECTIONS)
@pytest.mark.parametrize("name", ["x-amz-meta-a", "content-type", "content-disposition", "cache-control", "expires"])
def test_cve_2021_3524_header_injection_through_stored_headers(name: str, value: str) -> None:
    assert refusal(lambda: fold([(name.encode(), value.encode())])).status == 400
    hidden = "=?UTF-8?Q?" + "".join(f"={byte:02X}" for byte in value.encode()) + "?="
    sent_back = ObjectMetadata.from_headers(Headers({name: hidden})).response_headers()
    assert value not in sent_back.values()
    assert sent_back.keys() <= {"Content-Type", "x-amz-missing-meta", name.title()}


@pytest.mark.parametrize("value", INJECTIONS)
def test_cve_2020_10753_header_injection_through_the_query(value: str) -> None:
    assert refusal(lambda: overrides({"response-content-type": value})).status == 400
    assert refusal(lambda: with_hoisted(Headers({}), {"x-amz-meta-a": value})).status == 400
    assert refusal(lambda: with_hoisted(Headers({}), {f"x-amz-meta-{value}": "a"})).status == 400


def test_cve_2026_34204_clients_cannot_set_internal_metadata() -> None:
    hostile = dict.fromkeys(
        (
            "ck",
            "ckt",
            "pk",
            "ps",
            "pn",
            "um",
            "etag",
            "x-ms3t-cid",
            "x-ms3t-root",
            "x-amz-meta",
            "x-amz-metack",
            "x-amz-replication-status",
            "x-amz-checksum-type",
            "last-modified",
            "content-range",
        ),
        "forged",
    )
    assert ObjectMetadata.from_headers(Headers(hostile)).stored == {}
    user = {f"x-amz-meta-{name}": "forged" for name in ("ck", "ps", "x-amz-meta-ck")}
    assert ObjectMetadata.from_headers(Headers(user)).stored == {
        "um": {"ck": "forged", "ps": "forged", "x-amz-meta-ck": "forged"}
    }


HOSTILE_VALUES = [
    "",
    " ",
    ",",
    "=",
    "-",
    "\u00ff" * 100,
    "9" * 10_000,
    "bytes=" + "1-2," * 1000,
    '"' * 1000,
    "W/" * 1000,
    "%" * 100,
    "=?" * 500,
    "a" * 8000,
]


@pytest.mark.parametrize("value", HOSTILE_VALUES, ids=lambda v: v[:9])
def test_cve_2018_7262_malformed_headers_are_client_errors(value: str) -> None:
    names = [
        "range",
        "if-match",
        "if-none-match",
        "if-modified-since",
        "if-unmodified-since",
        "content-type",
        "content-encoding",
        "x-amz-meta-a",
        "x-amz-storage-class",
        "x-amz-checksum-crc32",
        "x-amz-trailer",
        "x-amz-decoded-content-length",
        "content-md5",
    ]
    for name in names:
        headers = Headers({name: value})
        for read in (
            lambda h=headers: parse_range(h.get("range"), 10),
            lambda h=headers: check_read(h, "0" * 32, 0, 0),
            lambda h=headers: ObjectMetadata.from_headers(h),
            lambda h=headers: declared(h, PayloadMode.CHUNKED_UNSIGNED_TRAILER),
            lambda h=headers: decoded_length(h),
        ):
            try:
                read()
            except S3Error as refused:
                assert refused.status < 500


def test_awkward_percent_signs_do_not_reach_the_key_undecoded() -> None:
    for text in ("%", "%41", "100%", "%2525"):
        assert parse_target(f"/photos/{quote(text, safe='')}", "h").key == text
