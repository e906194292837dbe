"""Checks that the configured storage node can be used, and that what is shipped is not far behind."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

from gateway.checks.result import Result, fail, ok, warn
from gateway.config import Config, ConfigError
from gateway.node.client import NodeError, NodeUnavailable
from gateway.remote import open_client
from gateway.store.store import Store
from mst.manifest import beacon
from registry import shipments
from registry.space import SpaceKey

_ASK = "ask the operator of the node for its address, its DID and what `ms3t node grant {did}` prints"


def check_node(config: Config, key: SpaceKey) -> Iterator[Result]:
    """Whether address, name and permission of the node fit together and this space, and whether it answers.

    Args:
        config: the configuration, with a remote.
        key: the space's key.
    """
    try:
        is_known = asyncio.run(_is_known(config, key))
    except ConfigError as error:
        yield fail("storage node", str(error), _ASK.format(did=key.did))
    except NodeUnavailable as error:
        yield fail("storage node", f"{config.remote.url} does not answer: {error}", "start it, or correct remote.url")
    except NodeError as error:
        yield fail("storage node", f"{config.remote.url}: {error}", _ASK.format(did=key.did))
    else:
        known = "knows shipments of this space" if is_known else "knows no shipment of this space yet"
        yield ok("storage node", f"{config.remote.url} answers, and {known}")


async def _is_known(config: Config, key: SpaceKey) -> bool:
    """Whether the node's indexer knows of a shipment of the space: a question that needs everything to be right."""
    async with open_client(config, key) as client:
        return bool((await client.locate([beacon(key.did, 1).cid.digest])).indexes)


def check_shipped(store: Store) -> Iterator[Result]:
    """Whether everything is on the storage node, as far as this folder knows."""
    with store.database.read() as connection:
        unfinished = shipments.unfinished(connection)
    behind = [bucket.name for bucket in store.buckets() if bucket.shipped != bucket.commit]
    if unfinished is not None:
        yield warn("shipping", f"shipment {unfinished.number} is under way", "start the server, which goes on with it")
    elif behind:
        yield warn("shipping", f"not wholly on the storage node: {', '.join(behind)}", "`ms3t roots` says how far")
    else:
        yield ok("shipping", "everything is on the storage node")
