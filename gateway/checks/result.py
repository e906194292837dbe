"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

Status: TypeAlias = Literal["ok", "warn", "fail"]


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found.

    Attributes:
        check: what was checked, a word or two.
        status: "fail" if the server cannot be trusted to work like this, "warn" if it should be looked at.
        detail: what was found.
        todo: what to do about it; empty if nothing.
    """

    check: str
    status: Status
    detail: str
    todo: str = ""


def ok(check: str, detail: str) -> Result:
    """All is well."""
    return Result(check, "ok", detail)


def warn(check: str, detail: str, todo: str) -> Result:
    """It works, but somebody should look at it."""
    return Result(check, "warn", detail, todo)


def fail(check: str, detail: str, todo: str) -> Result:
    """It does not work, or not safely."""
    return Result(check, "fail", detail, todo)
