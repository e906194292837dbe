"""Checks of the data folder: whose it is, who may read it, who holds it, whether there is room, what its keys are."""

from __future__ import annotations

import os
import pwd
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from gateway.checks.result import Result, fail, ok, warn
from gateway.endpoint import lock_holder
from gateway.store.folder import DataFolder
from registry import credentials
from registry.database import Database
from registry.errors import RegistryError
from registry.key_file import KeyFileError
from registry.space import SpaceKey

_OTHERS_MAY = stat.S_IRWXG | stat.S_IRWXO


def check_folder(folder: DataFolder) -> Iterator[Result]:
    """Whose the folder is and who may look into it."""
    status = folder.path.stat()
    mode = stat.S_IMODE(status.st_mode)
    if status.st_uid != os.geteuid():
        yield fail(
            "data folder",
            f"{folder.path} belongs to {_user(status.st_uid)}, this process is {_user(os.geteuid())}",
            f"run ms3t as {_user(status.st_uid)}",
        )
    elif mode & _OTHERS_MAY:
        yield warn("data folder", f"{folder.path} has mode {mode:04o}: others may look in", f"chmod 700 {folder.path}")
    else:
        yield ok("data folder", f"{folder.path}, mode {mode:04o}")
    holder = lock_holder(folder)
    yield ok("owner", "no server owns the folder" if holder is None else f"process {holder} owns the folder")


def check_room(folder: DataFolder, reserve_bytes: int) -> Result:
    """Whether uploads are still taken."""
    disk = os.statvfs(folder.path)
    free = disk.f_bavail * disk.f_frsize
    detail = f"{free >> 20} MiB free, {reserve_bytes >> 20} MiB of them kept in reserve"
    if free <= reserve_bytes:
        return fail("room", f"{detail}: uploads are refused", "free some space on this disk")
    return ok("room", detail)


def check_keys(folder: DataFolder, configured: Collection[str]) -> Iterator[Result]:
    """The space key and the registry, which holds the secret keys of all access keys but those ``configured``."""
    try:
        yield ok("space key", SpaceKey.load(folder.key).did)
    except KeyFileError as error:
        yield fail("space key", str(error), "restore it from a backup: no other key continues these buckets")
    for path in (folder.registry, _beside(folder.registry, "-wal")):
        if path.exists() and (mode := stat.S_IMODE(path.stat().st_mode)) & _OTHERS_MAY:
            yield fail(
                "registry",
                f"{path} has mode {mode:04o}: others may have read the secret keys in it",
                f"chmod 600 {path}",
            )
            return
    yield _check_registry(folder, configured)


def _check_registry(folder: DataFolder, configured: Collection[str]) -> Result:
    try:
        database = Database.open(folder.registry, read_only=True)
    except RegistryError as error:
        return fail("registry", str(error), "restore it from a backup")
    try:
        with database.read() as connection:
            keys = credentials.list_all(connection)
    except RegistryError as error:
        return fail("registry", str(error), "restore it from a backup")
    finally:
        database.close()
    if doubled := [key.access_key for key in keys if key.access_key in configured]:
        return fail(
            "registry",
            f"it has an access key {doubled[0]}, which credentials set too",
            "remove it from credentials, or take another",
        )
    usable = len(configured) + sum(not key.disabled for key in keys)
    if not usable:
        return fail("registry", "no access key is enabled: every request is refused", "ms3t keys enable, or create")
    return ok("registry", f"{usable} access key{'' if usable == 1 else 's'}, readable by the owner alone")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _user(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"
