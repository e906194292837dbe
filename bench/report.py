"""Shows a run to people (tables that are also Markdown) and to programs (one JSON document)."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from rich import box
from rich.console import Console
from rich.table import Table

from bench.limits import Limit
from bench.results import Measurement, PeerInfo, middle
from bench.targets import Verdict

_T = TypeVar("_T")
FORMAT_VERSION = 1
_BULK_BYTES_PER_OP = 500_000
"""From this size of an operation on, MB/s says more than op/s."""
_PROBLEM_CHARS = 160
_DIGITS = ((1, 3), (10, 2), (100, 1))
"""Below each bound, so many digits after the point."""


@dataclass(frozen=True, slots=True)
class Report:
    """Everything one run found."""

    mode: str
    started: str
    seconds: float
    machine: dict[str, str]
    limits: Sequence[Limit]
    peers: Sequence[PeerInfo]
    measurements: Sequence[Measurement]
    verdicts: Sequence[Verdict]

    def to_json(self) -> dict[str, Any]:
        """Plain values; `format` changes when the meaning of a field does."""
        return {
            "format": FORMAT_VERSION,
            "mode": self.mode,
            "started": self.started,
            "seconds": self.seconds,
            "machine": self.machine,
            "limits": [asdict(limit) for limit in self.limits],
            "peers": [asdict(peer) for peer in self.peers],
            "measurements": [asdict(measurement) for measurement in self.measurements],
            "targets": [{**asdict(verdict), "met": verdict.met, "noisy": verdict.noisy} for verdict in self.verdicts],
        }

    def show(self, console: Console) -> None:
        """Print all tables."""
        machine = ", ".join(f"{name} {value}" for name, value in self.machine.items())
        console.print(f"{self.mode} run of {self.started}, {self.seconds:.0f} s; {machine}")
        if self.limits:
            _show_limits(console, self.limits)
        _show_peers(console, self.peers)
        if self.measurements:
            self._show_rates(console)
            self._show_details(console)
            self._show_problems(console)
            _show_verdicts(console, self.verdicts)

    def _measured_peers(self) -> list[str]:
        return [peer.name for peer in self.peers if not peer.problem]

    def _show_rates(self, console: Console) -> None:
        names = self._measured_peers()
        table = _table("op/s; MB/s where bodies are large; seconds for the aws command", "cell")
        for name in names:
            table.add_column(name, justify="right")
        for cell in _in_order(m.cell for m in self.measurements):
            values = (_rate_text(middle(self.measurements, name, cell)) for name in names)
            table.add_row(cell, *values)
        console.print(table)

    def _show_details(self, console: Console) -> None:
        title = "median round; CPU and memory are the server's whole process tree"
        table = _table(title, "cell", "server")
        for heading in (
            *("op/s", "MB/s", "p50 ms", "p99 ms"),
            *("server us/op", "server cores", "client cores", "other cores", "RSS MB", "failed"),
        ):
            table.add_column(heading, justify="right")
        for cell in _in_order(m.cell for m in self.measurements):
            for name in self._measured_peers():
                found = middle(self.measurements, name, cell)
                if found is not None:
                    table.add_row(cell, name, *_detail_texts(found))
        console.print(table)

    def _show_problems(self, console: Console) -> None:
        servers: dict[tuple[str, str], list[str]] = {}
        for found in self.measurements:
            if found.problem:
                reason = found.problem[:_PROBLEM_CHARS]
                servers.setdefault((found.cell, reason), []).append(found.peer)
        if not servers:
            return
        table = _table("cells without a figure", "cell", "servers", "why")
        for (cell, reason), names in servers.items():
            table.add_row(cell, ", ".join(_in_order(names)), reason)
        console.print(table)


def _table(title: str, *columns: str) -> Table:
    table = Table(*columns, title=title, box=box.MARKDOWN, title_justify="left")
    table.title_style = "bold"
    return table


def _in_order(values: Iterable[_T]) -> list[_T]:
    return list(dict.fromkeys(values))


def _show_limits(console: Console, limits: Sequence[Limit]) -> None:
    table = _table("this machine's own limits, measured in this run", "limit")
    table.add_column("value", justify="right")
    table.add_column("unit")
    for limit in limits:
        table.add_row(limit.name, _number(limit.value), limit.unit)
    console.print(table)


def _show_peers(console: Console, peers: Sequence[PeerInfo]) -> None:
    table = _table("servers", "server", "version", "an answered PUT is", "problem")
    for peer in peers:
        table.add_row(peer.name, peer.version, peer.durability, peer.problem[:_PROBLEM_CHARS])
    console.print(table)


def _show_verdicts(console: Console, verdicts: Sequence[Verdict]) -> None:
    table = _table("targets: our rate / the peer's, median of rounds", "cell", "compared with")
    for heading in ("ratio", "rounds", "at least", "met"):
        table.add_column(heading, justify="right")
    for verdict in verdicts:
        target = verdict.target
        if verdict.ratio is None:
            texts = ("-", "-", f"{target.at_least:.1f}", "not measured")
        else:
            spread = f"{verdict.lowest:.2f} to {verdict.highest:.2f}"
            met = ("yes" if verdict.met else "NO") + (", but noisy" if verdict.noisy else "")
            texts = (f"{verdict.ratio:.2f}", spread, f"{target.at_least:.1f}", met)
        table.add_row(target.cell, verdict.peer, *texts)
    console.print(table)


def _number(value: float) -> str:
    """About three significant digits."""
    digits = next((digits for bound, digits in _DIGITS if value < bound), 0)
    return f"{value:,.{digits}f}"


def _rate_text(measurement: Measurement | None) -> str:
    if measurement is None:
        return "-"
    if measurement.is_command:
        return f"{_number(measurement.seconds)} s"
    bytes_per_op = measurement.mb_per_s * 1e6 / measurement.ops_per_s
    if bytes_per_op >= _BULK_BYTES_PER_OP:
        return f"{_number(measurement.mb_per_s)} MB/s"
    return _number(measurement.ops_per_s)


def _detail_texts(measurement: Measurement) -> list[str]:
    command = measurement.is_command
    return [
        _number(measurement.ops_per_s),
        _number(measurement.mb_per_s),
        "-" if command else _number(measurement.p50_ms),
        "-" if command else _number(measurement.p99_ms),
        _number(measurement.server_us_per_op),
        f"{measurement.server_cores:.2f}",
        f"{measurement.client_cores:.2f}",
        f"{measurement.other_cores:.2f}",
        _number(measurement.rss_mb),
        str(measurement.failed),
    ]
