"""CPU seconds and memory of a server's whole process tree, read from /proc."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_TICKS_PER_SECOND = os.sysconf("SC_CLK_TCK")
_PROC = Path("/proc")
_RESET_PEAK = "5"
"""What proc(5) wants written to clear_refs to make VmHWM start again from the present size."""


@dataclass(frozen=True, slots=True)
class _Stat:
    pid: int
    parent: int
    cpu_ticks: int
    """Own time, and that of children which have ended and been waited for."""


def tree(root_pid: int) -> list[int]:
    """The process and all its living descendants."""
    return [stat.pid for stat in _tree_stats(root_pid)]


def cpu_seconds(root_pid: int) -> float:
    """User and system CPU time of the tree so far, in seconds (a clock tick is 10 ms)."""
    return sum(stat.cpu_ticks for stat in _tree_stats(root_pid)) / _TICKS_PER_SECOND


def busy_seconds() -> float:
    """CPU time of everything on this machine so far, also what the hypervisor gave to others."""
    user, nice, system, _idle, _iowait, irq, softirq, steal = _cpu_ticks()
    return (user + nice + system + irq + softirq + steal) / _TICKS_PER_SECOND


def stolen_seconds() -> float:
    """CPU time that the hypervisor gave to others so far while something here wanted it."""
    return _cpu_ticks()[-1] / _TICKS_PER_SECOND


def reset_peak(root_pid: int) -> None:
    """Start a new peak memory measurement for every process of the tree."""
    for pid in tree(root_pid):
        try:
            (_PROC / str(pid) / "clear_refs").write_text(_RESET_PEAK)
        except OSError:
            continue  # it ended meanwhile, or the kernel lacks the file: peak since its start


def peak_rss_bytes(root_pid: int) -> int:
    """Sum of the peak resident sizes of the tree's processes since their start or last reset.

    Peaks of different processes need not coincide, so for several processes this is an upper bound.
    """
    total = 0
    for pid in tree(root_pid):
        try:
            status = (_PROC / str(pid) / "status").read_text()
        except OSError:
            continue
        for line in status.splitlines():
            if line.startswith("VmHWM:"):
                total += int(line.split()[1]) * 1024
    return total


def _cpu_ticks() -> list[int]:
    """User, nice, system, idle, iowait, irq, softirq and steal time of all processors."""
    with (_PROC / "stat").open() as file:
        return [int(field) for field in file.readline().split()[1:9]]


def _tree_stats(root_pid: int) -> list[_Stat]:
    stats = {stat.pid: stat for stat in _all_stats()}
    children: dict[int, list[int]] = {}
    for stat in stats.values():
        children.setdefault(stat.parent, []).append(stat.pid)
    found: list[_Stat] = []
    waiting = [root_pid]
    while waiting:
        pid = waiting.pop()
        if pid in stats:
            found.append(stats[pid])
            waiting.extend(children.get(pid, ()))
    return found


def _all_stats() -> Iterator[_Stat]:
    for entry in os.listdir(_PROC):
        if not entry.isdigit():
            continue
        try:
            text = (_PROC / entry / "stat").read_text()
        except OSError:
            continue
        # The command name, in parentheses, may itself hold spaces and parentheses.
        fields = text[text.rindex(")") + 2 :].split()
        ticks = sum(int(fields[i]) for i in range(11, 15))  # utime stime cutime cstime
        yield _Stat(int(entry), int(fields[1]), ticks)
