"""The error table and its XML."""

from __future__ import annotations

import ast
from pathlib import Path
from xml.etree import ElementTree

import pytest

import gateway
from gateway.s3.errors import CODES, S3Error

SOURCES = sorted(Path(gateway.__file__).parent.rglob("*.py"))


def test_document_has_what_sdks_read() -> None:
    document = S3Error("NoSuchKey", Key="a<b>&c").document(resource="/b/a<b>&c", request_id="4EXAMPLE")
    root = ElementTree.fromstring(document)
    assert root.tag == "Error"
    assert [(child.tag, child.text) for child in root] == [
        ("Code", "NoSuchKey"),
        ("Message", "The specified key does not exist."),
        ("Key", "a<b>&c"),
        ("Resource", "/b/a<b>&c"),
        ("RequestId", "4EXAMPLE"),
    ]


def test_message_and_fields_can_be_given() -> None:
    error = S3Error("InvalidRange", "too far", ActualObjectSize=3, RangeRequested="bytes=9-")
    assert (error.status, error.message, str(error)) == (416, "too far", "InvalidRange: too far")
    assert error.fields == {"ActualObjectSize": 3, "RangeRequested": "bytes=9-"}


def test_headers_ride_along() -> None:
    error = S3Error("NotModified").with_headers({"ETag": '"x"'})
    assert error.headers == {"ETag": '"x"'}
    assert S3Error("NotModified").headers == {}


def test_not_modified_has_no_body() -> None:
    assert S3Error("NotModified").document(resource="/", request_id="1") == b""


@pytest.mark.parametrize(("code", "status"), [("NotImplemented", 501), ("InsufficientStorage", 507)])
def test_statuses_that_decide_what_clients_retry(code: str, status: int) -> None:
    assert S3Error(code).status == status


def test_unknown_code_is_a_programming_error() -> None:
    with pytest.raises(KeyError):
        S3Error("NoSuchCode")


def test_every_status_is_an_error_status() -> None:
    assert {kind.status for kind in CODES.values()} <= {
        304,
        400,
        403,
        404,
        405,
        409,
        411,
        412,
        416,
        500,
        501,
        503,
        507,
    }


@pytest.mark.parametrize("source", SOURCES, ids=lambda p: p.name)
def test_every_code_in_the_sources_is_in_the_table(source: Path) -> None:
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "S3Error":
            code = node.args[0]
            if isinstance(code, ast.Constant):
                assert code.value in CODES, f"line {node.lineno}"
