"""docs/cli.md has every verb, option, exit code and check, and nothing that does not exist."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from gateway.cli import VERBS, main
from gateway.cli.failure import ExitCode

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "cli.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^## (.+?)\n(.*?)(?=^## |\Z)", TEXT, re.MULTILINE | re.DOTALL))
SHARED = SECTIONS["What all verbs share"]


def _command(name: str) -> click.Command:
    """The command of that name, which is two words below a group."""
    command: click.Command | None = main
    for word in name.split():
        assert isinstance(command, click.Group)
        command = command.get_command(click.Context(command), word)
    assert command is not None
    return command


def _names() -> list[str]:
    """Every command that does something, in order."""
    names: list[str] = []
    for verb in VERBS:
        command = _command(verb)
        names += [f"{verb} {word}" for word in command.commands] if isinstance(command, click.Group) else [verb]
    return names


NAMES = _names()


def _options(verb: str) -> set[str]:
    names: set[str] = set()
    for parameter in _command(verb).params:
        if isinstance(parameter, click.Option):
            names |= {*parameter.opts, *parameter.secondary_opts}
    return names


def _documented(section: str) -> set[str]:
    """Options in the first column of a section's tables."""
    rows = re.findall(r"^\| (`-.*?) \|", section, re.MULTILINE)
    return {name for row in rows for name in re.findall(r"`(--?[a-z][a-z0-9-]*)", row)}


def test_every_verb_has_a_section_in_order() -> None:
    assert [name for name in SECTIONS if name.startswith("ms3t ")] == [f"ms3t {name}" for name in NAMES]
    table = re.findall(r"^\| \[([a-z ]+)\]\(#(ms3t-[a-z-]+)\)", TEXT, re.MULTILINE)
    assert table == [(name, f"ms3t {name}".replace(" ", "-")) for name in NAMES]


@pytest.mark.parametrize("verb", NAMES)
def test_every_option_is_documented_and_every_documented_one_exists(verb: str) -> None:
    own = _documented(SECTIONS[f"ms3t {verb}"])
    shared = _documented(SHARED) - {"-h", "--help"}
    assert _options(verb) - shared == own
    without = {"serve": {"--json"}, "node serve": {"--config"}, "node grant": {"--config"}}
    assert shared - _options(verb) == without.get(verb, set())


@pytest.mark.parametrize("verb", NAMES)
def test_every_verb_shows_output_and_has_examples_in_its_help(verb: str) -> None:
    assert f"$ ms3t {verb}" in SECTIONS[f"ms3t {verb}"]
    help_text = _command(verb).help or ""
    assert "Examples:\n" in help_text
    assert f"ms3t {verb}" in help_text.split("Examples:\n")[1]
    # The list of verbs shows the first line, whole.
    assert len(help_text.splitlines()[0]) <= 60


@pytest.mark.parametrize("verb", NAMES)
def test_examples_in_help_use_options_that_exist(verb: str) -> None:
    examples = (_command(verb).help or "").split("Examples:\n")[1]
    used = set(re.findall(r"(?<![\w-])(--[a-z][a-z-]*|-[a-z])(?= |$|\))", examples.split("|")[0], re.MULTILINE))
    assert used <= _options(verb) | {"-r"}


def test_exit_codes() -> None:
    table = re.findall(r"^\| (\d) \|", SHARED, re.MULTILINE)
    assert [int(code) for code in table] == [code.value for code in ExitCode]


def test_every_check_of_doctor() -> None:
    sources = (REPOSITORY / "gateway" / "checks").glob("*.py")
    code = "\n".join(path.read_text(encoding="utf-8") for path in sources)
    code += (REPOSITORY / "gateway" / "cli" / "doctor.py").read_text(encoding="utf-8")
    made = set(re.findall(r"\b(?:ok|warn|fail)\(\s*\"([A-Za-z ]+)\"", code))
    table = re.findall(r"^\| ([A-Za-z ]+?) \| ", SECTIONS["ms3t doctor"], re.MULTILINE)
    assert set(table) - {"check"} == made
