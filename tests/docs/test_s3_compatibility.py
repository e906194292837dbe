"""docs/s3-compatibility.md has every operation of the S3 API once, and says of each what the server does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import botocore.loaders
import pytest

from gateway.s3.errors import S3Error
from gateway.s3.headers import Headers
from gateway.s3.routes import ROUTES, SUBRESOURCES, find_route
from gateway.s3.target import parse_target
from gateway.s3.unconfigured import ABSENT
from gateway.s3.unsupported import ONLY, PREFIXES

REPOSITORY = Path(__file__).resolve().parents[2]
TEXT = (REPOSITORY / "docs" / "s3-compatibility.md").read_text(encoding="utf-8")
SECTIONS = dict(re.findall(r"^#+ (.+?)\n(.*?)(?=^#+ |\Z)", TEXT, re.MULTILINE | re.DOTALL))
ANSWERED = SECTIONS["Answered for a bucket where it is not configured"]
SUPPORTED, UNCONFIGURED, MISSING = (
    re.findall(r"^\| ([A-Z]\w+) \|", section, re.MULTILINE)
    for section in (SECTIONS["Supported"], ANSWERED, SECTIONS["Not implemented"])
)
MODEL: dict[str, Any] = botocore.loaders.Loader().load_service_model("s3", "service-2")
SHAPES = MODEL["shapes"]
API = {name: operation for name, operation in MODEL["operations"].items() if not operation.get("deprecated")}
OTHER_ENDPOINTS = {"ListDirectoryBuckets", "WriteGetObjectResponse"}
SUITE = "The public conformance suite"
IGNORED = {"x-id", "select-type"}
"""Query parameters of operations that name no sub-resource."""
COMPUTED = ("x-amz-checksum-", "x-amz-copy-source-if-")
"""Headers whose names the code puts together."""
HARMLESS = {
    "content-length",
    "x-amz-bypass-governance-retention",  # nothing is retained
    "x-amz-mfa",  # nothing asks for it
    "x-amz-object-annotation-directive",  # nothing is annotated
    "x-amz-request-payer",  # nobody pays
    "x-amz-sdk-checksum-algorithm",  # repeats what the checksum's own header says
}


def target_of(operation: str) -> str:
    uri: str = API[operation]["http"]["requestUri"]
    return uri.replace("{Bucket}", "bucket").replace("{Key+}", "key")


def test_each_operation_of_the_api_is_there_once() -> None:
    assert sorted(SUPPORTED + UNCONFIGURED + MISSING) == sorted(API.keys() - OTHER_ENDPOINTS)
    assert all(name in SECTIONS["Not implemented"] for name in OTHER_ENDPOINTS)


def test_what_is_supported_is_what_the_routes_have() -> None:
    unconfigured = {name for absent in ABSENT for name in (absent.reads, absent.deletes) if name}
    assert set(UNCONFIGURED) == unconfigured
    assert set(SUPPORTED) == {route.operation for route in ROUTES.values()} - unconfigured


@pytest.mark.parametrize("operation", MISSING)
def test_what_is_not_implemented_has_no_route(operation: str) -> None:
    with pytest.raises(S3Error, match="NotImplemented"):
        find_route(API[operation]["http"]["method"], parse_target(target_of(operation), None), Headers({}))


def test_answers_of_what_is_not_configured() -> None:
    rows = dict(re.findall(r"^\| (\w+) \| 404 `(\w+)` \|", ANSWERED, re.MULTILINE))
    assert rows == {absent.reads: absent.code for absent in ABSENT if absent.code}


def test_no_subresource_of_the_api_is_taken_for_the_bucket_or_object() -> None:
    """An unknown one would be ignored, and a PUT of it would replace the object."""
    for operation in API.keys() - OTHER_ENDPOINTS:
        assert parse_target(target_of(operation), None).query.keys() - IGNORED <= SUBRESOURCES, operation


def test_no_header_of_the_api_is_ignored_unnoticed() -> None:
    """Each is read somewhere, refused, or known to ask for nothing that could fail to happen."""
    sources = "\n".join(path.read_text(encoding="utf-8") for path in (REPOSITORY / "gateway" / "s3").rglob("*.py"))
    for operation in {route.operation for route in ROUTES.values()} & API.keys():
        shape = API[operation].get("input", {}).get("shape")
        for member in SHAPES[shape]["members"].values() if shape else ():
            header = member.get("locationName", "").lower()
            if member.get("location") != "header" or header.startswith((*COMPUTED, *PREFIXES)):
                continue
            assert header in HARMLESS or re.search(rf'"{header}"', sources, re.IGNORECASE), (operation, header)


def test_refused_headers() -> None:
    rows = re.findall(r"^\| `(x-amz-[a-z-]+)\*` \|", SECTIONS["Headers that are not implemented"], re.MULTILINE)
    assert rows == list(PREFIXES)
    only = re.findall(r"^\| `(x-amz-[a-z-]+)` but (.*?) \|", SECTIONS["Headers that are not implemented"], re.MULTILINE)
    assert [(name, values.split(", ")) for name, values in only] == [
        (name, [f"`{value}`" for value in sorted(values)]) for name, values in ONLY.items()
    ]


def test_every_row_names_a_test() -> None:
    """That these exist is looked at for every document, in test_markdown.py."""
    others = {"Headers that are not implemented", SUITE, "Why tests in scope fail"}
    tables = [section for title, section in SECTIONS.items() if title not in others]
    rows = [row for table in tables for row in re.findall(r"^\| (?!-|operation|what)(.*) \|$", table, re.MULTILINE)]
    assert len(rows) > len(API)
    assert not [row for row in rows if re.search(r"`tests/[\w./]+::test_\w+`$", row) is None]


def test_results_of_the_conformance_suite_add_up() -> None:
    tables = re.findall(r"^(?:\|.*\n)+", SECTIONS[SUITE], re.MULTILINE)
    assert len(tables) == 2
    for table in tables:
        *areas, total = [list(map(int, row)) for row in re.findall(r"\| (\d+) " * 4, table)]
        assert [sum(column) for column in zip(*areas, strict=True)] == total
        assert all(tests == passed + failed + skipped for tests, passed, failed, skipped in [*areas, total])
