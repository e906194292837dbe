"""GetObjectAttributes: what is known of an object, as one document."""

from __future__ import annotations

from aiohttp import web

from gateway.s3.call import Call
from gateway.s3.checksums import element
from gateway.s3.entries import find_object
from gateway.s3.errors import S3Error
from gateway.s3.httpdate import format_http
from gateway.s3.metadata import ObjectMetadata
from gateway.s3.xml import PARTS_MAX
from gateway.s3.xmltext import DECLARATION, NAMESPACE

PARTS_LISTED_MAX = 1000
"""Most parts in one answer."""

_HEADER = "x-amz-object-attributes"
_NAMES = frozenset({"ETag", "Checksum", "ObjectParts", "StorageClass", "ObjectSize"})


async def get_object_attributes(call: Call) -> web.Response:
    """GetObjectAttributes: those attributes that the request names and the object has."""
    wanted = _wanted(call)
    entry, version_headers = await find_object(call)
    metadata = ObjectMetadata(await call.front.store.trees.meta(entry))
    elements = {
        "ETag": f"<ETag>{entry.etag_text}</ETag>",
        "Checksum": _checksum(metadata),
        "ObjectParts": _parts(call, metadata),
        "StorageClass": f"<StorageClass>{metadata.storage_class}</StorageClass>",
        "ObjectSize": f"<ObjectSize>{entry.size}</ObjectSize>",
    }
    shown = "".join(element for name, element in elements.items() if name in wanted)
    return call.xml(
        f'{DECLARATION}<GetObjectAttributesResponse xmlns="{NAMESPACE}">{shown}</GetObjectAttributesResponse>',
        {"Last-Modified": format_http(entry.mtime_ms // 1000)} | version_headers,
    )


def _wanted(call: Call) -> set[str]:
    listed = call.headers.get(_HEADER, "")
    names = {name.strip() for name in listed.split(",")} - {""}
    if not names:
        raise S3Error(
            "InvalidRequest",
            f"The {_HEADER} header specifying the attributes to be retrieved is either missing or empty",
        )
    if not names <= _NAMES:
        raise S3Error(
            "InvalidArgument", "Invalid attribute name specified.", ArgumentName=_HEADER, ArgumentValue=listed
        )
    return names


def _checksum(metadata: ObjectMetadata) -> str:
    """The checksums; unlike everywhere else, S3 does not write the number of parts behind a composite one here."""
    if not metadata.digests:
        return ""
    sums = "".join(element(algorithm, digest) for algorithm, digest in metadata.digests.items())
    return f"<Checksum>{sums}<ChecksumType>{metadata.checksum_type.value}</ChecksumType></Checksum>"


def _parts(call: Call, metadata: ObjectMetadata) -> str:
    """The number of parts; also a page of the parts themselves if their checksums are kept, as S3 has it."""
    parts = metadata.parts
    if not parts:
        return ""
    count = f"<PartsCount>{len(parts)}</PartsCount>"
    if not metadata.part_checksums:
        return f"<ObjectParts>{count}</ObjectParts>"
    limit = min(_number(call, "x-amz-max-parts", PARTS_LISTED_MAX), PARTS_LISTED_MAX)
    marker = _number(call, "x-amz-part-number-marker", 0)
    [algorithm] = metadata.digests
    following = [
        (number, size, digest)
        for (number, size), digest in zip(parts, metadata.part_checksums, strict=True)
        if number > marker
    ]
    listed = following[:limit]
    rows = "".join(
        f"<Part><PartNumber>{number}</PartNumber><Size>{size}</Size>{element(algorithm, digest)}</Part>"
        for number, size, digest in listed
    )
    # A page without room is the last one too: whoever went on would never arrive.
    truncated = 0 < len(listed) < len(following)
    return (
        f"<ObjectParts>{count}<PartNumberMarker>{marker}</PartNumberMarker>"
        f"<NextPartNumberMarker>{listed[-1][0] if listed else marker}</NextPartNumberMarker>"
        f"<MaxParts>{limit}</MaxParts><IsTruncated>{str(truncated).lower()}</IsTruncated>"
        f"{rows}</ObjectParts>"
    )


def _number(call: Call, header: str, default: int) -> int:
    """A number of parts; S3 takes what is none for the default."""
    text = call.headers.get(header, "")
    small = text.isascii() and text.isdigit() and len(text) <= len(str(PARTS_MAX))
    return int(text) if small else default
