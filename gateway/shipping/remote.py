"""What shipping asks of the place that shards are shipped to, whatever speaks to it: two calls, each for many blobs.

Either may be repeated, also after one whose answer was lost.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple, Protocol

from mst.cid import Link


class RemoteError(Exception):
    """The remote did not do what it was asked; the message says why, for the person who runs the gateway."""


class NotAccepted(RemoteError):
    """The remote does not promise to keep what was uploaded: it has not got it any more, say.  It is to be uploaded
    again, which costs little for what is there."""


class Blob(NamedTuple):
    """Bytes to be stored.

    Attributes:
        digest: their SHA-256.
        size_bytes: their number.
        pieces: reads them from the beginning, as often as it is called; blocking.
    """

    digest: bytes
    size_bytes: int
    pieces: Callable[[], Iterator[bytes]]


class Index(NamedTuple):
    """A blob that says what is in another, for everybody to find.

    Attributes:
        content: what it is the index of.
        blob: itself.
    """

    content: Link
    blob: Blob


class Remote(Protocol):
    """Somewhere that keeps blobs.  What it answers about each is bytes to keep that it alone understands."""

    async def upload(self, blobs: Sequence[Blob]) -> list[bytes]:
        """Give it the bytes of blobs, where it has not got them.  It may drop them after a while.

        Returns:
            For each blob, in order, what `accept` needs.

        Raises:
            RemoteError: it has not got all of them.
        """

    async def accept(self, uploaded: Sequence[tuple[Blob, bytes]], indexes: Sequence[Index]) -> list[bytes]:
        """Have it promise to keep blobs, and make indexes that are among them known.

        Args:
            uploaded: the blobs, each with what `upload` answered about it.
            indexes: the indexes.

        Returns:
            For each blob, in order, the promise, verified.

        Raises:
            NotAccepted: see there.
            RemoteError: it has not promised to keep all of them, or not made all indexes known.
        """
