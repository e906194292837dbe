"""Request targets: bucket, key and query, decoded once."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.target import check_bucket_name, check_key, parse_copy_source, parse_target

HOST = "127.0.0.1:9000"
TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


def refusal(target: str, host: str | None = HOST, domains: tuple[str, ...] = ()) -> str:
    with pytest.raises(S3Error) as refused:
        parse_target(target, host, domains)
    return refused.value.code


@pytest.mark.parametrize(
    ("target", "bucket", "key"),
    [
        ("/", None, None),
        ("/photos", "photos", None),
        ("/photos/", "photos", None),
        ("/photos/a", "photos", "a"),
        ("/photos/a%2Fb", "photos", "a/b"),
        ("/photos/a/b", "photos", "a/b"),
        ("/photos//x", "photos", "/x"),
        ("/photos/a/../c", "photos", "a/../c"),
        ("/photos/a/./b//", "photos", "a/./b//"),
        ("/photos/a+b", "photos", "a+b"),
        ("/photos/%61%0A%25%3F%23", "photos", "a\n%?#"),
        ("/photos/%F0%9F%8C%B3", "photos", "🌳"),
        ("/photos/e%CC%81", "photos", "e\u0301"),
        ("/photos/a..b", "photos", "a..b"),
        ("/photos/a/.//../b", "photos", "a/.//../b"),
    ],
)
def test_path_style(target: str, bucket: str | None, key: str | None) -> None:
    parsed = parse_target(target, HOST)
    assert (parsed.bucket, parsed.key, parsed.virtual_host) == (bucket, key, False)
    assert parsed.raw_path == target


@pytest.mark.parametrize(
    ("host", "target", "bucket", "key"),
    [
        ("photos.s3.example.com", "/a/b", "photos", "a/b"),
        ("PHOTOS.S3.Example.COM:9000", "/a", "photos", "a"),
        ("my.photos.s3.example.com", "/", "my.photos", None),
        ("photos.eu.s3.example.com", "/", "photos", None),
        ("s3.example.com", "/photos/a", "photos", "a"),
        ("s3.example.com.", "/photos/a", "photos", "a"),
        ("other.example.com", "/photos/a", "photos", "a"),
        ("evils3.example.com", "/photos/a", "photos", "a"),
        ("[::1]:9000", "/photos/a", "photos", "a"),
        ("photos.s3.example.com", "//a", "photos", "/a"),
    ],
)
def test_virtual_hosted_style_only_below_configured_domains(
    host: str, target: str, bucket: str, key: str | None
) -> None:
    parsed = parse_target(target, host, ("s3.example.com", "eu.s3.example.com"))
    assert (parsed.bucket, parsed.key) == (bucket, key)


def test_query_is_decoded_in_order() -> None:
    parsed = parse_target("/b-b?uploads&prefix=a%2Fb+c&marker=x%2By&x-id=&&z=1=2", HOST)
    assert list(parsed.query.items()) == [
        ("uploads", ""),
        ("prefix", "a/b c"),
        ("marker", "x+y"),
        ("x-id", ""),
        ("z", "1=2"),
    ]
    assert parsed.raw_query == "uploads&prefix=a%2Fb+c&marker=x%2By&x-id=&&z=1=2"


@pytest.mark.parametrize(
    ("target", "code"),
    [
        ("", "InvalidURI"),
        ("*", "InvalidURI"),
        ("photos/a", "InvalidURI"),
        ("/photos/%ff", "InvalidURI"),
        ("/photos/%zz", "InvalidURI"),
        ("/photos/%4", "InvalidURI"),
        ("/photos/%", "InvalidURI"),
        ("/photos/%C3", "InvalidURI"),
        ("/photos/%ED%A0%80", "InvalidURI"),
        ("/photos/%C0%80", "InvalidURI"),
        ("/photos/a%00b", "InvalidURI"),
        ("/photos/a#frag", "InvalidURI"),
        ("/photos/a b", "InvalidURI"),
        ("/photos/\u00e9", "InvalidURI"),
        ("/photos/\udcff", "InvalidURI"),
        ("/photos/a\nb", "InvalidURI"),
        ("/photos/../x", "InvalidURI"),
        ("/photos/%2e%2e/x", "InvalidURI"),
        ("/photos/a/../../x", "InvalidURI"),
        ("/photos?prefix=%ff", "InvalidURI"),
        ("/photos?prefix=%00", "InvalidURI"),
        ("/photos?a=1&a=2", "InvalidArgument"),
        ("/photos?a=1&%61=2", "InvalidArgument"),
        ("//photos/a", "InvalidBucketName"),
        ("/..%2f..%2fetc/passwd", "InvalidBucketName"),
        ("/photos%2Fa/b", "InvalidBucketName"),
        ("/Photos/a", "InvalidBucketName"),
        ("/photos/" + "k" * 1025, "KeyTooLongError"),
        ("/photos/" + "%C3%A9" * 513, "KeyTooLongError"),
    ],
)
def test_refused_targets(target: str, code: str) -> None:
    assert refusal(target) == code


def test_keys_of_1024_bytes_fit() -> None:
    assert parse_target("/photos/" + "%C3%A9" * 512, HOST).key == "é" * 512


@pytest.mark.parametrize(
    "target",
    [
        "http://127.0.0.1:9000/photos/a",
        "HTTP://127.0.0.1:9000/photos/a",
        "https://127.0.0.1:9000/photos/a",
    ],
)
def test_absolute_form_of_our_own_host(target: str) -> None:
    parsed = parse_target(target, HOST)
    assert (parsed.bucket, parsed.key, parsed.raw_path) == ("photos", "a", "/photos/a")


@pytest.mark.parametrize("target", ["http://127.0.0.1:9000", "http://127.0.0.1:9000?uploads"])
def test_absolute_form_without_path(target: str) -> None:
    assert parse_target(target, HOST).raw_path == "/"


@pytest.mark.parametrize(
    "target",
    [
        "http://evil/photos/a",
        "http://127.0.0.1:9000@evil/photos/a",
        "ftp://127.0.0.1:9000/photos/a",
        "http:///photos",
    ],
)
def test_absolute_form_of_another_host(target: str) -> None:
    assert refusal(target) == "InvalidURI"
    assert refusal(target, host=None) == "InvalidURI"


@pytest.mark.parametrize(
    "name",
    [
        "abc",
        "a-b",
        "a.b.c",
        "1bucket",
        "a" * 63,
        "xn-ok",
        "a--b",
        "s3alias",
        "192.168.5",
        "1.2.3.4.5",
    ],
)
def test_good_bucket_names(name: str) -> None:
    assert check_bucket_name(name) == name


@pytest.mark.parametrize(
    "name",
    [
        "", "a", "ab", "a" * 64, "Abc", "a_b", "-abc", "abc-", ".abc", "abc.", "a..b", "a.-b",
        "a-.b", "192.168.5.4", "xn--abc", "sthree-x", "amzn-s3-demo-x", "abc-s3alias",
        "abc--ol-s3", "abc.mrap", "abc--x-s3", "abc--table-s3",
        "ab/c", "abc\n", "\nabc", "аbс", "a b", "..", "../etc",
    ],
)  # fmt: skip
def test_bad_bucket_names(name: str) -> None:
    with pytest.raises(S3Error) as refused:
        check_bucket_name(name)
    assert refused.value.code == "InvalidBucketName"


@pytest.mark.parametrize("key", ["", "\0", "a\ud800"])
def test_text_that_is_no_key(key: str) -> None:
    with pytest.raises(S3Error):
        check_key(key)


@given(TEXT)
def test_any_percent_encoding_of_a_key_is_that_key(key: str) -> None:
    every_byte = "".join(f"%{byte:02x}" for byte in key.encode())
    for spelling in (quote(key, safe=""), quote(key, safe="/~"), every_byte):
        try:
            assert parse_target(f"/photos/{spelling}", HOST).key == key
        except S3Error:
            assert ".." in key


@given(st.text(), st.none() | st.text(), st.lists(st.text()))
def test_only_s3_errors_are_raised(target: str, host: str | None, domains: list[str]) -> None:
    for shape in (target, f"/{target}", f"/photos/{target}", f"/photos?{target}"):
        try:
            parse_target(shape, host, domains)
        except S3Error as refused:
            assert refused.status == 400


@pytest.mark.parametrize(
    ("value", "bucket", "key", "version"),
    [
        ("photos/a", "photos", "a", None),
        ("/photos/a/b", "photos", "a/b", None),
        ("photos%2Fa%20b%3Fc", "photos", "a b?c", None),
        ("photos/a+b?versionId=null", "photos", "a b", "null"),
        ("photos/a%2Bb", "photos", "a+b", None),
        ("photos/%F0%9F%8C%B3", "photos", "🌳", None),
        ("photos/🌳", "photos", "🌳", None),
        ("photos//a", "photos", "/a", None),
    ],
)
def test_copy_sources(value: str, bucket: str, key: str, version: str | None) -> None:
    source = parse_copy_source(value)
    assert (source.bucket, source.key, source.version_id) == (bucket, key, version)


@pytest.mark.parametrize(
    "value",
    [
        "",
        "/",
        "photos",
        "photos/",
        "/photos/",
        "//a",
        "photos/%zz",
        "photos/%ff",
        "photos/a?x=1",
        "photos/a?versionId=",
    ],
)
def test_values_that_name_no_object(value: str) -> None:
    with pytest.raises(S3Error) as refused:
        parse_copy_source(value)
    assert refused.value.code == "InvalidArgument"


@given(st.text())
def test_copy_sources_raise_only_s3_errors(value: str) -> None:
    for shape in (value, f"photos/{value}"):
        try:
            parse_copy_source(shape)
        except S3Error as refused:
            assert refused.status == 400
