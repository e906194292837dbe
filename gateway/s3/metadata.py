"""The headers that are stored with an object and given back with it.

They are kept in the entry's metadata map under short names, because every byte of it is written
again whenever a tree node with the object in it changes:

=======  ==========================  ==============================================================
key      type                        meaning
=======  ==========================  ==============================================================
``ct``   text                        Content-Type; absent for ``binary/octet-stream``
``cc``   text                        Cache-Control
``cd``   text                        Content-Disposition
``ce``   text                        Content-Encoding, without ``aws-chunked``
``cl``   text                        Content-Language
``ex``   text                        Expires, as sent
``um``   map of text to text         user metadata: ``x-amz-meta-<name>``, names in lower case
``sc``   text                        x-amz-storage-class; absent for ``STANDARD``
``wr``   text                        x-amz-website-redirect-location
``tg``   map of text to text         tags
``ck``   map of text to bytes        checksums: algorithm (``CRC32``, ...) to digest
``ckt``  text                        x-amz-checksum-type; absent for ``FULL_OBJECT``
``pk``   bytes                       checksums of the parts, joined, if ``ckt`` is ``COMPOSITE``
``pc``   bytes                       CRC64NVME checksums of the parts, joined, beside ``pk``
``ps``   array of unsigned integers  lengths of the parts in bytes, for a multipart object
``pn``   array of unsigned integers  numbers of the parts, if they are not 1, 2, 3, ...
=======  ==========================  ==============================================================

Only the headers named here can reach a stored object: nothing a client sends can stand for state of
ours (CVE-2026-34204). Values are text. Non-ASCII user metadata comes in as UTF-8 or as RFC 2047
encoded words and goes out as encoded words, as Amazon S3 does; what was hidden in such words and is
unfit for any header is kept and only counted, in x-amz-missing-meta.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, cast

from gateway.s3 import encoded_words
from gateway.s3.checksums import BESIDE, Algorithm, ChecksumType, format_checksum
from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers, has_control
from gateway.s3.tags import HEADER as TAGGING
from gateway.s3.tags import Tags, read_header
from mst.cbor import Value

USER_METADATA_BYTES_MAX: Final = 2048
DEFAULT_CONTENT_TYPE: Final = "binary/octet-stream"
DEFAULT_STORAGE_CLASS: Final = "STANDARD"
USER_PREFIX: Final = "x-amz-meta-"
REDIRECT_BYTES_MAX: Final = 2048

_CONTENT_TYPE: Final = "ct"
_CONTENT_ENCODING: Final = "ce"
_USER: Final = "um"
_STORAGE_CLASS: Final = "sc"
_REDIRECT: Final = "wr"
_TAGS: Final = "tg"
_CHECKSUMS: Final = "ck"
_CHECKSUM_TYPE: Final = "ckt"
_PART_CHECKSUMS: Final = "pk"
_PARTS_BESIDE: Final = "pc"
_PART_SIZES: Final = "ps"
_PART_NUMBERS: Final = "pn"
_OF_CHECKSUM: Final = frozenset({_CHECKSUMS, _CHECKSUM_TYPE, _PART_CHECKSUMS, _PARTS_BESIDE})
_OF_BYTES: Final = _OF_CHECKSUM | {_PART_SIZES, _PART_NUMBERS}
_PLAIN: Final = {
    _CONTENT_TYPE: "Content-Type",
    "cc": "Cache-Control",
    "cd": "Content-Disposition",
    _CONTENT_ENCODING: "Content-Encoding",
    "cl": "Content-Language",
    "ex": "Expires",
}
_PLAIN_REQUEST: Final = tuple((key, name.lower()) for key, name in _PLAIN.items())
_OVERRIDES: Final = {f"response-{name.lower()}": name for name in _PLAIN.values()}
_REDIRECT_HEADER: Final = "x-amz-website-redirect-location"
_REDIRECT_STARTS: Final = ("/", "http://", "https://")
# What a general purpose bucket takes; the others belong to other kinds of bucket.
_STORAGE_CLASSES: Final = frozenset(
    {
        "DEEP_ARCHIVE",
        "GLACIER",
        "GLACIER_IR",
        "INTELLIGENT_TIERING",
        "ONEZONE_IA",
        "REDUCED_REDUNDANCY",
        "STANDARD",
        "STANDARD_IA",
    }
)


@dataclass(frozen=True, slots=True)
class ObjectMetadata:
    """What is kept with an object besides its bytes.

    Attributes:
        stored: the map of the module's table, as it stands in the object's entry. Read-only.
    """

    stored: Mapping[str, Value] = field(default_factory=dict)

    @classmethod
    def from_headers(cls, headers: Headers) -> ObjectMetadata:
        """Return what a write's headers ask to have stored.

        Raises:
            S3Error: ``MetadataTooLarge`` above 2 KiB of user metadata, ``InvalidStorageClass``,
                ``InvalidRedirectLocation``, ``InvalidArgument`` for user metadata without a name, and
                what `gateway.s3.tags.read_header` raises.
        """
        stored: dict[str, Value] = {}
        for key, name in _PLAIN_REQUEST:
            value = headers.get(name)
            if value and key == _CONTENT_ENCODING:
                value = _without_aws_chunked(value)
            if value and not (key == _CONTENT_TYPE and value == DEFAULT_CONTENT_TYPE):
                stored[key] = value
        user = _user_metadata(headers)
        if user:
            stored[_USER] = user
        storage_class = headers.get("x-amz-storage-class", DEFAULT_STORAGE_CLASS)
        if storage_class not in _STORAGE_CLASSES:
            raise S3Error("InvalidStorageClass", StorageClassRequested=storage_class)
        if storage_class != DEFAULT_STORAGE_CLASS:
            stored[_STORAGE_CLASS] = storage_class
        redirect = headers.get(_REDIRECT_HEADER)
        if redirect:
            stored[_REDIRECT] = _checked_redirect(redirect)
        tags = read_header(headers.get(TAGGING, ""))
        if tags:
            stored[_TAGS] = tags
        return cls(stored)

    def with_checksum(
        self,
        algorithm: Algorithm | None,
        digest: bytes,
        of_parts: Sequence[bytes] = (),
        beside: Sequence[bytes] = (),
    ) -> ObjectMetadata:
        """Return this with that checksum in place of any other; without any if ``algorithm`` is
        None.

        A copy must not inherit the checksum of a multipart object whose parts it does not have.

        Args:
            algorithm: its kind.
            digest: its value.
            of_parts: the checksums of the parts that it is made of, if it is COMPOSITE.
            beside: the parts' `gateway.s3.checksums.BESIDE`, if they are known.
        """
        stored = {k: v for k, v in self.stored.items() if k not in _OF_CHECKSUM}
        if algorithm is not None:
            stored[_CHECKSUMS] = {algorithm.value: digest}
        if of_parts:
            stored[_CHECKSUM_TYPE] = ChecksumType.COMPOSITE.value
            stored[_PART_CHECKSUMS] = b"".join(of_parts)
        if beside:
            stored[_PARTS_BESIDE] = b"".join(beside)
        return ObjectMetadata(stored)

    def with_parts(self, numbers: Sequence[int], sizes: Sequence[int]) -> ObjectMetadata:
        """Return this with the parts of a multipart object, in order: their numbers and lengths.

        With no parts, any that were noted are taken out.
        """
        stored = {k: v for k, v in self.stored.items() if k not in (_PART_SIZES, _PART_NUMBERS)}
        if sizes:
            stored[_PART_SIZES] = list(sizes)
            if list(numbers) != list(range(1, len(numbers) + 1)):
                stored[_PART_NUMBERS] = list(numbers)
        return ObjectMetadata(stored)

    def with_tags(self, tags: Tags) -> ObjectMetadata:
        """Return this with these tags in place of any others."""
        stored = {k: v for k, v in self.stored.items() if k != _TAGS}
        return ObjectMetadata(stored | {_TAGS: tags} if tags else stored)

    def copied(self, asked: ObjectMetadata, *, replaces: bool, replaces_tags: bool) -> ObjectMetadata:
        """Return the metadata of a copy of the object.

        What belongs to the bytes (checksums, parts) comes along; tags and the rest too, unless they
        are replaced. Storage class and website redirect are always the request's.

        Args:
            asked: what the copy request's own headers ask for.
            replaces: whether the metadata directive is REPLACE.
            replaces_tags: whether the tagging directive is REPLACE.
        """

        def comes_along(key: str) -> bool:
            if key in _OF_BYTES:
                return True
            if key == _TAGS:
                return not replaces_tags
            return not replaces and key not in (_STORAGE_CLASS, _REDIRECT)

        kept = {k: v for k, v in self.stored.items() if comes_along(k)}
        given = {k: v for k, v in asked.stored.items() if not comes_along(k)}
        return ObjectMetadata(kept | given)

    def response_headers(self) -> dict[str, str]:
        """Return the headers that a GET or HEAD has because of it; checksums not among them."""
        headers = {"Content-Type": DEFAULT_CONTENT_TYPE}
        for key, name in _PLAIN.items():
            if key in self.stored:
                headers[name] = cast("str", self.stored[key])
        missing = 0
        for name, value in self.user.items():
            if has_control(value):
                missing += 1
            else:
                headers[f"{USER_PREFIX}{name}"] = encoded_words.encode(value)
        if missing:
            headers["x-amz-missing-meta"] = str(missing)
        if _REDIRECT in self.stored:
            headers[_REDIRECT_HEADER] = cast("str", self.stored[_REDIRECT])
        if _STORAGE_CLASS in self.stored:
            headers["x-amz-storage-class"] = self.storage_class
        if self.tags:
            headers["x-amz-tagging-count"] = str(len(self.tags))
        return headers

    @property
    def user(self) -> Mapping[str, str]:
        """User metadata: lower-case name without prefix to decoded text."""
        return cast("Mapping[str, str]", self.stored.get(_USER, {}))

    @property
    def storage_class(self) -> str:
        """The storage class, ``STANDARD`` by default."""
        return cast("str", self.stored.get(_STORAGE_CLASS, DEFAULT_STORAGE_CLASS))

    @property
    def tags(self) -> Tags:
        """The object's tags."""
        return cast("Tags", self.stored.get(_TAGS, {}))

    @property
    def parts(self) -> list[tuple[int, int]]:
        """(number, length in bytes) of each part of a multipart object; else nothing."""
        sizes = cast("list[int]", self.stored.get(_PART_SIZES, []))
        numbers = cast("Sequence[int]", self.stored.get(_PART_NUMBERS, range(1, len(sizes) + 1)))
        return list(zip(numbers, sizes, strict=True))

    @property
    def part_checksums(self) -> list[bytes]:
        """The checksum of each part, of the object's algorithm, if that is made of them; else nothing."""
        return self._of_each_part(_PART_CHECKSUMS)

    @property
    def part_checksums_beside(self) -> list[bytes]:
        """The `gateway.s3.checksums.BESIDE` of each part; nothing if it is not known."""
        return self._of_each_part(_PARTS_BESIDE)

    def _of_each_part(self, name: str) -> list[bytes]:
        joined = cast("bytes", self.stored.get(name, b""))
        each = len(joined) // len(self.parts) if joined else 1
        return [joined[at : at + each] for at in range(0, len(joined), each)]

    @property
    def checksum_type(self) -> ChecksumType:
        """How the checksums relate to the object's bytes."""
        return ChecksumType(self.stored.get(_CHECKSUM_TYPE, ChecksumType.FULL_OBJECT.value))

    @property
    def digests(self) -> dict[Algorithm, bytes]:
        """The object's checksums."""
        digests = cast("Mapping[str, bytes]", self.stored.get(_CHECKSUMS, {}))
        return {Algorithm(name): digest for name, digest in digests.items()}

    @property
    def checksums(self) -> dict[Algorithm, str]:
        """The object's checksums as S3 writes them."""
        composite = self.checksum_type is ChecksumType.COMPOSITE
        parts = len(cast("list[int]", self.stored.get(_PART_SIZES, []))) if composite else None
        return {algorithm: format_checksum(digest, parts) for algorithm, digest in self.digests.items()}

    def checksum_headers(self, part: int | None = None) -> dict[str, str]:
        """Return the headers that ``x-amz-checksum-mode: ENABLED`` adds to a GET or HEAD.

        Args:
            part: which of the parts that have a checksum is asked for, from 0; None for the object.
        """
        sums = self.checksums if part is None else self._checksums_of(part)
        headers = {algorithm.header: text for algorithm, text in sums.items()}
        if headers:
            headers["x-amz-checksum-type"] = self.checksum_type.value
        return headers

    def _checksums_of(self, part: int) -> dict[Algorithm, str]:
        sums = dict.fromkeys(self.digests, format_checksum(self.part_checksums[part]))
        beside = self.part_checksums_beside
        return sums | {BESIDE: format_checksum(beside[part])} if beside else sums


def _without_aws_chunked(value: str) -> str:
    """Take the framing out of Content-Encoding, where it is undone already; the rest stays as it is written."""
    if "aws-chunked" not in value.lower():
        return value
    kept = (coding for coding in value.split(",") if coding.strip().lower() not in ("", "aws-chunked"))
    return ",".join(kept).strip(" \t")


def _user_metadata(headers: Headers) -> dict[str, Value]:
    user: dict[str, Value] = {}
    size_bytes = 0
    for header, value in headers.items():
        if header.startswith(USER_PREFIX):
            name = header[len(USER_PREFIX) :]
            text = encoded_words.decode(value)
            if not name:
                raise S3Error("InvalidArgument", "Invalid user metadata.", ArgumentName=header)
            size_bytes += len(name.encode()) + len(text.encode())
            user[name] = text
    if size_bytes > USER_METADATA_BYTES_MAX:
        raise S3Error("MetadataTooLarge", Size=size_bytes, MaxSizeAllowed=USER_METADATA_BYTES_MAX)
    return user


def _checked_redirect(location: str) -> str:
    if not location.startswith(_REDIRECT_STARTS):
        raise S3Error("InvalidRedirectLocation")
    if len(location.encode()) > REDIRECT_BYTES_MAX:
        raise S3Error(
            "InvalidRedirectLocation",
            f"The length of website redirect location cannot exceed {REDIRECT_BYTES_MAX} characters.",
        )
    return location


def overrides(query: Mapping[str, str]) -> dict[str, str]:
    """Return the response headers that ``response-content-type`` and its five relatives set.

    Raises:
        S3Error: ``InvalidArgument`` for a control character.
    """
    chosen: dict[str, str] = {}
    for parameter, name in _OVERRIDES.items():
        value = query.get(parameter)
        if value is not None:
            if has_control(value):
                raise S3Error(
                    "InvalidArgument",
                    "A header value has a control character.",
                    ArgumentName=parameter,
                )
            chosen[name] = value
    return chosen
