"""How a verb fails: one line that says what is wrong and what to do, and an exit code that scripts can rely on."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from typing import Any

import click

from gateway.cli.output import printable
from gateway.config import ConfigError
from gateway.store.errors import (
    BlockCorrupt,
    BlockMissing,
    FolderLocked,
    NoSuchBucket,
    StoreError,
)
from mst.errors import FormatError
from registry.database import DatabaseDamaged
from registry.errors import RegistryError
from registry.heads import HeadDamaged


class ExitCode(IntEnum):
    """What the process's end says; the table is in docs/cli.md."""

    OK = 0
    FAILED = 1
    USAGE = 2
    NOT_FOUND = 3
    IN_USE = 4
    DAMAGED = 5


class Failure(click.ClickException):
    """Ends the program with a message for the person who ran it.

    Args:
        message: what is wrong and what to do about it, one line; what could steer a terminal is escaped.
        code: the exit code.
    """

    def __init__(self, message: str, code: ExitCode = ExitCode.FAILED) -> None:
        super().__init__(printable(message))
        self.exit_code = int(code)  # type: ignore[misc]  # click declares it for whole classes, and reads it here


class Verb(click.Command):
    """A command whose errors are all told as a `Failure`, never as a traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        with explained():
            return super().invoke(ctx)


@contextmanager
def explained() -> Iterator[None]:
    """Turn the errors that are expected of a healthy program into a `Failure`."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read the output has seen enough: click ends quietly
    except ConfigError as error:
        raise Failure(str(error), ExitCode.USAGE) from error
    except FolderLocked as error:
        raise Failure(str(error), ExitCode.IN_USE) from error
    except NoSuchBucket as error:
        raise Failure(f"there is no bucket {error}: `ms3t roots` shows those there are", ExitCode.NOT_FOUND) from error
    except DatabaseDamaged as error:
        raise Failure(f"{error}; restore it from a backup", ExitCode.DAMAGED) from error
    except (BlockMissing, BlockCorrupt, FormatError, HeadDamaged) as error:
        raise Failure(f"stored data is damaged: {error}; `ms3t doctor` tells what else is", ExitCode.DAMAGED) from error
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        raise Failure(f"{place}{error.strerror or error}") from error
    except (StoreError, RegistryError) as error:
        raise Failure(str(error)) from error
