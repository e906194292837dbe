"""The composition root: what it says when the store stops taking writes."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from gateway import app
from gateway.app import FolderIncomplete, Gateway, WrongKey
from gateway.config import Config, ConfigError, load_config
from gateway.store.blocks import Blocks
from gateway.store.errors import BlockMissing, FolderLocked, StoreReadOnly
from gateway.store.folder import DataFolder
from gateway.store.mutations import MakeBucket
from mst.cid import CID
from registry import credentials
from registry.credentials import Credential
from registry.space import SpaceKey


@pytest.fixture(autouse=True)
def _plain_logs() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def _keys(gateway: Gateway) -> list[Credential]:
    with gateway._store.database.read() as connection:
        return credentials.list_all(connection)


@pytest.fixture
def config(tmp_path: Path) -> Config:
    return load_config(None, {}, {"data_dir": str(tmp_path / "data"), "listen": "127.0.0.1:0", "log.access": False})


def test_a_failed_sync_is_said_loudly_and_again(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(app, "WATCH_SECONDS", 0.02)
    monkeypatch.setattr(app, "REMIND_SECONDS", 0.02)
    gateway = Gateway.open(config)

    def fail(fd: int) -> None:
        raise OSError(errno.EIO, "Input/output error")

    async def run() -> None:
        ready = asyncio.Event()
        serving = asyncio.create_task(gateway.serve(lambda endpoint: ready.set()))
        await ready.wait()
        store = gateway._store
        await store.committer.submit(MakeBucket("before", 4, None, bytes(16)))
        with monkeypatch.context() as patch:
            patch.setattr(os, "fdatasync", fail)
            with pytest.raises(StoreReadOnly):
                await store.committer.submit(MakeBucket("after", 4, None, b"1" * 16))
        await asyncio.sleep(0.2)
        assert [bucket.name for bucket in store.buckets()] == ["before"]
        os.kill(os.getpid(), 15)
        await asyncio.wait_for(serving, 10)

    with capture_logs() as logs:
        asyncio.run(run())
        gateway.close()
    loud = [entry for entry in logs if entry["log_level"] == "critical"]
    assert len(loud) > 1
    assert "NO MORE WRITES" in loud[0]["event"]
    assert "sync" in loud[0]["reason"]


def test_a_folder_is_given_up_after_a_failed_start(config: Config, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(app.SpaceKey, "load_or_create", lambda path: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            Gateway.open(config)
    gateway = Gateway.open(config)
    with pytest.raises(FolderLocked):
        Gateway.open(config)
    gateway.close()


def test_the_access_key_is_made_once(config: Config) -> None:
    gateway = Gateway.open(config)
    (first,) = _keys(gateway)
    assert gateway.is_empty
    gateway.close()
    gateway = Gateway.open(config)
    assert _keys(gateway) == [first]
    gateway.close()
    again = {"access_key": first.access_key, "secret_key": "a-new-secret"}
    doubled = Config.model_validate({**dict(config), "credentials": [again]})
    with pytest.raises(ConfigError, match=f"has an access key {first.access_key} already: remove it from"):
        Gateway.open(doubled)
    Gateway.open(config).close()


def test_no_access_key_is_made_where_one_is_configured(config: Config) -> None:
    mine = {"access_key": "mine", "secret_key": "a-new-secret"}
    gateway = Gateway.open(Config.model_validate({**dict(config), "credentials": [mine]}))
    assert _keys(gateway) == []
    gateway.close()


def _make_buckets(config: Config, *names: str) -> list[CID]:
    """Make them, and stop; their commits."""
    gateway = Gateway.open(config)
    for number, name in enumerate(names):
        asyncio.run(gateway._store.committer.submit(MakeBucket(name, 4, None, bytes([number]) * 16)))
    heads = [bucket.commit for bucket in gateway._store.buckets()]
    gateway.close()
    return heads


def test_another_key_than_the_one_that_signed_is_refused(config: Config) -> None:
    _make_buckets(config, "photos")
    folder = DataFolder(config.data_dir)
    theirs = folder.key.read_bytes()
    had = SpaceKey.load(folder.key).did
    folder.key.unlink()
    with pytest.raises(FolderIncomplete, match="restore it from a backup"):
        Gateway.open(config)
    other = SpaceKey.load_or_create(folder.key).did
    with pytest.raises(WrongKey, match=f"bucket photos is signed by {had}, this is {other}. Restore .* from a backup"):
        Gateway.open(config)
    folder.key.write_bytes(theirs)
    Gateway.open(config).close()


def test_a_key_cannot_be_compared_with_commits_that_are_not_here(
    config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    far, here = _make_buckets(config, "far", "here")
    folder = DataFolder(config.data_dir)
    folder.key.unlink()
    SpaceKey.load_or_create(folder.key)
    missing = {far}
    read = Blocks.read

    def read_what_is_here(blocks: Blocks, cid: CID) -> bytes:
        if cid in missing:
            raise BlockMissing(str(cid))
        return read(blocks, cid)

    monkeypatch.setattr(Blocks, "read", read_what_is_here)
    with pytest.raises(WrongKey, match="bucket here is signed by"):
        Gateway.open(config)
    missing.add(here)
    Gateway.open(config).close()


def test_a_new_folder_takes_any_key(config: Config) -> None:
    Gateway.open(config).close()
    DataFolder(config.data_dir).key.unlink()
    SpaceKey.load_or_create(DataFolder(config.data_dir).key)
    Gateway.open(config).close()


@pytest.mark.parametrize("left", [None, b""])
def test_a_registry_that_is_lost_is_not_made_anew(config: Config, left: bytes | None) -> None:
    _make_buckets(config, "photos")
    registry = DataFolder(config.data_dir).registry
    registry.unlink()
    if left is not None:
        registry.write_bytes(left)
    with pytest.raises(FolderIncomplete, match=r"registry.db is gone or empty, .* restore it from a backup"):
        Gateway.open(config)
