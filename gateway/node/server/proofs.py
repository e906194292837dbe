"""Proofs that came in earlier requests: a chain too long for one header arrives one UCAN at a time."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from threading import Lock

from mst.cid import Link
from registry.ucan.limits import TOKEN_BYTES_MAX

KEPT_SECONDS = 600
"""How long a proof is kept."""
CACHE_BYTES_MAX = 16 * 1024 * 1024
"""Most bytes of proofs that are kept; the oldest go first."""


class ProofCache:
    """Blocks by their CIDs.  Nobody can put wrong ones in: a block is what its CID says."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._blocks: OrderedDict[Link, tuple[int, bytes]] = OrderedDict()
        self._size = 0

    def get(self, cids: Iterable[Link], now_s: int) -> dict[Link, bytes]:
        """Those of ``cids`` that are kept."""
        with self._lock:
            self._forget(now_s)
            return {cid: self._blocks[cid][1] for cid in cids if cid in self._blocks}

    def add(self, blocks: Iterable[tuple[Link, bytes]], now_s: int) -> None:
        """Keep blocks; those that are too large to be UCANs are left out."""
        with self._lock:
            for cid, data in blocks:
                if len(data) <= TOKEN_BYTES_MAX and cid not in self._blocks:
                    self._blocks[cid] = (now_s + KEPT_SECONDS, data)
                    self._size += len(data)
            self._forget(now_s)

    def _forget(self, now_s: int) -> None:
        while self._blocks:
            expires_s, data = next(iter(self._blocks.values()))
            if expires_s > now_s and self._size <= CACHE_BYTES_MAX:
                break
            self._blocks.popitem(last=False)
            self._size -= len(data)
