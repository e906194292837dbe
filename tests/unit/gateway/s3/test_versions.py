"""Version ids: what names a version, what does not, and that there is one way to write each."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3.errors import S3Error
from gateway.s3.versions import format_version, parse_version
from mst import version
from mst.limits import INTEGER_MAX


@given(st.integers(0, INTEGER_MAX))
def test_every_number_has_one_id(number: int) -> None:
    assert parse_version(format_version(number)) == number


def test_the_null_version() -> None:
    assert parse_version("null") == version.NULL
    assert format_version(version.NULL) == "null"
    assert parse_version(None) is None


@pytest.mark.parametrize(
    "text",
    ["", "Null", "0" * 16, "8" + "0" * 15, "f" * 16, "1" * 15, "1" * 17, "000000000000000A", " 00000000000000a",
     "00000000000000a\n", "\u0661" * 16],
)  # fmt: skip
def test_what_is_no_id(text: str) -> None:
    with pytest.raises(S3Error) as refused:
        parse_version(text, "version-id-marker")
    assert refused.value.code == "InvalidArgument"
    assert refused.value.fields["ArgumentName"] == "version-id-marker"


@given(st.text())
def test_any_text_is_an_id_or_refused(text: str) -> None:
    try:
        number = parse_version(text)
    except S3Error as error:
        assert error.code == "InvalidArgument"
    else:
        assert number is not None
        assert format_version(number) == text
