"""The composition root: the one place where configuration becomes objects and objects meet.

`Gateway.open` owns the data folder and recovers the store; `Gateway.serve` answers requests until it is told to stop.
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Self

import structlog

from gateway.config import Config, ConfigError, Listen
from gateway.endpoint import Running, endpoint_of, forget_running, write_running
from gateway.file_limit import raise_file_limit
from gateway.processes import worker
from gateway.processes.crew import Crew
from gateway.processes.nursery import Nursery
from gateway.remote import cache_of, open_client, reading, reading_beside
from gateway.service import Service
from gateway.shipping.node_remote import NodeRemote
from gateway.shipping.places import RemotePlaces
from gateway.shipping.shipper import ShipSettings
from gateway.shipping.shipping import Acknowledge, Shipping
from gateway.shipping.trimming import Trimmer
from gateway.sockets import open_sockets
from gateway.store.errors import StoreError
from gateway.store.folder import DataFolder
from gateway.store.segment import Segment
from gateway.store.store import Store, StoreSettings, clock_ms
from gateway.tls import Certificate
from mst.commit import Commit
from mst.errors import FormatError
from registry import credentials
from registry.space import SpaceKey

ROOT_USER = "root"
"""Display name of the user whose access key is made at the first start."""
WATCH_SECONDS = 1.0
REMIND_SECONDS = 60.0
"""How often the log says again that the store takes no more writes."""

log = structlog.get_logger(__name__)


class FolderIncomplete(StoreError):
    """A file that everything else in the data folder depends on is gone."""


class WrongKey(StoreError):
    """The space key is another than the one that signed what the folder has."""


class Gateway:
    """One server: a data folder that this process owns, and the S3 front on it.  Make it with `open`."""

    def __init__(self, config: Config, store: Store, key: SpaceKey, nursery: Nursery | None) -> None:
        self._config = config
        self._store = store
        self._key = key
        self._nursery = nursery

    @classmethod
    def open(
        cls,
        config: Config,
        progress: Callable[[Segment], None] | None = None,
        nursery: Nursery | None = None,
    ) -> Self:
        """Own the data folder, make what is missing at a first start, and recover the store.

        Args:
            config: the configuration.
            progress: called before each segment that recovery has to look through.
            nursery: where workers come from that answer the requests (`start_nursery`); without it this process does.

        Raises:
            ConfigError: the certificate or the storage node cannot be used, or an access key is set that the folder
                has already.
            FolderLocked: another process owns the folder.
            FolderIncomplete: the folder has data, but not the key or the registry that belongs to it.
            WrongKey: the folder's key is not the one that signed its buckets.
            StoreError, RegistryError, OSError: the folder cannot be used.
        """
        _report_certificate(config)
        raise_file_limit()
        folder = DataFolder(config.data_dir).create()
        folder.own()
        try:
            _require_whole(folder)
            key = SpaceKey.load_or_create(folder.key)
            if config.remote.is_set:
                open_client(config, key)  # what is wrong with it is said before anything is opened
            share = nursery is not None
            store = Store.open_for_writing(folder, key, _store_settings(config), progress=progress, share=share)
            try:
                _require_own_key(store, key)
                _require_keys(store, config)
            except BaseException:
                store.close()
                raise
        except BaseException:
            folder.release()
            raise
        _report(store)
        return cls(config, store, key, nursery)

    @property
    def is_empty(self) -> bool:
        """Whether there is no bucket yet."""
        return not self._store.buckets()

    async def serve(self, started: Callable[[str], None]) -> None:
        """Answer requests until SIGTERM or SIGINT, then finish those in progress; SIGHUP renews the certificate.

        Args:
            started: called with the endpoint's URL when requests are accepted.

        Raises:
            CannotListen: nothing can listen at the configured address.
            WorkersFailed: the processes that were to answer requests did not start.
        """
        config = self._config
        stop, hurry = asyncio.Event(), asyncio.Event()
        _on_signals(stop, hurry)
        sockets = open_sockets(config.listen, 1 if self._nursery is None else config.worker_count)
        listen = Listen(config.listen.host, sockets[0][0].getsockname()[1])
        endpoint = endpoint_of(listen, tls=config.tls.files is not None)
        async with self._shipping():
            answering = await self._answer(sockets)
            asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self._reload, answering)
            write_running(self._store.folder, Running(os.getpid(), endpoint, config.s3.region))
            log.info("serving", endpoint=endpoint, data_dir=str(config.data_dir), buckets=len(self._store.buckets()))
            started(endpoint)
            watch = asyncio.create_task(self._watch())
            await stop.wait()
            log.info("stopping")
            cut_off = await answering.stop(config.limits.shutdown_seconds, hurry)
            watch.cancel()
            if cut_off:
                log.warning("requests were cut off", count=cut_off)

    def close(self) -> None:
        """Finish what was submitted to the store and give the folder up."""
        if self._nursery is not None:
            self._nursery.close()
        self._store.close()
        forget_running(self._store.folder)
        self._store.folder.release()
        log.info("stopped")

    @asynccontextmanager
    async def _shipping(self) -> AsyncIterator[None]:
        """Ship to the configured storage node, and read there what is not here, if one is."""
        config = self._config
        if not config.remote.is_set:
            async with reading_beside(config, self._store, read_only=False):
                yield
            return
        settings = ShipSettings(config.ship.interval_seconds, config.ship.bytes, at_once=config.ack == "remote")
        acknowledge = Acknowledge(config.ship.timeout_seconds) if config.ack == "remote" else None
        async with open_client(config, self._key) as client:
            shipping = Shipping.start(self._store, self._key, NodeRemote(client), settings, acknowledge)
            try:
                async with reading(config, self._store, client, shipping.places), self._trimming(shipping.places):
                    yield
            finally:
                await shipping.stop()

    @asynccontextmanager
    async def _trimming(self, places: RemotePlaces) -> AsyncIterator[None]:
        """Keep local copies within what is configured."""
        cache = self._config.cache
        if cache.max_bytes is None:
            yield
            return
        kept = cache_of(self._config, self._store)
        trimmer = Trimmer(self._store, places, kept, cache.max_bytes, cache.trim_seconds)
        task = asyncio.create_task(trimmer.run())
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _answer(self, sockets: list[list[socket.socket]]) -> Service | Crew:
        """Have requests answered, by this process or by workers."""
        if self._nursery is None:
            service = Service(self._config, self._store)
            await service.start(sockets[0])
            return service
        crew = Crew(self._nursery, self._store, sockets)
        await crew.start()
        return crew

    def _reload(self, answering: Service | Crew) -> None:
        if self._config.tls.files is None:
            log.info("SIGHUP changes nothing without TLS: the configuration is read at the start only")
            return
        try:
            _report_certificate(self._config)
        except ConfigError as error:
            log.error("the certificate was not replaced", reason=str(error))
        else:
            answering.reload()

    async def _watch(self) -> None:
        """Say loudly, and again and again, that the store has become read-only."""
        while self._store.committer.failure is None:
            await asyncio.sleep(WATCH_SECONDS)
        while True:
            log.critical(
                "THE STORE TAKES NO MORE WRITES; reads go on. Check the disk, then restart the server",
                reason=self._store.committer.failure,
            )
            await asyncio.sleep(REMIND_SECONDS)


def start_nursery(config: Config) -> Nursery | None:
    """Where workers will come from, if the configuration wants any.

    To be called while the process has a single thread: before the event loop, and before the store is opened.
    """
    if config.worker_count == 1:
        return None
    raise_file_limit()  # workers have the limit that is in force now
    return Nursery.start(partial(worker.live, config, _store_settings(config)))


def _store_settings(config: Config) -> StoreSettings:
    return StoreSettings(
        segment_bytes=config.store.segment_bytes,
        inline_body_bytes=config.store.inline_body_bytes,
        reserve_free_bytes=config.store.reserve_free_bytes,
        node_cache_bytes=config.cache.node_bytes,
        keep_bulk=config.cache.max_bytes is None,
    )


def _require_whole(folder: DataFolder) -> None:
    """Refuse a folder that lost a file which a first start would make anew, empty."""
    if folder.recovering.exists() and not folder.registry.exists():
        raise FolderIncomplete(
            f"{folder.path} was being recovered and is not whole: run `ms3t recover` again, or remove all but"
            f" {folder.key.name}"
        )
    if folder.registry.exists() and not folder.key.exists():
        raise FolderIncomplete(
            f"{folder.key} is gone, and no other key can sign for these buckets: restore it from a backup"
        )
    if not _has_content(folder.registry) and any(folder.segments.iterdir()):
        raise FolderIncomplete(
            f"{folder.registry} is gone or empty, without which {folder.segments} seems empty: restore it from a backup"
        )


def _has_content(path: Path) -> bool:
    return path.exists() and path.stat().st_size > 0


def _require_own_key(store: Store, key: SpaceKey) -> None:
    """Refuse a key that would break the chain of commits: the newest one that can be read here tells whose it is.

    Raises:
        WrongKey: see there.
    """
    for bucket in sorted(store.buckets(), key=lambda bucket: bucket.head_time_ms, reverse=True):
        try:
            space = Commit.decode(store.blocks.read(bucket.commit)).space
        except (StoreError, FormatError):
            continue  # on the storage node alone, or damaged, which is told to whoever reads it
        if space != key.did:
            raise WrongKey(
                f"{store.folder.key} is another key than this folder had: bucket {bucket.name} is signed by {space},"
                f" this is {key.did}. Restore the folder's own {store.folder.key.name} from a backup"
            )
        return


def _require_keys(store: Store, config: Config) -> None:
    """Make the first access key where there is none.

    Raises:
        ConfigError: an access key is set that the folder has already.
    """
    with store.database.write() as connection:
        keys = {key.access_key for key in credentials.list_all(connection)}
        if not keys and not config.credentials:
            credentials.create(connection, display_name=ROOT_USER, now_ms=clock_ms())
    for configured in config.credentials:
        if configured.access_key in keys:
            raise ConfigError(
                f"credentials: {store.folder.path} has an access key {configured.access_key} already:"
                " remove it from credentials, or take another"
            )


def _report_certificate(config: Config) -> None:
    """Log what clients will be shown.

    Raises:
        ConfigError: it cannot be used.
    """
    if config.tls.files is None:
        return
    certificate = Certificate.read(config.tls.files)
    found = log.bind(file=str(config.tls.files.cert), expires=certificate.expires.isoformat(timespec="seconds"))
    if reason := certificate.why_refused():
        found.warning("clients will refuse the certificate", reason=reason)
    else:
        found.info("certificate read", names=", ".join(certificate.names))


def _report(store: Store) -> None:
    """Log what recovery found."""
    for finding in store.findings:
        found = log.bind(segment=finding.segment)
        if finding.damaged_at is not None:
            found.error("segment is damaged; what lies around the damage is served", at=finding.damaged_at)
        elif finding.torn_bytes:
            found.warning("cut the torn end off a segment, no answered write was in it", bytes=finding.torn_bytes)
        if finding.batches:
            found.info("indexed a segment anew", batches=finding.batches)


def _on_signals(stop: asyncio.Event, hurry: asyncio.Event) -> None:
    """Let the first SIGTERM or SIGINT set ``stop``, and a second one ``hurry``."""

    def signalled() -> None:
        (hurry if stop.is_set() else stop).set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signalled)
