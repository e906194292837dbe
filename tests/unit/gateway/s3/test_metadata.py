"""Stored headers: in, kept, and out again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.checksums import Algorithm
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.metadata import ObjectMetadata, overrides
from gateway.s3.unsupported import refuse_unsupported
from mst import cbor

ALL = {
    "content-type": "text/plain; charset=utf-8",
    "cache-control": "no-store",
    "content-disposition": 'attachment; filename="é.txt"',
    "content-encoding": "gzip",
    "content-language": "de",
    "expires": "whenever",
    "x-amz-storage-class": "STANDARD_IA",
    "x-amz-meta-colour": "red",
    "x-amz-meta-": "",
}


def metadata(**headers: str) -> ObjectMetadata:
    return ObjectMetadata.from_headers(Headers({name.replace("_", "-"): value for name, value in headers.items()}))


def refusal(headers: dict[str, str]) -> S3Error:
    with pytest.raises(S3Error) as refused:
        ObjectMetadata.from_headers(Headers(headers))
    return refused.value


def test_everything_comes_back() -> None:
    headers = {name: value for name, value in ALL.items() if value}
    meta = ObjectMetadata.from_headers(Headers(headers | {"host": "h", "x-amz-date": "d", "x-amz-acl": "private"}))
    assert {name.lower(): value for name, value in meta.response_headers().items()} == headers
    assert meta.stored == {
        "ct": "text/plain; charset=utf-8",
        "cc": "no-store",
        "cd": 'attachment; filename="é.txt"',
        "ce": "gzip",
        "cl": "de",
        "ex": "whenever",
        "sc": "STANDARD_IA",
        "um": {"colour": "red"},
    }
    assert ObjectMetadata(cbor.decode(cbor.encode(meta.stored))) == meta


def test_defaults_are_not_stored() -> None:
    assert metadata(content_type="binary/octet-stream", x_amz_storage_class="STANDARD", expires="").stored == {}
    assert metadata().response_headers() == {"Content-Type": "binary/octet-stream"}
    assert metadata().storage_class == "STANDARD"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("aws-chunked", None),
        ("aws-chunked,gzip", "gzip"),
        ("gzip, aws-chunked", "gzip"),
        ("AWS-Chunked , gzip, br", "gzip, br"),
        ("gzip ,  br;q=1 ,aws-chunked, zstd", "gzip ,  br;q=1 , zstd"),
        ("not-aws-chunked, aws-chunked", "not-aws-chunked"),
        ("gzip, br", "gzip, br"),
        ("aws-chunked,", None),
    ],
)
def test_aws_chunked_is_taken_out_of_content_encoding(sent: str, kept: str | None) -> None:
    assert metadata(content_encoding=sent).stored.get("ce") == kept


@pytest.mark.parametrize("name", ["FLOPPY", "standard", "", "EXPRESS_ONEZONE", "OUTPOSTS", "SNOW"])
def test_unknown_storage_class(name: str) -> None:
    assert refusal({"x-amz-storage-class": name}).code == "InvalidStorageClass"


def test_user_metadata_of_2048_bytes_fits() -> None:
    assert ObjectMetadata.from_headers(Headers({"x-amz-meta-ab": "v" * 2046})).user == {"ab": "v" * 2046}
    error = refusal({"x-amz-meta-ab": "v" * 2047})
    assert (error.code, error.fields) == (
        "MetadataTooLarge",
        {"Size": 2049, "MaxSizeAllowed": 2048},
    )
    assert refusal({"x-amz-meta-ab": "é" * 1024}).code == "MetadataTooLarge"
    assert refusal({f"x-amz-meta-{n}": "v" * 500 for n in range(5)}).code == "MetadataTooLarge"


def test_metadata_without_a_name() -> None:
    assert refusal({"x-amz-meta-": "x"}).code == "InvalidArgument"


@pytest.mark.parametrize("value", ["=?UTF-8?B?DQpTZXQtQ29va2llOiB4?=", "=?utf-8?q?a=00b?="])
def test_metadata_that_cannot_be_sent_back_is_counted(value: str) -> None:
    headers = ObjectMetadata.from_headers(
        Headers({"x-amz-meta-a": value, "x-amz-meta-b": "b", "x-amz-meta-c": value})
    ).response_headers()
    assert headers == {
        "Content-Type": "binary/octet-stream",
        "x-amz-meta-b": "b",
        "x-amz-missing-meta": "2",
    }


def test_website_redirect() -> None:
    name = "x-amz-website-redirect-location"
    for location in ("/x", "http://host/", "https://host/" + "x" * 2035):
        assert ObjectMetadata.from_headers(Headers({name: location})).response_headers()[name] == location
    for location in ("x", "ftp://host/", "https://host/" + "x" * 2036):
        assert refusal({name: location}).code == "InvalidRedirectLocation"
    source = ObjectMetadata({"wr": "/x", "cc": "no-cache"})
    copy = source.copied(ObjectMetadata(), replaces=False, replaces_tags=False)
    assert copy.stored == {"cc": "no-cache"}


@given(st.dictionaries(st.sampled_from(list(ALL)), st.text(st.characters(exclude_categories=["Cs"]))))
def test_only_s3_errors_are_raised(headers: dict[str, str]) -> None:
    try:
        meta = ObjectMetadata.from_headers(Headers(headers))
    except S3Error as refused:
        assert refused.status == 400
        return
    assert ObjectMetadata(cbor.decode(cbor.encode(meta.stored))).response_headers() == meta.response_headers()


def test_overrides() -> None:
    query = {
        "response-content-type": "a/b",
        "response-content-disposition": "x; filename=é",
        "response-expires": "",
        "versionId": "null",
    }
    assert overrides(query) == {
        "Content-Type": "a/b",
        "Content-Disposition": "x; filename=é",
        "Expires": "",
    }
    with pytest.raises(S3Error) as refused:
        overrides({"response-content-type": "a\r\nSet-Cookie: x"})
    assert refused.value.code == "InvalidArgument"


def test_checksums_are_kept() -> None:
    meta = metadata().with_checksum(Algorithm.CRC32, bytes(4))
    assert meta.stored == {"ck": {"CRC32": bytes(4)}}
    assert meta.checksum_headers() == {
        "x-amz-checksum-crc32": "AAAAAA==",
        "x-amz-checksum-type": "FULL_OBJECT",
    }
    assert meta.with_checksum(None, b"").stored == {}
    assert metadata().checksum_headers() == {}


def test_composite_checksums_are_kept_with_those_of_the_parts() -> None:
    of_parts = [b"1" * 4, b"2" * 4]
    meta = metadata().with_parts([1, 2], [5, 3]).with_checksum(Algorithm.CRC32, bytes(4), of_parts)
    assert meta.stored == {
        "ck": {"CRC32": bytes(4)},
        "ckt": "COMPOSITE",
        "pk": b"11112222",
        "ps": [5, 3],
    }
    assert meta.checksums == {Algorithm.CRC32: "AAAAAA==-2"}
    assert (meta.digests, meta.part_checksums) == ({Algorithm.CRC32: bytes(4)}, of_parts)
    kind = {"x-amz-checksum-type": "COMPOSITE"}
    assert meta.checksum_headers() == {"x-amz-checksum-crc32": "AAAAAA==-2"} | kind
    assert meta.checksum_headers(1) == {"x-amz-checksum-crc32": "MjIyMg=="} | kind
    again = meta.with_checksum(Algorithm.SHA1, bytes(20))
    assert again.stored == {"ck": {"SHA1": bytes(20)}, "ps": [5, 3]}
    assert again.part_checksums == []


def test_parts_have_a_second_checksum_beside_that_of_a_composite_one() -> None:
    beside = [b"3" * 8, b"4" * 8]
    meta = metadata().with_parts([1, 2], [5, 3]).with_checksum(Algorithm.SHA1, bytes(20), [bytes(20)] * 2, beside)
    assert (meta.stored["pc"], meta.part_checksums_beside) == (b"3333333344444444", beside)
    assert meta.checksum_headers().keys() == {"x-amz-checksum-sha1", "x-amz-checksum-type"}
    assert meta.checksum_headers(1) == {
        "x-amz-checksum-sha1": "AAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "x-amz-checksum-crc64nvme": "NDQ0NDQ0NDQ=",
        "x-amz-checksum-type": "COMPOSITE",
    }
    assert "pc" not in meta.with_checksum(Algorithm.SHA1, bytes(20)).stored


def test_parts_are_kept_with_their_numbers() -> None:
    assert metadata().parts == []
    assert metadata().with_parts([1, 2], [5, 3]).parts == [(1, 5), (2, 3)]
    sparse = metadata().with_parts([2, 7], [5, 3])
    assert sparse.stored == {"ps": [5, 3], "pn": [2, 7]}
    assert sparse.parts == [(2, 5), (7, 3)]
    assert sparse.with_parts([], []).stored == {}


def test_copies_keep_what_belongs_to_the_bytes() -> None:
    source = metadata(content_type="a/b", x_amz_storage_class="GLACIER", x_amz_meta_a="old", x_amz_tagging="t=old")
    source = source.with_checksum(Algorithm.CRC32, bytes(4), [bytes(4)]).with_parts([1], [3])
    asked = metadata(content_type="c/d", x_amz_storage_class="ONEZONE_IA", x_amz_tagging="t=new")
    of_bytes = {"ck": {"CRC32": bytes(4)}, "ckt": "COMPOSITE", "pk": bytes(4), "ps": [3]}
    replaced, kept = {"ct": "c/d"}, {"ct": "a/b", "um": {"a": "old"}}
    for replaces, rest in ((True, replaced), (False, kept)):
        for replaces_tags, tag in ((True, "new"), (False, "old")):
            copy = source.copied(asked, replaces=replaces, replaces_tags=replaces_tags)
            assert copy.stored == of_bytes | rest | {"sc": "ONEZONE_IA", "tg": {"t": tag}}
    unasked = source.copied(metadata(), replaces=False, replaces_tags=True)
    assert unasked.stored == of_bytes | kept


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("x-amz-server-side-encryption", "AES256"),
        ("x-amz-server-side-encryption-customer-key", "k"),
        ("x-amz-copy-source-server-side-encryption-customer-key", "k"),
        ("x-amz-object-lock-mode", "COMPLIANCE"),
        ("x-amz-grant-read", "id=x"),
        ("x-amz-acl", "public-read"),
        ("x-amz-write-offset-bytes", "3"),
        ("x-amz-if-match-size", "3"),
        ("x-amz-bucket-namespace", "account-regional"),
        ("x-amz-object-ownership", "ObjectWriter"),
    ],
)
def test_what_would_silently_not_happen_is_refused(name: str, value: str) -> None:
    with pytest.raises(S3Error) as refused:
        refuse_unsupported(Headers({"host": "h", name: value}))
    assert (refused.value.status, refused.value.fields) == (501, {"Header": name})


def test_harmless_headers_pass() -> None:
    refuse_unsupported(
        Headers(
            {
                "x-amz-acl": "private",
                "x-amz-tagging": "a=b",
                "x-amz-meta-a": "b",
                "x-amz-request-payer": "requester",
                "x-amz-website-redirect-location": "/x",
            }
        )
    )
