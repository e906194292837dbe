"""What clients claim of their bytes: headers, trailers and documents against the rules."""

from __future__ import annotations

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3 import claims
from gateway.s3.checksums import Algorithm, ChecksumType, format_checksum
from gateway.s3.claims import Declared
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.sigv4 import PayloadMode

PLAIN = PayloadMode.SIGNED
TRAILER = PayloadMode.CHUNKED_UNSIGNED_TRAILER


def refusal(headers: dict[str, str], payload: PayloadMode = PLAIN) -> str:
    with pytest.raises(S3Error) as refused:
        claims.declared(Headers(headers), payload)
    return refused.value.code


@pytest.mark.parametrize("algorithm", Algorithm)
def test_in_a_header(algorithm: Algorithm) -> None:
    digest = bytes(algorithm.digest_bytes)
    text = format_checksum(digest)
    claim = claims.declared(Headers({algorithm.header: text, "x-amz-sdk-checksum-algorithm": algorithm.value}), PLAIN)
    assert claim == Declared(algorithm, digest)
    assert claim.settle({}) is claim
    claim.check(digest)
    with pytest.raises(S3Error) as refused:
        claim.check(b"\1" * algorithm.digest_bytes)
    assert refused.value.code == "BadDigest"
    assert algorithm.value in refused.value.message


@pytest.mark.parametrize("algorithm", Algorithm)
def test_in_a_trailer(algorithm: Algorithm) -> None:
    digest = bytes(algorithm.digest_bytes)
    claim = claims.declared(Headers({"x-amz-trailer": algorithm.header.title()}), TRAILER)
    assert claim == Declared(algorithm, None)
    assert claim.settle({algorithm.header: format_checksum(digest)}).digest == digest
    with pytest.raises(S3Error) as refused:
        claim.settle({})
    assert refused.value.code == "MalformedTrailerError"
    with pytest.raises(S3Error) as refused:
        claim.check(digest)
    assert refused.value.code == "BadDigest"


def test_none_at_all() -> None:
    headers = Headers(
        {
            "x-amz-checksum-mode": "ENABLED",
            "x-amz-checksum-algorithm": "SHA1",
            "x-amz-checksum-type": "COMPOSITE",
        }
    )
    assert claims.declared(headers, PLAIN) is None


@pytest.mark.parametrize(
    ("headers", "payload", "code"),
    [
        ({"x-amz-checksum-crc32": ""}, PLAIN, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAA"}, PLAIN, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAA=="[:-1]}, PLAIN, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAB=="}, PLAIN, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAA AA=="}, PLAIN, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAA==-2"}, PLAIN, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "é"}, PLAIN, "InvalidRequest"),
        ({"x-amz-checksum-md4": "AAAAAA=="}, PLAIN, "InvalidRequest"),
        ({"x-amz-checksum-crc32": "AAAAAA==", "x-amz-checksum-sha1": "x"}, PLAIN, "InvalidRequest"),
        (
            {"x-amz-checksum-crc32": "AAAAAA==", "x-amz-trailer": "x-amz-checksum-crc32"},
            TRAILER,
            "InvalidRequest",
        ),
        ({"x-amz-trailer": "x-amz-checksum-crc32,x-amz-checksum-sha1"}, TRAILER, "InvalidRequest"),
        ({"x-amz-trailer": "x-amz-meta-a"}, TRAILER, "InvalidRequest"),
        ({"x-amz-trailer": "x-amz-checksum-crc32"}, PLAIN, "MalformedTrailerError"),
        (
            {"x-amz-trailer": "x-amz-checksum-crc32"},
            PayloadMode.CHUNKED_SIGNED,
            "MalformedTrailerError",
        ),
        ({"x-amz-sdk-checksum-algorithm": "CRC32"}, PLAIN, "InvalidRequest"),
        (
            {"x-amz-sdk-checksum-algorithm": "MD4", "x-amz-checksum-crc32": "AAAAAA=="},
            PLAIN,
            "InvalidRequest",
        ),
        (
            {"x-amz-sdk-checksum-algorithm": "SHA1", "x-amz-checksum-crc32": "AAAAAA=="},
            PLAIN,
            "InvalidRequest",
        ),
    ],
)
def test_bad_declarations(headers: dict[str, str], payload: PayloadMode, code: str) -> None:
    assert refusal(headers, payload) == code


def test_composite_values_only_where_asked_for() -> None:
    claim = claims.declared(Headers({"x-amz-checksum-crc32": "AAAAAA==-12"}), PLAIN, composite=True)
    assert claim == Declared(Algorithm.CRC32, bytes(4), 12)
    for text in ("AAAAAA==-", "AAAAAA==-0", "AAAAAA==-x", "AAAAAA==-123456", "AAAAAA==-1-2", "-1"):
        with pytest.raises(S3Error):
            claims.parse_checksum(Algorithm.CRC32, text, composite=True)


@pytest.mark.parametrize(
    ("algorithm", "kind", "result"),
    [
        ("CRC32", None, (Algorithm.CRC32, ChecksumType.COMPOSITE)),
        ("crc32c", "full_object", (Algorithm.CRC32C, ChecksumType.FULL_OBJECT)),
        ("CRC64NVME", None, (Algorithm.CRC64NVME, ChecksumType.FULL_OBJECT)),
        ("SHA256", None, (Algorithm.SHA256, ChecksumType.COMPOSITE)),
        ("SHA1", "COMPOSITE", (Algorithm.SHA1, ChecksumType.COMPOSITE)),
        (None, None, None),
        ("CRC64NVME", "COMPOSITE", "InvalidRequest"),
        ("SHA256", "FULL_OBJECT", "InvalidRequest"),
        ("SHA1", "HALF", "InvalidRequest"),
        ("MD4", None, "InvalidRequest"),
        (None, "COMPOSITE", "InvalidRequest"),
    ],
)
def test_what_an_upload_can_ask_for(algorithm: str | None, kind: str | None, result: object) -> None:
    pairs = {"x-amz-checksum-algorithm": algorithm, "x-amz-checksum-type": kind}
    headers = Headers({name: value for name, value in pairs.items() if value is not None})
    if isinstance(result, str):
        with pytest.raises(S3Error) as refused:
            claims.requested(headers)
        assert refused.value.code == result
    else:
        assert claims.requested(headers) == result


SHA1_CLAIM = Declared(Algorithm.SHA1, bytes(20))


@pytest.mark.parametrize(
    ("claim", "algorithm", "kind", "allowed"),
    [
        (SHA1_CLAIM, Algorithm.SHA1, ChecksumType.COMPOSITE, True),
        (SHA1_CLAIM, Algorithm.SHA256, ChecksumType.COMPOSITE, False),
        (SHA1_CLAIM, Algorithm.CRC32, ChecksumType.FULL_OBJECT, False),
        (None, Algorithm.SHA1, ChecksumType.COMPOSITE, False),
        (None, Algorithm.CRC32, ChecksumType.FULL_OBJECT, True),
    ],
)
def test_which_checksum_a_part_must_have(
    claim: Declared | None, algorithm: Algorithm, kind: ChecksumType, allowed: bool
) -> None:
    if allowed:
        claims.check_part(claim, algorithm, kind)
        return
    with pytest.raises(S3Error, match="Checksum Type mismatch occurred") as refused:
        claims.check_part(claim, algorithm, kind)
    assert refused.value.code == "InvalidRequest"


@pytest.mark.parametrize(
    ("claim", "kind", "code"),
    [
        (Declared(Algorithm.CRC32, b"good"), ChecksumType.COMPOSITE, None),
        (Declared(Algorithm.CRC32, b"good", 3), ChecksumType.COMPOSITE, None),
        (Declared(Algorithm.CRC32, b"good", 2), ChecksumType.COMPOSITE, "BadDigest"),
        (Declared(Algorithm.CRC32, b"evil", 3), ChecksumType.COMPOSITE, "BadDigest"),
        (Declared(Algorithm.CRC32, b"good"), ChecksumType.FULL_OBJECT, None),
        (Declared(Algorithm.CRC32, b"evil"), ChecksumType.FULL_OBJECT, "BadDigest"),
        (Declared(Algorithm.CRC32, b"good", 3), ChecksumType.FULL_OBJECT, "InvalidRequest"),
        (Declared(Algorithm.CRC32C, b"good"), ChecksumType.FULL_OBJECT, "InvalidRequest"),
    ],
)
def test_what_a_client_says_of_a_multipart_object(claim: Declared, kind: ChecksumType, code: str | None) -> None:
    def check() -> None:
        claims.check_whole(claim, Algorithm.CRC32, kind, b"good", 3)

    if code is None:
        check()
        return
    with pytest.raises(S3Error) as refused:
        check()
    assert refused.value.code == code


def test_content_md5() -> None:
    md5 = hashlib.md5(b"abc").digest()
    assert claims.content_md5(Headers({})) is None
    assert claims.content_md5(Headers({"content-md5": base64.b64encode(md5).decode()})) == md5
    claims.check_md5(None, md5)
    claims.check_md5(md5, md5)
    with pytest.raises(S3Error) as refused:
        claims.check_md5(md5, bytes(16))
    assert refused.value.code == "BadDigest"


@pytest.mark.parametrize("text", ["", "abc", hashlib.md5(b"").hexdigest(), "AAAA", "é", "=" * 24])
def test_bad_content_md5(text: str) -> None:
    with pytest.raises(S3Error) as refused:
        claims.content_md5(Headers({"content-md5": text}))
    assert refused.value.code == "InvalidDigest"


@given(
    st.dictionaries(
        st.sampled_from(
            [a.header for a in Algorithm]
            + [
                "x-amz-trailer",
                "x-amz-sdk-checksum-algorithm",
                "content-md5",
                "x-amz-checksum-algorithm",
                "x-amz-checksum-type",
            ]
        ),
        st.text() | st.sampled_from(["AAAAAA==", "CRC32", "x-amz-checksum-crc32"]),
    )
)
def test_only_s3_errors_are_raised(headers: dict[str, str]) -> None:
    for read in (
        lambda h: claims.declared(h, TRAILER, composite=True),
        claims.requested,
        claims.content_md5,
    ):
        try:
            read(Headers(headers))
        except S3Error as refused:
            assert refused.status == 400
