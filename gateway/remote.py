"""The configured storage node: from the configuration to a client that speaks to it."""

from __future__ import annotations

from gateway.config import Config, ConfigError
from gateway.node.client import Misconfigured, NodeClient, Remote, Service
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
