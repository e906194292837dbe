"""The errors of the client, which may have to go from one process to another."""

from __future__ import annotations

import pickle

import pytest

from gateway.node.client import Misconfigured, NodeError, NodeLied, NodeRefused, NodeUnavailable, SourceDamaged


@pytest.mark.parametrize(
    "error, text",
    [
        (NodeUnavailable("gone"), "gone"),
        (NodeUnavailable("busy", 2.5), "busy"),
        (NodeRefused("NotFound", "no such blob"), "NotFound: no such blob"),
        (NodeLied("wrong bytes"), "wrong bytes"),
        (SourceDamaged("wrong bytes"), "wrong bytes"),
        (Misconfigured("no grant"), "no grant"),
    ],
)
def test_an_error_says_the_same_in_another_process(error: NodeError, text: str) -> None:
    other = pickle.loads(pickle.dumps(error))
    assert type(other) is type(error)
    assert str(other) == str(error) == text
    assert vars(other) == vars(error)
