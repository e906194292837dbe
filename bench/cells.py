"""What is measured: the cells of the table, in the order in which they are run, for both lengths.

Cells that decide a target come first and are run several times, alternating between the servers, so
that a noisy minute hits all of them. In a full run each group of cells gets fresh servers on fresh
folders, which bounds the disk space; a quick run keeps one set of servers throughout.
"""

from __future__ import annotations

from dataclasses import dataclass

KIBIBYTE = 1 << 10
MEBIBYTE = 1 << 20
GIBIBYTE = 1 << 30
_SIZES = {"1k": KIBIBYTE, "1m": MEBIBYTE, "64m": 64 * MEBIBYTE}
_LISTS = {"10k": 10_000, "100k": 100_000}
READ_SET_KEYS = {KIBIBYTE: 2000, MEBIBYTE: 64, 64 * MEBIBYTE: 4}
"""How many objects of a size GET and HEAD choose from; all of them fit in the page cache."""
CLI_CELLS = ("cp-up-1g", "cp-down-1g", "sync-up-1000", "sync-down-1000")


@dataclass(frozen=True, slots=True)
class Cell:
    """One measurement by the load generator, or (operation `cli`) by the aws command."""

    name: str
    operation: str
    size_bytes: int = 0
    concurrency: int = 1
    keys: int = 0
    """For LIST: how many keys the bucket holds."""
    rounds: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """All that one run does, and its bounds."""

    name: str
    groups: tuple[tuple[Cell, ...], ...]
    duration_s: float
    warmup_s: float
    budget_s: float
    """No further cell is begun after this time."""
    fill_limit_s: float
    """A bucket whose filling would take longer is not filled, and its LIST not measured."""
    cli_limit_s: float
    max_bytes: int
    """Body bytes of one cell's measured phase; one object per connection may exceed it."""
    warm_disk_bytes: int


def load_cell(operation: str, size: str, concurrency: int, rounds: int = 1) -> Cell:
    """A PUT, GET or HEAD cell of one size ("1k", "1m", "64m")."""
    name = f"{operation}-{size}-c{concurrency}"
    return Cell(name, operation, _SIZES[size], concurrency, rounds=rounds)


def list_cell(keys: str, concurrency: int, rounds: int = 1) -> Cell:
    """LIST of 1,000 keys at places all over a bucket of so many ("10k", "100k")."""
    name = f"list-{keys}-c{concurrency}"
    return Cell(name, "list", concurrency=concurrency, keys=_LISTS[keys], rounds=rounds)


def _cli_cells(sync_rounds: int, copy_rounds: int) -> tuple[Cell, ...]:
    """The aws command's transfers; the copies decide targets."""
    return tuple(Cell(name, "cli", rounds=copy_rounds if name.startswith("cp-") else sync_rounds) for name in CLI_CELLS)


def quick_plan(duration_s: float | None = None) -> Plan:
    """The ten-minute version."""
    cells = (
        load_cell("put", "1k", 64, rounds=2),
        load_cell("get", "1k", 64, rounds=2),
        load_cell("put", "1m", 16, rounds=2),
        load_cell("get", "1m", 16, rounds=2),
        list_cell("100k", 16, rounds=2),
        list_cell("100k", 1, rounds=2),
        *_cli_cells(sync_rounds=1, copy_rounds=2),
        load_cell("head", "1k", 16),
        load_cell("put", "64m", 1),
        load_cell("get", "64m", 1),
        list_cell("10k", 16),
        *(load_cell(operation, "1k", c) for c in (1, 16) for operation in ("put", "get")),
        list_cell("10k", 1),
        load_cell("put", "1m", 1),
        load_cell("get", "1m", 1),
    )
    return Plan(
        name="quick",
        groups=(cells,),
        duration_s=duration_s or 1.5,
        warmup_s=0.4,
        budget_s=560.0,
        fill_limit_s=90.0,
        cli_limit_s=30.0,
        max_bytes=GIBIBYTE,
        warm_disk_bytes=4 * GIBIBYTE,
    )


def full_plan(duration_s: float | None = None) -> Plan:
    """Every size, operation and concurrency of the comparison; about an hour."""

    def loads(size: str, *operations: str) -> tuple[Cell, ...]:
        """Sizes that decide a target are run three times."""
        rounds = 1 if size == "64m" else 3
        return tuple(load_cell(op, size, c, rounds) for op in operations for c in (64, 16, 1))

    groups = (
        loads("1k", "put", "get", "head"),
        loads("1m", "put", "get"),
        tuple(list_cell(keys, c, rounds=3) for keys in ("100k", "10k") for c in (16, 1, 64)),
        # Single copies differ more from round to round than the servers do from each other.
        _cli_cells(sync_rounds=3, copy_rounds=9),
        loads("64m", "put", "get"),
    )
    return Plan(
        name="full",
        groups=groups,
        duration_s=duration_s or 5.0,
        warmup_s=1.0,
        budget_s=5400.0,
        fill_limit_s=240.0,
        cli_limit_s=180.0,
        max_bytes=2 * GIBIBYTE,
        warm_disk_bytes=16 * GIBIBYTE,
    )
