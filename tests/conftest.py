"""What every test may use: folders of test vectors, trees held in memory, a signer of S3 requests that is not ours,
Hypothesis's effort.

``HYPOTHESIS_PROFILE=deep`` makes every property test search a hundred times as long.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import pytest
from hypothesis import settings

from mst import node, tree
from mst.cid import CID, DAG_CBOR
from mst.fetch import Fetch, Result, drive
from mst.layer import TreeParams
from mst.node import Node
from mst.walk import Walk
from tests import asked_for, signing
from tests.signing import SignedRequest

REPOSITORY = Path(__file__).resolve().parents[1]
THIRD_PARTY = REPOSITORY.parent / "shared" / "vectors" / "third-party"
"""Vectors that others published, kept beside the checkout and not in it."""

# Tests start hundreds of processes: each would compile the project anew.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# No deadline: a shared or slow machine is not a failure of the code.
settings.register_profile("ci", max_examples=100, deadline=None)
settings.register_profile("deep", max_examples=10_000, deadline=None)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


def pytest_configure(config: pytest.Config) -> None:
    for marker, what in asked_for.MARKERS.items():
        config.addinivalue_line("markers", f"{marker}: {what}; only with -m {marker}")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what has to be asked for, unless the marker expression names it."""
    asked_for.leave_out((one for one in asked_for.MARKERS if one not in config.option.markexpr), config, items)


@pytest.fixture(scope="session")
def vectors() -> Path:
    """The project's own vectors."""
    return REPOSITORY / "tests" / "vectors"


@pytest.fixture(scope="session")
def third_party() -> Callable[[str], Path]:
    """A function from a path among others' vectors to the file; skips the test where they are not."""

    def find(path: str) -> Path:
        if not THIRD_PARTY.is_dir():
            pytest.skip("the third-party vectors are not beside this checkout")
        return THIRD_PARTY / path

    return find


class TreeStore:
    """Tree nodes in a dictionary: applies changes, reads back, counts the rounds of fetching that it took.

    Every new node is checked: its CID is that of its bytes, and its bytes decode to it.
    """

    def __init__(self, params: TreeParams, blocks: Mapping[CID, bytes] | None = None) -> None:
        self.params = params
        self.blocks = {tree.EMPTY_ROOT: tree.EMPTY_BLOCK, **(blocks or {})}
        self.rounds = 0
        self.fetched: list[CID] = []

    def load(self, cids: Sequence[CID]) -> list[Node]:
        """Answer one round of fetching."""
        self.rounds += 1
        self.fetched += cids
        return [node.decode(self.blocks[cid], self.params) for cid in cids]

    def drive(self, fetch: Fetch[Node, Result]) -> Result:
        """Run a sans-IO algorithm on what is stored, counting from zero."""
        self.rounds = 0
        self.fetched = []
        return drive(fetch, self.load)

    def apply(self, root: CID, edits: Mapping[bytes, bytes | None]) -> tree.Applied:
        """Apply ``edits`` and store the new nodes."""
        applied = self.drive(tree.apply(self.params, root, edits))
        for new in applied.nodes:
            assert CID.of(DAG_CBOR, new.data) == new.cid
            assert node.decode(new.data, self.params) == new.node
            self.blocks[new.cid] = new.data
        return applied

    def build(self, pairs: Mapping[bytes, bytes]) -> CID:
        """The root of the tree of ``pairs``."""
        return self.apply(tree.EMPTY_ROOT, pairs).root

    def get(self, root: CID, key: bytes) -> bytes | None:
        return self.drive(tree.get(self.params, root, key))

    def get_many(self, root: CID, keys: Iterable[bytes]) -> dict[bytes, bytes]:
        return self.drive(tree.get_many(self.params, root, keys))

    def pairs(self, root: CID, start: bytes = b"") -> list[tuple[bytes, bytes]]:
        """What a walk from ``start`` on meets."""
        walk = Walk(self.params, root)
        self.drive(walk.seek(start))
        found: list[tuple[bytes, bytes]] = []
        while run := self.drive(walk.run()):
            assert len(run.keys) == len(run.values) > 0
            found += zip(run.keys, run.values, strict=True)
        return found

    def reachable(self, root: CID) -> set[CID]:
        """Every node of the tree."""
        seen: set[CID] = set()
        waiting = [root]
        while waiting:
            cid = waiting.pop()
            seen.add(cid)
            waiting += [child for child in node.decode(self.blocks[cid], self.params).children if child]
        return seen


@pytest.fixture(scope="session")
def tree_store() -> type[TreeStore]:
    """A class that holds trees in memory; see there."""
    return TreeStore


@pytest.fixture(scope="session")
def sign_request() -> Callable[..., SignedRequest]:
    """`tests.signing.sign_request`."""
    return signing.sign_request
