"""What verbs print: sizes, times and keys as people read them, tables that fit, JSON for programs."""

from __future__ import annotations

import codecs
import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

import click

if TYPE_CHECKING:
    from rich.table import Table

_UNIT = 1024
_UNITS = ("KiB", "MiB", "GiB", "TiB", "PiB")
_TIME_MS_MAX = 253_402_300_799_999
"""The end of year 9999, beyond which there is no calendar."""
_UNLIMITED_COLUMNS = 100_000


def size_text(size: int) -> str:
    """A number of bytes for people: ``12 B``, ``3.4 KiB``, ``1.0 GiB``."""
    if size < _UNIT:
        return f"{size} B"
    units = iter(_UNITS)
    value, unit = size / _UNIT, next(units)
    # Compared as it will be printed: 1023.96 would read 1024.0.
    while round(value, 1) >= _UNIT and (larger := next(units, None)):
        value, unit = value / _UNIT, larger
    return f"{value:.1f} {unit}"


def time_text(milliseconds: int) -> str:
    """A moment for people: ISO 8601, to the second, in the local time zone."""
    if milliseconds > _TIME_MS_MAX:
        return f"{milliseconds} ms"
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return moment.astimezone().isoformat(timespec="seconds")


def time_json(milliseconds: int) -> str:
    """A moment for programs: ISO 8601, to the millisecond, in UTC."""
    if milliseconds > _TIME_MS_MAX:
        return f"{milliseconds} ms"
    moment = datetime.fromtimestamp(milliseconds // 1000, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{milliseconds % 1000:03d}Z"


def printable(text: str) -> str:
    """``text`` with everything that could steer a terminal or break a line written as an escape."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def key_text(key: bytes) -> str:
    """A key for people."""
    return printable(key.decode(errors="backslashreplace"))


def warn(message: str) -> None:
    """Tell the person something that does not belong to the output."""
    click.echo(f"Warning: {printable(message)}", err=True)


class Column(NamedTuple):
    """A table's column: its heading, and which way its cells lean."""

    heading: str
    justify: Literal["left", "right"] = "left"


def show_table(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> None:
    """Print a table, whole lines always; where the terminal is too narrow, each row as lines ``heading  cell``."""
    from rich import box  # late, here and below, because it is slow and most output is no table
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False)
    for column in columns:
        table.add_column(column.heading, justify=column.justify, no_wrap=True)
    for row in rows:
        table.add_row(*map(Text, row))
    if not print_table(table, fold=False):
        _show_cards(columns, rows)


def print_table(table: Table, *, fold: bool) -> bool:
    """Print ``table`` as wide as it is; on a terminal that is narrower, folded or not at all.

    Returns:
        Whether it was printed.
    """
    from rich.console import Console
    from rich.measure import Measurement

    console = Console(highlight=False)
    options = console.options.update(max_width=_UNLIMITED_COLUMNS)
    needed = Measurement.get(console, options, table).maximum
    if not console.is_terminal:
        console.width = needed
        with console.capture() as capture:
            console.print(table)
        click.echo("\n".join(line.rstrip() for line in capture.get().splitlines()))
        return True
    if needed > console.width and not fold:
        return False
    console.print(table)
    return True


def _show_cards(columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    width = max(len(column.heading) for column in columns)
    for number, row in enumerate(rows):
        if number:
            click.echo()
        for column, cell in zip(columns, row, strict=True):
            click.echo(f"{column.heading:<{width}}  {cell}")


def show_json(value: object) -> None:
    """Print one JSON document."""
    click.echo(_json_text(value, indent=2))


class JsonArray:
    """Prints a JSON array element by element, so that it may be of any length.  Use it in a ``with``.

    Attributes:
        count: how many elements there are.
    """

    def __init__(self) -> None:
        self.count = 0

    def __enter__(self) -> Self:
        return self

    def add(self, element: Mapping[str, Any]) -> None:
        """Print the next element."""
        sys.stdout.write(",\n " if self.count else "[")
        sys.stdout.write(_json_text(element))
        self.count += 1

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # After an error the document stays open, so that nobody takes it for the whole.
        if error is None:
            sys.stdout.write("]\n" if self.count else "[]\n")


def _json_text(value: object, indent: int | None = None) -> str:
    """JSON that standard output can carry: in ASCII alone unless that is UTF-8."""
    ascii_only = codecs.lookup(sys.stdout.encoding).name != "utf-8"
    return json.dumps(value, indent=indent, ensure_ascii=ascii_only)
