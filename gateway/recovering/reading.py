"""Blocks from the node of which some may not be had: which those are, and why."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gateway.node.client import NodeLied, NodeRefused
from gateway.shipping.reading import NodeBlocks
from gateway.store.errors import BlockMissing, RemoteUnavailable


class Missing(NamedTuple):
    """That a block cannot be had.

    Attributes:
        reason: why, for a person.
    """

    reason: str


async def fetch_each(blocks: NodeBlocks, digests: Sequence[bytes]) -> dict[bytes, bytes | Missing]:
    """The blocks with those SHA-256, each once; those that cannot be had are told from the others by asking again.

    Raises:
        RemoteUnavailable: the node cannot be asked now.
    """
    once = list(dict.fromkeys(digests))
    try:
        return dict(zip(once, await blocks.fetch(once), strict=True))
    except BlockMissing as error:
        reason = str(error)
    except RemoteUnavailable as error:
        if not isinstance(error.__cause__, NodeRefused | NodeLied):
            raise
        reason = str(error)
    if len(once) == 1:
        return {once[0]: Missing(reason)}
    middle = len(once) // 2
    return await fetch_each(blocks, once[:middle]) | await fetch_each(blocks, once[middle:])
