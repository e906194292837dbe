"""A gateway made of the public packages stores on a storage node of ours, and reads from it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from registry.ucan.signing import KeySigner
from tests.node_process import NodeProcess

pytestmark = pytest.mark.interop

SPACE, AGENT = KeySigner(b"\x01" * 32), KeySigner(b"\x02" * 32)


def test_everything_it_does(script: Callable[..., bytes], tmp_path: Path) -> None:
    node = NodeProcess(tmp_path / "node")
    try:
        grant = node.grant(AGENT.did)
        script("gateway.js", node.ready["url"], node.ready["did"], grant, SPACE.to_text(), AGENT.to_text())
    finally:
        assert node.stop() == 0
