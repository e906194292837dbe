"""The configured storage node: from the configuration to a client that speaks to it, and a store that reads there."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from gateway.config import Config, ConfigError
from gateway.node.client import Misconfigured, NodeClient, Remote, Service
from gateway.shipping.places import RemotePlaces
from gateway.shipping.reading import NodeBlocks
from gateway.store.cache import BlockCache
from gateway.store.store import Store
from registry.space import SpaceKey
from registry.ucan.did import DID


def open_client(config: Config, key: SpaceKey) -> NodeClient:
    """A client of the configured storage node, not connected yet.

    Args:
        config: the configuration, with a remote.
        key: the space's key, which the node's permission must be for.

    Raises:
        ConfigError: address, name and permission of the node do not fit together, or not this space.
    """
    remote = config.remote
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
    far = store.read_from_afar(NodeBlocks(client, store.database, places), cache_of(config, store))
    try:
        yield
    finally:
        await far.close()


def cache_of(config: Config, store: Store) -> BlockCache | None:
    """Where blocks from the storage node are kept, unless nothing is to be kept here."""
    return None if config.cache.max_bytes == 0 else BlockCache(store.folder.cache)
