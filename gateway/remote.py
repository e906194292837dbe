"""The configured storage node: from the configuration to a client that speaks to it, and a store that reads there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing

from gateway.config import Config, ConfigError
from gateway.node.client import Misconfigured, NodeClient, Remote, Service
from gateway.shipping.places import RemotePlaces
from gateway.shipping.reading import NobodyToAsk, NodeBlocks
from gateway.store.cache import BlockCache
from gateway.store.far import RemoteBlocks
from gateway.store.store import Store
from registry.key_file import KeyFileError
from registry.space import SpaceKey
from registry.ucan.did import DID


def open_client(config: Config, key: SpaceKey) -> NodeClient:
    """A client of the configured storage node, not connected yet.

    Args:
        config: the configuration, with a remote.
        key: the space's key, which the node's permission must be for.

    Raises:
        ConfigError: address, name and permission of the node do not fit together, or not this space; or there is none.
    """
    remote = config.remote
    if not remote.is_set:
        raise ConfigError("no storage node is configured: name the configuration that has the remote, with --config")
    indexer = Service(remote.indexer_url, DID(remote.indexer_did)) if remote.indexer_url else None
    try:
        return NodeClient(
            Remote(node=Service(remote.url, DID(remote.did)), grant=remote.proof, space=key, indexer=indexer)
        )
    except Misconfigured as error:
        raise ConfigError(f"remote: {error}") from error


@asynccontextmanager
async def reading(config: Config, store: Store, client: NodeClient, places: RemotePlaces) -> AsyncIterator[None]:
    """Have a store read from the storage node what is not here.

    Args:
        config: the configuration, with a remote.
        store: the store.
        client: speaks to the node.
        places: where blocks lie there.
    """
    async with _reading_from(store, NodeBlocks(client, store.database, places), cache_of(config, store)):
        yield


@asynccontextmanager
async def reading_beside(config: Config, store: Store, *, read_only: bool) -> AsyncIterator[RemotePlaces | None]:
    """Have a store from which nothing is shipped here read from the storage node what is not here.

    Where nobody can be asked, for want of configuration or key, all the rest is read as ever.

    Args:
        config: the configuration, with a remote or without.
        store: the store.
        read_only: leave the data folder as it is: keep nothing that comes from the node.

    Yields:
        Where blocks lie on the node; None if nothing was ever shipped.

    Raises:
        IndexUnusable: the locations of blocks on the node cannot be opened.
    """
    if not store.folder.remote.exists():
        yield None
        return
    async with AsyncExitStack() as opened:
        places = opened.enter_context(closing(RemotePlaces.open(store.folder.remote, read_only=True)))
        remote: RemoteBlocks
        try:
            client = open_client(config, SpaceKey.load(store.folder.key))
        except (ConfigError, KeyFileError) as error:
            remote = NobodyToAsk(places, str(error))
        else:
            remote = NodeBlocks(await opened.enter_async_context(client), store.database, places)
        cache = cache_of(config, store, read_only=read_only)
        await opened.enter_async_context(_reading_from(store, remote, cache))
        yield places


@asynccontextmanager
async def _reading_from(store: Store, remote: RemoteBlocks, cache: BlockCache | None) -> AsyncIterator[None]:
    far = store.read_from_afar(remote, cache)
    try:
        yield
    finally:
        await far.close()


def cache_of(config: Config, store: Store, *, read_only: bool = False) -> BlockCache | None:
    """Where blocks from the storage node are kept, unless nothing is to be kept here."""
    return None if config.cache.max_bytes == 0 else BlockCache(store.folder.cache, read_only=read_only)
