"""The gateway's side of a storage node: blobs there and back, with nothing believed that is not signed or hashed.

Written against the protocol, not against the node in `gateway.node.server`; knows of blobs, digests, ranges and claims,
and of nothing that is in them.
Specs: https://github.com/storacha/specs (w3-blob, w3-index, w3-retrieval, content-claims)
"""

from gateway.node.client.breaker import State
from gateway.node.client.claims import Site
from gateway.node.client.client import NodeClient
from gateway.node.client.errors import (
    Misconfigured,
    NodeError,
    NodeLied,
    NodeRefused,
    NodeUnavailable,
    SourceDamaged,
)
from gateway.node.client.locating import Located
from gateway.node.client.ranges import Piece
from gateway.node.client.settings import Remote, Retries, Service, Timeouts
from gateway.node.client.transport import Observed, Observer
from gateway.node.client.uploading import Allocated, PublishedIndex, Source

__all__ = [
    "Allocated",
    "Located",
    "Misconfigured",
    "NodeClient",
    "NodeError",
    "NodeLied",
    "NodeRefused",
    "NodeUnavailable",
    "Observed",
    "Observer",
    "Piece",
    "PublishedIndex",
    "Remote",
    "Retries",
    "Service",
    "Site",
    "Source",
    "SourceDamaged",
    "State",
    "Timeouts",
]
