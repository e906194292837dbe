"""Reading documents from outside: strict DAG-CBOR in, typed fields out, `Malformed` for everything else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

from mst import cbor
from mst.cbor import Value
from mst.cid import Link
from mst.errors import FormatError
from mst.limits import INTEGER_MAX
from registry.ucan.errors import Malformed

T = TypeVar("T")


def decode(data: bytes, what: str, *, limit_bytes: int) -> Value:
    """The value of a block of ``what``.

    Raises:
        Malformed: it is not canonical DAG-CBOR, or too large.
    """
    try:
        return cbor.decode(data, limit_bytes=limit_bytes, read_link=Link.read)
    except FormatError as error:
        raise Malformed(f"{what}: {error}") from None


def encode(value: Value, what: str) -> bytes:
    """The block of ``what``.

    Raises:
        Malformed: a value that DAG-CBOR cannot say.
    """
    try:
        return cbor.encode(value)
    except FormatError as error:
        raise Malformed(f"{what}: {error}") from None


def variant(data: bytes, tag: str, what: str, *, limit_bytes: int) -> Value:
    """What a block ``{tag: value}`` says under its tag.

    Raises:
        Malformed: it is another document.
    """
    document = decode(data, what, limit_bytes=limit_bytes)
    if not isinstance(document, Mapping) or document.keys() != {tag}:
        raise Malformed(f"{what}: not a document of type {tag}")
    return document[tag]


class Fields:
    """The fields of a map, each taken once and with its type.

    Args:
        value: what should be a map.
        what: which map, for messages.
        many: most fields it may have.

    Raises:
        Malformed: it is no map, or has too many fields.
    """

    def __init__(self, value: Value, what: str, *, many: int = 64) -> None:
        if not isinstance(value, Mapping) or len(value) > many:
            raise Malformed(f"{what}: not a map of at most {many} fields")
        self._left = dict(value)
        self._what = what

    def take(self, name: str, kind: type[T]) -> T:
        """The field ``name``, exactly of type ``kind`` (for `Link`: any link).

        Raises:
            Malformed: it is missing or of another type.
        """
        if name not in self._left:
            raise Malformed(f"{self._what}: {name} is missing")
        value = self._left.pop(name)
        if isinstance(value, kind) and (type(value) is kind or kind is Link):
            return value
        raise Malformed(f"{self._what}: {name} is of another type")

    def take_if(self, name: str, kind: type[T]) -> T | None:
        """The field ``name`` if there is one, as `take` has it."""
        return self.take(name, kind) if name in self._left else None

    def has(self, name: str) -> bool:
        """Whether there is a field ``name``, which may be null."""
        return name in self._left

    def take_link(self, name: str) -> Link | None:
        """The field ``name`` where it is a link; another value stays to be taken."""
        value = self._left.get(name)
        if not isinstance(value, Link):
            return None
        del self._left[name]
        return value

    def take_nullable(self, name: str, kind: type[T]) -> T | None:
        """The field ``name``, which must be there and may be null."""
        if name in self._left and self._left[name] is None:
            del self._left[name]
            return None
        return self.take(name, kind)

    def take_size(self, name: str) -> int:
        """The field ``name``, a number from 0 on that fits 63 bits.

        Raises:
            Malformed: likewise, and when it is out of range.
        """
        size = self.take(name, int)
        if not 0 <= size <= INTEGER_MAX:
            raise Malformed(f"{self._what}: {name} is out of range")
        return size

    def take_list(self, name: str, kind: type[T], *, many: int) -> tuple[T, ...]:
        """The field ``name``, a list of at most ``many`` values of type ``kind``."""
        values = self.take(name, list)
        if len(values) > many:
            raise Malformed(f"{self._what}: {name} has more than {many} items")
        for value in values:
            if type(value) is not kind and not (kind is Link and isinstance(value, Link)):
                raise Malformed(f"{self._what}: an item of {name} is of another type")
        return tuple(values)

    def take_list_if(self, name: str, kind: type[T], *, many: int) -> tuple[T, ...]:
        """As `take_list`, and empty where there is no such field."""
        return self.take_list(name, kind, many=many) if name in self._left else ()

    def end(self) -> None:
        """Nothing may be left.

        Raises:
            Malformed: a field was not taken.
        """
        if self._left:
            raise Malformed(f"{self._what}: unknown field {next(iter(self._left))[:64]!r}")
