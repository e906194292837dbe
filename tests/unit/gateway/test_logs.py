"""What log messages look like."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from gateway.logs import set_up_logs


@pytest.fixture(autouse=True)
def _restore() -> Iterator[None]:
    root = logging.getLogger()
    before = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before
    structlog.reset_defaults()


def _log(message: str) -> None:
    logger = structlog.get_logger("gateway.test")
    logger.debug("not this")
    try:
        raise ValueError("inner")
    except ValueError:
        logger.exception(message, bucket="photos")
    logging.getLogger("asyncio").warning("of a library: %s", 1)
    logging.getLogger("alembic.runtime").info("nor this")


def test_json_is_one_object_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("info", "json")
    _log("failed\nhere")
    ours, theirs = map(json.loads, capsys.readouterr().err.splitlines())
    assert (ours["event"], ours["level"], ours["bucket"]) == ("failed\nhere", "error", "photos")
    assert ours["exception"][0]["exc_type"] == "ValueError"
    assert ours["timestamp"].endswith("Z")
    assert (theirs["event"], theirs["level"]) == ("of a library: 1", "warning")


def test_text_is_for_people(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_logs("warning", "text")
    _log("failed")
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "[error    ] failed" in captured.err
    assert "ValueError: inner" in captured.err
    assert "not this" not in captured.err
    assert "nor this" not in captured.err
    assert "\x1b" not in captured.err
