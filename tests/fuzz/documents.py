"""Fuzz targets for request documents: one that is accepted says the same when it is written again."""

from __future__ import annotations

from gateway.s3 import checksums, claims, xml
from gateway.s3.xml import CompletedPart, CreateBucketRequest, DeleteRequest
from gateway.s3.xmltext import escape
from tests.fuzz.fields import wire_target


def _delete_check(_: bytes, found: DeleteRequest) -> None:
    rows = "".join(
        f"<Object><Key>{escape(key)}</Key><VersionId>{escape(version or '')}</VersionId>"
        f"<ETag>{escape(etag or '')}</ETag></Object>"
        for key, version, etag in found.objects
    )
    assert xml.parse_delete(f"<Delete>{rows}<Quiet>{str(found.quiet).lower()}</Quiet></Delete>".encode()) == found


def _checksum_element(claim: claims.Declared | None) -> str:
    if claim is None:
        return ""
    text = checksums.format_checksum(claim.digest or b"", claim.parts)
    return f"<Checksum{claim.algorithm.value}>{text}</Checksum{claim.algorithm.value}>"


def _complete_check(_: bytes, found: tuple[CompletedPart, ...]) -> None:
    assert [part.number for part in found] == sorted({part.number for part in found})
    rows = "".join(
        f'<Part><ETag>"{escape(part.etag)}"</ETag><PartNumber>{part.number}</PartNumber>'
        + _checksum_element(part.checksum)
        + "</Part>"
        for part in found
    )
    assert xml.parse_complete(f"<CompleteMultipartUpload>{rows}</CompleteMultipartUpload>".encode()) == found


def _create_bucket_check(_: bytes, found: CreateBucketRequest) -> None:
    tags = "".join(f"<Tag><Key>{escape(key)}</Key><Value>{escape(value)}</Value></Tag>" for key, value in found.tags)
    document = (
        f"<CreateBucketConfiguration><Tags>{tags}</Tags><LocationConstraint>"
        f"{escape(found.region or '')}</LocationConstraint></CreateBucketConfiguration>"
    )
    assert xml.parse_create_bucket(document.encode()) == found


def _versioning_check(_: bytes, found: str) -> None:
    document = f"<VersioningConfiguration><Status>{found}</Status></VersioningConfiguration>"
    assert xml.parse_versioning(document.encode()) == found


_XML_TOKENS = (
    b"<!DOCTYPE a>", b"<!--", b"-->", b"<![CDATA[", b"]]>", b"<?xml", b"?>", b"&#0;", b"&#13;", b"&#x1F333;", b"&lt;",
    b"&a;", b"<a>", b"</a>", b"<Key>", b"</Key>", b"<Object>", b"<Quiet>true</Quiet>", b"xmlns='a'", b"\xef\xbb\xbf",
    b"\xff\xfe", b' encoding="UTF-16"', b"<a>" * 9, b"<VersionId>null</VersionId>", b"<PartNumber>10001</PartNumber>",
    b"<Tags/>",
)  # fmt: skip


DOCUMENTS = {
    "delete-objects": wire_target(
        xml.parse_delete, _delete_check,
        b"<Delete><Object><Key>a&#13;b</Key></Object><Object><Key>c</Key><ETag>\"x\"</ETag></Object><Quiet>true</Quiet></Delete>",
        b'<?xml version="1.0" encoding="UTF-8"?>\n<Delete xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        b"<Object><VersionId>null</VersionId><Key> \xc3\xa9</Key></Object></Delete>",
        tokens=_XML_TOKENS,
    ),
    "complete-upload": wire_target(
        xml.parse_complete, _complete_check,
        b"<CompleteMultipartUpload><Part><ETag>&quot;a&quot;</ETag><PartNumber>1</PartNumber></Part>"
        b"<Part><PartNumber> 20 </PartNumber><ETag>b</ETag><ChecksumCRC32>AAAAAA==</ChecksumCRC32></Part>"
        b"</CompleteMultipartUpload>",
        tokens=_XML_TOKENS,
    ),
    "create-bucket": wire_target(
        xml.parse_create_bucket, _create_bucket_check,
        b"<CreateBucketConfiguration><LocationConstraint> eu-west-1 </LocationConstraint></CreateBucketConfiguration>",
        b"<CreateBucketConfiguration><Tags><Tag><Key>a</Key><Value>b</Value></Tag></Tags></CreateBucketConfiguration>",
        b"<CreateBucketConfiguration/>", tokens=_XML_TOKENS,
    ),
    "versioning": wire_target(
        xml.parse_versioning, _versioning_check,
        b"<VersioningConfiguration><Status>Enabled</Status><MfaDelete>Disabled</MfaDelete></VersioningConfiguration>",
        b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>", tokens=_XML_TOKENS,
    ),
}  # fmt: skip
