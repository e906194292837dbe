"""Documents lead somewhere: links, files and tests they name exist, and each has one title."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.asked_for import MARKERS

REPOSITORY = Path(__file__).resolve().parents[2]
DOCUMENTS = sorted(
    path.relative_to(REPOSITORY).as_posix() for path in (*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"))
)
COLUMNS_MAX = 120

_FENCE = re.compile(r"^```.*?^```$", re.DOTALL | re.MULTILINE)
_LINK = re.compile(r"\[[^\]\n]*\]\(([^)\s]+)\)")
_NAMED = re.compile(r"`((?:bench|docs|gateway|mst|registry|tests)/[\w./-]+?)(?:::(\w+))?`")


def prose(document: str) -> str:
    """The text without code blocks."""
    return _FENCE.sub("", (REPOSITORY / document).read_text(encoding="utf-8"))


def anchors(path: Path) -> set[str]:
    """The anchors that the headings of a document get."""
    headings = re.findall(r"^#+ (.*)$", _FENCE.sub("", path.read_text(encoding="utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_has_one_title_and_it_comes_first(document: str) -> None:
    titles = [line for line in prose(document).splitlines() if line.startswith("# ")]
    assert len(titles) == 1
    assert prose(document).startswith(titles[0])


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    for link in _LINK.findall(prose(document)):
        if link.startswith(("http://", "https://")):
            continue
        name, _, anchor = link.partition("#")
        target = (REPOSITORY / document).parent / name if name else REPOSITORY / document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target), link


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_and_tests_that_are_named_exist(document: str) -> None:
    for name, function in _NAMED.findall(prose(document)):
        assert (REPOSITORY / name).exists(), name
        if function:
            assert f"def {function}(" in (REPOSITORY / name).read_text(encoding="utf-8"), f"{name}::{function}"


@pytest.mark.parametrize("document", DOCUMENTS)
def test_lines_fit(document: str) -> None:
    text = prose(document).splitlines()
    assert not [line for line in text if len(line) > COLUMNS_MAX and not line.startswith("|") and "](" not in line]


def test_decisions_are_numbered_without_gaps_and_listed() -> None:
    decisions = sorted((REPOSITORY / "docs" / "decisions").glob("*.md"))
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    for number, path in enumerate(decisions, 1):
        assert path.name.startswith(f"{number:04d}-")
        title = path.read_text(encoding="utf-8").splitlines()[0]
        assert title.startswith(f"# {number}. ")
        assert f"(decisions/{path.name})" in index


def test_every_document_is_in_the_index() -> None:
    index = (REPOSITORY / "docs" / "README.md").read_text(encoding="utf-8")
    listed = {(REPOSITORY / "docs" / link.partition("#")[0]).resolve() for link in _LINK.findall(index)}
    assert not [name for name in DOCUMENTS if (REPOSITORY / name).resolve() not in listed and name != "docs/README.md"]


@pytest.mark.parametrize("document", DOCUMENTS)
def test_numbered_headings_count_up(document: str) -> None:
    numbers = re.findall(r"^### (\d+)\. ", prose(document), re.MULTILINE)
    assert numbers == [str(number) for number in range(1, len(numbers) + 1)]


@pytest.mark.parametrize("document", ["CONTRIBUTING.md", "docs/promises.md"])
def test_what_the_ordinary_tests_leave_out_is_named(document: str) -> None:
    assert {marker for marker in MARKERS if f"`{marker}`" in prose(document)} == set(MARKERS)
