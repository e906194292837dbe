"""Sizes, times and keys as people read them."""

from __future__ import annotations

import io
import json
import sys

import pytest

from gateway.cli import VERBS, main
from gateway.cli.failure import Failure
from gateway.cli.output import JsonArray, printable, show_json, size_text, time_json, time_text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1.0 KiB"),
        (1536, "1.5 KiB"),
        (1024**2 - 1, "1.0 MiB"),
        (1024**2, "1.0 MiB"),
        (5 * 1024**3, "5.0 GiB"),
        (1024**5, "1.0 PiB"),
        (2**63 - 1, "8192.0 PiB"),
    ],
)
def test_sizes(size: int, text: str) -> None:
    assert size_text(size) == text


def test_times(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "Asia/Kolkata")
    time.tzset()
    try:
        assert time_text(1_700_000_000_999) == "2023-11-15T03:43:20+05:30"
        assert time_json(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"
    finally:
        monkeypatch.undo()
        time.tzset()
    assert time_text(2**63 - 1) == time_json(2**63 - 1) == "9223372036854775807 ms"
    assert time_json(253_402_300_799_999) == "9999-12-31T23:59:59.999Z"


def test_what_steers_a_terminal_is_escaped() -> None:
    assert printable("a b/ü😀") == "a b/ü😀"
    assert Failure("no bucket \x1b[2J\n").message == "no bucket \\x1b[2J\\n"
    assert printable("\x1b[2J\n\x7f\u202e\x00") == "\\x1b[2J\\n\\x7f\\u202e\\x00"


def test_a_json_array_that_failed_is_not_whole(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ValueError, match="stop"), JsonArray() as array:
        array.add({"a": 1})
        raise ValueError("stop")
    assert capsys.readouterr().out == '[{"a": 1}'


@pytest.mark.parametrize("encoding", ["utf-8", "ascii", "latin-1"])
def test_json_can_be_read_whatever_standard_output_takes(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    value = {"key": "naïve ✓ 😀 \x1b"}
    out = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(out, encoding, errors="backslashreplace"))
    show_json(value)
    with JsonArray() as array:
        array.add(value)
    sys.stdout.flush()
    document, listed = out.getvalue().decode(encoding).split("}\n", 1)
    assert json.loads(document + "}") == value
    assert json.loads(listed) == [value]
    assert ("naïve ✓ 😀" in document) is (encoding == "utf-8")


def test_every_verb_can_be_loaded() -> None:
    import click

    context = click.Context(main)
    assert isinstance(main, click.Group)
    assert main.list_commands(context) == list(VERBS)
    for name in VERBS:
        command = main.get_command(context, name)
        assert command is not None
        assert command.name == name
        assert command.get_short_help_str(200) == VERBS[name]
    assert main.get_command(context, "output") is None
