"""The keys of the vectors, and what the tests here say again and again."""

from __future__ import annotations

import json
from base64 import b64decode
from pathlib import Path
from types import SimpleNamespace

import pytest

from registry.ucan.signing import KeySigner

NOW = 1_800_000_000
"""A time before the vectors expire, seconds since 1970."""


@pytest.fixture(scope="session")
def seeded(vectors: Path) -> dict[str, bytes]:
    """The blocks and files that public JS libraries made from seeded keys, by name."""
    found = json.loads((vectors / "ucan_vectors.json").read_text())["js_seeded"]
    return {
        name: b64decode(value if isinstance(value, str) else value["bytes"])
        for name, value in found.items()
        if name not in ("dids", "keys", "query")
    } | {"query": b64decode(found["query"]["archive"])}


@pytest.fixture(scope="session")
def cids(vectors: Path) -> dict[str, str]:
    """The CIDs of those blocks, by name."""
    found = json.loads((vectors / "ucan_vectors.json").read_text())["js_seeded"]
    return {name: value["cid"] for name, value in found.items() if "cid" in value}


@pytest.fixture(scope="session")
def keys() -> SimpleNamespace:
    """The seeded keys, and ``other``."""
    names = ("space", "agent", "node", "indexer", "other")
    return SimpleNamespace(**{name: KeySigner(bytes([n]) * 32) for n, name in enumerate(names, 1)})


@pytest.fixture
def now() -> int:
    return NOW
