"""Questions to an indexer whose answers may leave something out, because an indexer bounds them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final, Protocol

from gateway.node.client import Located, NodeClient

DIGESTS_AT_ONCE: Final = 64
"""How many blocks and blobs are asked for at once; their indexes are in memory together."""


class Progress(Protocol):
    """Is told how far something has come."""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """``done`` of ``total``, if that is known, of what is called so."""


async def answers(
    client: NodeClient, digests: Sequence[bytes], is_answered: Callable[[Located, bytes], bool]
) -> AsyncGenerator[Located, None]:
    """What is known of blobs and blocks; what was left out is asked for again while that brings something.

    Args:
        client: speaks to the indexer.
        digests: of what, at most ``DIGESTS_AT_ONCE``.
        is_answered: whether an answer says of one of them all that is wanted.

    Raises:
        NodeError: see `NodeClient.locate`.
    """
    missing = list(digests)
    while missing:
        located = await client.locate(missing)
        yield located
        left = [digest for digest in missing if not is_answered(located, digest)]
        if len(left) == len(missing):
            return
        missing = left
