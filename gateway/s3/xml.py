"""Request documents: bounded, strict, and turned into plain values.

The parser underneath is the expat of the Python that happens to run, and old ones slow down badly
on nesting, on very long tags and on declarations. So bytes are looked at before expat sees them: no
``<!`` (no DOCTYPE, so no entities), nothing but UTF-8, no tag longer than some kilobytes; and what
it reports is bounded in depth and number. An element nobody asked for is refused, since it may ask
for something that would then silently not happen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Final, NamedTuple
from xml.parsers import expat

from gateway.s3.checksums import Algorithm
from gateway.s3.claims import Declared, parse_checksum
from gateway.s3.errors import S3Error
from gateway.s3.xmltext import NAMESPACE

# 1,000 keys of 1,024 bytes to delete, or 10,000 parts with checksums, need some 2 MB.
XML_BYTES_MAX: Final = 4 * 1024 * 1024
TAG_BYTES_MAX: Final = 16 * 1024  # from one "<" to the next: a tag and the text behind it
ELEMENTS_MAX: Final = 60_000
DEPTH_MAX: Final = 8
DELETE_OBJECTS_MAX: Final = 1000
PARTS_MAX: Final = 10_000
_FEED_BYTES: Final = 64 * 1024
_PART_NUMBER_DIGITS_MAX: Final = 5

_SEPARATOR: Final = "}"
_QUALIFIED: Final = f"{NAMESPACE}{_SEPARATOR}"
_ENCODING: Final = re.compile(rb"<\?xml[^>]*\sencoding\s*=\s*[\"']([^\"']*)")
_UTF8_NAMES: Final = frozenset({b"utf-8", b"utf8", b"us-ascii", b"ascii"})
_BYTE_ORDER_MARK: Final = b"\xef\xbb\xbf"
_CHECKSUM_ELEMENTS: Final = {f"Checksum{algorithm.value}": algorithm for algorithm in Algorithm}


class CreateBucketRequest(NamedTuple):
    """A CreateBucketConfiguration.

    Attributes:
        region: its LocationConstraint, or None.
        tags: key and value of each of its tags, as written.
    """

    region: str | None
    tags: tuple[tuple[str, str], ...]


class DeleteObject(NamedTuple):
    """One object of a DeleteObjects request.

    Attributes:
        key: as written; it may not be a possible key.
        version_id: None if not given.
        etag: the entity tag that the object must have, as written, or None.
    """

    key: str
    version_id: str | None
    etag: str | None


class DeleteRequest(NamedTuple):
    """A DeleteObjects request: 1 to 1000 objects, and whether only failures are to be reported."""

    objects: tuple[DeleteObject, ...]
    quiet: bool


class CompletedPart(NamedTuple):
    """One part of a CompleteMultipartUpload request.

    Attributes:
        number: 1 to 10,000.
        etag: the part's entity tag, without quotes.
        checksum: the checksum that the client expects the part to have, or None.
    """

    number: int
    etag: str
    checksum: Declared | None


class _Element:
    """An element; ``text`` is what stands directly in it."""

    __slots__ = ("children", "name", "text")

    def __init__(self, name: str) -> None:
        self.name = name
        self.text = ""
        self.children: list[_Element] = []


class _Builder:
    """Collects what expat reports into a tree, within the limits."""

    def __init__(self) -> None:
        self.top = _Element("")
        self._open = [self.top]
        self._elements = 0

    def start(self, name: str, attributes: Mapping[str, str]) -> None:
        self._elements += 1
        if attributes or len(self._open) > DEPTH_MAX or self._elements > ELEMENTS_MAX:
            raise S3Error("MalformedXML")
        name = name.removeprefix(_QUALIFIED)
        if _SEPARATOR in name:
            raise S3Error("MalformedXML")  # another namespace
        element = _Element(name)
        self._open[-1].children.append(element)
        self._open.append(element)

    def text(self, data: str) -> None:
        self._open[-1].text += data

    def end(self, _name: str) -> None:
        self._open.pop()


def _parse(document: bytes, root_name: str) -> _Element:
    """Return the root element, which must have that name."""
    _check_bytes(document)
    parser = expat.ParserCreate("utf-8", _SEPARATOR)
    parser.buffer_text = True
    builder = _Builder()
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    try:
        # In pieces, because expat reads on to the end of what it was given when a handler raises.
        for position in range(0, len(document), _FEED_BYTES):
            parser.Parse(document[position : position + _FEED_BYTES], False)
        parser.Parse(b"", True)
    except expat.ExpatError:
        raise S3Error("MalformedXML") from None
    root = builder.top.children[0]
    if root.name != root_name:
        raise S3Error("MalformedXML")
    return root


def _check_bytes(document: bytes) -> None:
    """Refuse what expat had better not see."""
    if len(document) > XML_BYTES_MAX:
        raise S3Error("MaxMessageLengthExceeded", MaxMessageLengthBytes=XML_BYTES_MAX)
    try:
        document.decode()
    except UnicodeDecodeError:
        raise S3Error("MalformedXML") from None
    declared = _ENCODING.match(document.removeprefix(_BYTE_ORDER_MARK))
    if (
        b"\0" in document
        or b"<!" in document
        or b"<?" in document.removeprefix(_BYTE_ORDER_MARK)[1:]
        or (declared is not None and declared[1].lower() not in _UTF8_NAMES)
        or document.count(b"<") > 2 * ELEMENTS_MAX + 1
        or max(map(len, document.split(b"<"))) > TAG_BYTES_MAX
    ):
        raise S3Error("MalformedXML")


def _children(element: _Element) -> list[_Element]:
    """Return the elements in one that has nothing else in it."""
    if element.text.strip():
        raise S3Error("MalformedXML")
    return element.children


def _values(element: _Element) -> dict[str, str]:
    """Return name and text of the elements in one that has only leaves in it, each once."""
    values: dict[str, str] = {}
    for child in _children(element):
        if child.children or child.name in values:
            raise S3Error("MalformedXML")
        values[child.name] = child.text
    return values


def parse_create_bucket(document: bytes) -> CreateBucketRequest:
    """Return a CreateBucketConfiguration.

    Raises:
        S3Error: ``MalformedXML``; ``NotImplemented`` for directory buckets.
    """
    root = _parse(document, "CreateBucketConfiguration")
    region: str | None = None
    tags: tuple[tuple[str, str], ...] | None = None
    for child in _children(root):
        if child.name in ("Bucket", "Location"):
            raise S3Error("NotImplemented", f"{child.name} is not implemented for CreateBucket.")
        if child.name == "LocationConstraint" and not child.children and region is None:
            region = child.text.strip()
        elif child.name == "Tags" and tags is None:
            tags = _tags(child)
        else:
            raise S3Error("MalformedXML")
    return CreateBucketRequest(region or None, tags or ())


def parse_delete(document: bytes) -> DeleteRequest:
    """Return a DeleteObjects request.

    Raises:
        S3Error: ``MalformedXML``, also for no object or more than 1000; ``NotImplemented`` for
            conditions on size and time, which Amazon S3 has for directory buckets only.
    """
    root = _parse(document, "Delete")
    objects: list[DeleteObject] = []
    quiet: bool | None = None
    for child in _children(root):
        if child.name == "Object":
            objects.append(_delete_object(child))
        elif child.name == "Quiet" and not child.children and quiet is None:
            text = child.text.strip().lower()
            if text not in ("true", "false"):
                raise S3Error("MalformedXML")
            quiet = text == "true"
        else:
            raise S3Error("MalformedXML")
    if not 1 <= len(objects) <= DELETE_OBJECTS_MAX:
        raise S3Error("MalformedXML")
    return DeleteRequest(tuple(objects), bool(quiet))


def _delete_object(element: _Element) -> DeleteObject:
    values = _values(element)
    key = values.pop("Key", None)
    version_id = values.pop("VersionId", None)
    etag = values.pop("ETag", None)
    if values.keys() & {"LastModifiedTime", "Size"}:
        raise S3Error("NotImplemented", "Deletes conditional on size or time are not implemented.")
    if key is None or values:
        raise S3Error("MalformedXML")
    return DeleteObject(key, version_id or None, etag or None)


def parse_tagging(document: bytes) -> tuple[tuple[str, str], ...]:
    """Return the keys and values of a Tagging document, as written.

    Raises:
        S3Error: ``MalformedXML``.
    """
    root = _children(_parse(document, "Tagging"))
    if [child.name for child in root] != ["TagSet"]:
        raise S3Error("MalformedXML")
    return _tags(root[0])


def _tags(element: _Element) -> tuple[tuple[str, str], ...]:
    """Return the keys and values of a set of tags, as written."""
    pairs: list[tuple[str, str]] = []
    for child in _children(element):
        values = _values(child)
        if child.name != "Tag" or values.keys() != {"Key", "Value"}:
            raise S3Error("MalformedXML")
        pairs.append((values["Key"], values["Value"]))
    return tuple(pairs)


def parse_versioning(document: bytes) -> str:
    """Return the status of a VersioningConfiguration: ``Enabled`` or ``Suspended``.

    Raises:
        S3Error: ``MalformedXML``; ``IllegalVersioningConfigurationException`` without a status;
            ``NotImplemented`` for MFA delete.
    """
    values = _values(_parse(document, "VersioningConfiguration"))
    status = values.pop("Status", None)
    mfa = values.pop("MfaDelete", "Disabled")
    if values or status not in (None, "Enabled", "Suspended") or mfa not in ("Enabled", "Disabled"):
        raise S3Error("MalformedXML")
    if mfa == "Enabled":
        raise S3Error("NotImplemented", "MFA delete is not implemented.")
    if status is None:
        raise S3Error("IllegalVersioningConfigurationException")
    return status


def parse_complete(document: bytes) -> tuple[CompletedPart, ...]:
    """Return the parts of a CompleteMultipartUpload request, at least one, in ascending order.

    Raises:
        S3Error: ``MalformedXML``, ``InvalidPartOrder``, ``InvalidArgument`` for an impossible part
            number, for a checksum that is none and for several of one part.
    """
    root = _parse(document, "CompleteMultipartUpload")
    parts: list[CompletedPart] = []
    for child in _children(root):
        if child.name != "Part" or len(parts) == PARTS_MAX:
            raise S3Error("MalformedXML")
        part = _completed_part(child)
        if parts and part.number <= parts[-1].number:
            raise S3Error("InvalidPartOrder")
        parts.append(part)
    if not parts:
        raise S3Error("MalformedXML")
    return tuple(parts)


def _completed_part(element: _Element) -> CompletedPart:
    values = _values(element)
    number = values.pop("PartNumber", "").strip()
    etag = values.pop("ETag", "").strip()
    if not etag or not (number.isascii() and number.isdigit()):
        raise S3Error("MalformedXML")
    if len(number) > _PART_NUMBER_DIGITS_MAX or not 1 <= int(number) <= PARTS_MAX:
        raise S3Error(
            "InvalidArgument",
            "Part number must be an integer between 1 and 10000, inclusive",
            ArgumentName="PartNumber",
            ArgumentValue=number,
        )
    if not values.keys() <= _CHECKSUM_ELEMENTS.keys():
        raise S3Error("MalformedXML")
    return CompletedPart(int(number), etag.removeprefix('"').removesuffix('"'), _part_checksum(values))


def _part_checksum(values: Mapping[str, str]) -> Declared | None:
    if not values:
        return None
    if len(values) == 1:
        [(name, text)] = values.items()
        with suppress(S3Error):
            return parse_checksum(_CHECKSUM_ELEMENTS[name], text.strip())
    raise S3Error(
        "InvalidArgument",
        "Invalid Base64 or multiple checksums present in request",
        ArgumentName="Checksum",
        ArgumentValue="".join(f"{name}:{text};" for name, text in values.items()),
    )
