"""Damaged requests of every operation against the running server.  `make fuzz` sends more."""

from __future__ import annotations

from pathlib import Path

from gateway.s3.routes import ROUTES
from tests.fuzz.requests import drafts, fuzz
from tests.servers import running

REQUESTS = 400


def test_any_request_gets_an_answer_that_blames_the_client(tmp_path: Path) -> None:
    with running(tmp_path, config={"limits": {"body_idle_seconds": 1}}) as server:
        statuses = fuzz(server, range(REQUESTS))
    # Damage that nothing accepts would not reach far.
    assert statuses[200] > REQUESTS // 10, statuses
    assert None not in statuses


def test_every_operation_has_a_good_request() -> None:
    assert len(list(drafts("upload"))) == len(ROUTES)
