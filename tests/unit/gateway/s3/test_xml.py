"""Request documents: what is read, what is refused, and at what cost."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from xml.sax.saxutils import escape

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3 import xml
from gateway.s3.checksums import Algorithm
from gateway.s3.claims import Declared
from gateway.s3.errors import S3Error
from gateway.s3.xml import parse_complete, parse_create_bucket, parse_delete, parse_versioning

NS = 'xmlns="http://s3.amazonaws.com/doc/2006-03-01/"'
PARSERS: list[Callable[[bytes], Any]] = [parse_create_bucket, parse_delete, parse_complete, parse_versioning]
KEYS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"),
    min_size=1,
    max_size=30,
)


def refusal(parse: Callable[[bytes], Any], document: str | bytes) -> str:
    with pytest.raises(S3Error) as refused:
        parse(document.encode() if isinstance(document, str) else document)
    return refused.value.code


def delete(*objects: str, more: str = "") -> str:
    inner = "".join(f"<Object>{text}</Object>" for text in objects)
    return f"<Delete {NS}>{inner}{more}</Delete>"


def complete(*parts: str) -> str:
    inner = "".join(f"<Part>{part}</Part>" for part in parts)
    return f"<CompleteMultipartUpload {NS}>{inner}</CompleteMultipartUpload>"


REGION = "<LocationConstraint>{}</LocationConstraint>"
CREATE = "<CreateBucketConfiguration{}>{}</CreateBucketConfiguration>"


@pytest.mark.parametrize(
    ("document", "region"),
    [
        (CREATE.format(f" {NS}", REGION.format("eu-west-1")), "eu-west-1"),
        (CREATE.format("", REGION.format(" eu ")), "eu"),
        ("\ufeff" + CREATE.format("", "<LocationConstraint/>"), None),
        (
            f'<?xml version="1.0" encoding="UTF-8"?>\n<s3:CreateBucketConfiguration xmlns:s3="{xml.NAMESPACE}"/>',
            None,
        ),
    ],
)
def test_create_bucket(document: str, region: str | None) -> None:
    assert parse_create_bucket(document.encode()) == (region, ())


TAG = "<Tag><Key>{}</Key><Value>{}</Value></Tag>"
TAGGED = CREATE.format("", REGION.format("eu-west-1") + "<Tags>{}</Tags>")


def test_create_bucket_with_tags() -> None:
    assert parse_create_bucket(TAGGED.format("").encode()) == ("eu-west-1", ())
    document = TAGGED.format(TAG.format("a", " 1 ") + TAG.format("a&lt;", ""))
    assert parse_create_bucket(document.encode()) == ("eu-west-1", (("a", " 1 "), ("a<", "")))


@pytest.mark.parametrize(
    "inner",
    ["<Tag><Key>a</Key></Tag>", "<Tag><Value>a</Value></Tag>", "<Tag/>", "text", "<TagSet/>", "</Tags><Tags>"],
)
def test_create_bucket_with_tags_that_are_none(inner: str) -> None:
    assert refusal(parse_create_bucket, TAGGED.format(inner)) == "MalformedXML"


@pytest.mark.parametrize("name", ["Bucket", "Location"])
def test_create_bucket_with_what_is_not_there(name: str) -> None:
    assert (
        refusal(parse_create_bucket, f"<CreateBucketConfiguration><{name}/></CreateBucketConfiguration>")
        == "NotImplemented"
    )


def test_delete() -> None:
    request = parse_delete(
        delete(
            "<Key> a &amp; &lt;b&gt;&#13;\n</Key>",
            '<Key>b</Key><VersionId>null</VersionId><ETag>"x"</ETag>',
            "<VersionId></VersionId><Key></Key>",
            more="<Quiet>true</Quiet>",
        ).encode()
    )
    assert request.quiet is True
    assert request.objects == ((" a & <b>\r\n", None, None), ("b", "null", '"x"'), ("", None, None))


@given(st.lists(KEYS, min_size=1, max_size=20))
def test_keys_survive(keys: list[str]) -> None:
    document = delete(*(f"<Key>{escape(key)}</Key>" for key in keys)).encode()
    assert [item.key for item in parse_delete(document).objects] == keys


@pytest.mark.parametrize(
    ("document", "code"),
    [
        (delete(), "MalformedXML"),
        (delete(*["<Key>a</Key>"] * 1001), "MalformedXML"),
        (delete("<VersionId>a</VersionId>"), "MalformedXML"),
        (delete("<Key>a</Key><Key>b</Key>"), "MalformedXML"),
        (delete("<Key>a<b/></Key>"), "MalformedXML"),
        (delete("<Key>a</Key>x"), "MalformedXML"),
        (delete("<Key>a</Key><Acl>x</Acl>"), "MalformedXML"),
        (delete("<Key>a</Key>", more="<Quiet>perhaps</Quiet>"), "MalformedXML"),
        (delete("<Key>a</Key>", more="<Quiet>true</Quiet><Quiet>true</Quiet>"), "MalformedXML"),
        (delete("<Key>a</Key>", more="<Loud>true</Loud>"), "MalformedXML"),
        (delete("<Key>a</Key><Size>1</Size>"), "NotImplemented"),
        (delete("<Key>a</Key><LastModifiedTime>1</LastModifiedTime>"), "NotImplemented"),
        (delete("<Key>a</Key>").replace("Delete", "Remove"), "MalformedXML"),
    ],
)
def test_refused_deletes(document: str, code: str) -> None:
    assert refusal(parse_delete, document) == code


def test_a_thousand_keys_of_1024_bytes_fit() -> None:
    document = delete(*[f"<Key>{'&#x1F333;' * 256}</Key>"] * 1000)
    assert len(parse_delete(document.encode()).objects) == 1000


def test_complete() -> None:
    parts = parse_complete(
        complete(
            '<PartNumber>1</PartNumber><ETag>"a"</ETag>',
            "<ETag>&quot;b&quot;</ETag><PartNumber>3</PartNumber><ChecksumCRC32>AAAAAA==</ChecksumCRC32>",
            "<ETag>c</ETag><PartNumber> 10000 </PartNumber>",
        ).encode()
    )
    assert parts == (
        (1, "a", None),
        (3, "b", Declared(Algorithm.CRC32, bytes(4))),
        (10_000, "c", None),
    )


@pytest.mark.parametrize(
    ("parts", "code"),
    [
        ([], "MalformedXML"),
        (["<PartNumber>1</PartNumber>"], "MalformedXML"),
        (["<ETag>a</ETag>"], "MalformedXML"),
        (["<ETag>a</ETag><PartNumber>1</PartNumber></Part><Other/><Part>"], "MalformedXML"),
        (["<ETag></ETag><PartNumber>1</PartNumber>"], "MalformedXML"),
        (["<ETag>a</ETag><PartNumber>one</PartNumber>"], "MalformedXML"),
        (["<ETag>a</ETag><PartNumber>-1</PartNumber>"], "MalformedXML"),
        (["<ETag>a</ETag><PartNumber>٣</PartNumber>"], "MalformedXML"),
        (["<ETag>a</ETag><PartNumber>0</PartNumber>"], "InvalidArgument"),
        (["<ETag>a</ETag><PartNumber>10001</PartNumber>"], "InvalidArgument"),
        ([f"<ETag>a</ETag><PartNumber>{'9' * 5000}</PartNumber>"], "InvalidArgument"),
        (
            [
                "<ETag>a</ETag><PartNumber>2</PartNumber>",
                "<ETag>a</ETag><PartNumber>1</PartNumber>",
            ],
            "InvalidPartOrder",
        ),
        (
            [
                "<ETag>a</ETag><PartNumber>2</PartNumber>",
                "<ETag>a</ETag><PartNumber>2</PartNumber>",
            ],
            "InvalidPartOrder",
        ),
        (
            ["<ETag>a</ETag><PartNumber>1</PartNumber><ChecksumCRC32>x</ChecksumCRC32>"],
            "InvalidArgument",
        ),
        (
            [
                "<ETag>a</ETag><PartNumber>1</PartNumber><ChecksumCRC32>AAAAAA==</ChecksumCRC32>"
                "<ChecksumCRC32C>AAAAAA==</ChecksumCRC32C>"
            ],
            "InvalidArgument",
        ),
        (["<ETag>a</ETag><PartNumber>1</PartNumber><ChecksumMD4>x</ChecksumMD4>"], "MalformedXML"),
    ],
)
def test_refused_completes(parts: list[str], code: str) -> None:
    assert refusal(parse_complete, complete(*parts)) == code


@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_versioning(status: str) -> None:
    inner = f"<Status>{status}</Status>"
    for document in (inner, f"{inner}<MfaDelete>Disabled</MfaDelete>"):
        whole = f"<VersioningConfiguration {NS}>{document}</VersioningConfiguration>"
        assert parse_versioning(whole.encode()) == status


@pytest.mark.parametrize(
    ("inner", "code"),
    [
        ("", "IllegalVersioningConfigurationException"),
        ("<MfaDelete>Disabled</MfaDelete>", "IllegalVersioningConfigurationException"),
        ("<Status>Enabled</Status><MfaDelete>Enabled</MfaDelete>", "NotImplemented"),
        ("<Status>enabled</Status>", "MalformedXML"),
        ("<Status></Status>", "MalformedXML"),
        ("<Status>Enabled</Status><Status>Suspended</Status>", "MalformedXML"),
        ("<Status>Enabled</Status><Other/>", "MalformedXML"),
        ("text<Status>Enabled</Status>", "MalformedXML"),
    ],
)
def test_refused_versioning(inner: str, code: str) -> None:
    assert refusal(parse_versioning, f"<VersioningConfiguration>{inner}</VersioningConfiguration>") == code


def test_ten_thousand_parts_with_checksums_fit() -> None:
    sha = "A" * 43 + "="
    part = f"<ETag>&quot;{'a' * 32}&quot;</ETag><ChecksumSHA256>{sha}</ChecksumSHA256>"
    parts = [f"{part}<PartNumber>{n}</PartNumber>\n" for n in range(1, 10_001)]
    document = complete(*parts).encode()
    started = time.process_time()
    assert len(parse_complete(document)) == 10_000
    assert time.process_time() - started < 2


ROOT = "CreateBucketConfiguration"
MALFORMED = [
    "",
    " ",
    "x",
    f"<{ROOT}>",
    f"<{ROOT}/><{ROOT}/>",
    f"<{ROOT}/>x",
    f"<{ROOT}>&undefined;</{ROOT}>",
    f"<{ROOT}>&#0;</{ROOT}>",
    f"<{ROOT}>\x01</{ROOT}>",
    f"<{ROOT}>\0</{ROOT}>",
    f'<{ROOT} a="1"/>',
    f'<{ROOT} xmlns="http://example.com/"/>',
    f'<{ROOT} xmlns="x}}y"/>',
    f"<!DOCTYPE {ROOT}><{ROOT}/>",
    f"<!-- c --><{ROOT}/>",
    f"<{ROOT}><![CDATA[x]]></{ROOT}>",
    f"<?xml version='1.0'?><?pi x?><{ROOT}/>",
    f"<{ROOT}/><?pi x?>",
    f" <?xml version='1.0'?><{ROOT}/>",
    f"<?xml version='1.0' encoding='ISO-8859-1'?><{ROOT}/>",
    f"<?xml version='1.0' encoding='UTF-16'?><{ROOT}/>",
    f"<?xml version='1.0' encoding='nonsense'?><{ROOT}/>",
    f"<{ROOT}>" + "<a>" * 10 + "</a>" * 10 + f"</{ROOT}>",
    f"<{ROOT}><Other/></{ROOT}>",
    f"<{ROOT}><LocationConstraint/><LocationConstraint/></{ROOT}>",
    "<a:b/>",
    "<Other/>",
]


@pytest.mark.parametrize("document", MALFORMED)
def test_malformed_documents(document: str) -> None:
    assert refusal(parse_create_bucket, document) == "MalformedXML"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-32", "latin-1", "utf-7"])
def test_other_encodings(encoding: str) -> None:
    document = f"<{ROOT}><LocationConstraint>é</LocationConstraint></{ROOT}>".encode(encoding)
    try:
        assert parse_create_bucket(document).region != "é"
    except S3Error as refused:
        assert refused.code == "MalformedXML"


def test_too_long_a_document() -> None:
    assert refusal(parse_delete, b"<" * (xml.XML_BYTES_MAX + 1)) == "MaxMessageLengthExceeded"


@given(st.binary(max_size=300))
def test_only_s3_errors_are_raised(document: bytes) -> None:
    for parse in PARSERS:
        try:
            parse(document)
        except S3Error as refused:
            assert refused.status in (400, 501)


FRAGMENTS = st.sampled_from(
    [
        "<Delete>",
        "</Delete>",
        "<Object>",
        "</Object>",
        "<Key>",
        "</Key>",
        "a",
        "<Quiet/>",
        "<CompleteMultipartUpload>",
        "</CompleteMultipartUpload>",
        "<Part>",
        "</Part>",
        "<PartNumber>1</PartNumber>",
        "<ETag>x</ETag>",
        "&amp;",
        "&x;",
        "<?xml?>",
        "<!",
        "\0",
        NS,
    ]
)


@given(st.lists(FRAGMENTS, max_size=20).map("".join))
def test_only_s3_errors_are_raised_for_near_misses(document: str) -> None:
    for parse in PARSERS:
        try:
            parse(document.encode())
        except S3Error as refused:
            assert refused.status in (400, 501)
