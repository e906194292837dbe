"""Unsigned varints: the spec's examples, every bad form."""

from __future__ import annotations

import pytest

from mst import varint
from mst.errors import FormatError

# The examples of the unsigned-varint specification, then the edges of each length.
EXAMPLES = [
    (0, "00"),
    (1, "01"),
    (127, "7f"),
    (128, "8001"),
    (255, "ff01"),
    (300, "ac02"),
    (16383, "ff7f"),
    (16384, "808001"),
    (2**21 - 1, "ffff7f"),
    (2**56 - 1, "ff" * 7 + "7f"),
    (2**56, "80" * 8 + "01"),
    (2**63 - 1, "ff" * 8 + "7f"),
]


@pytest.mark.parametrize(("number", "hexed"), EXAMPLES)
def test_examples_go_both_ways(number: int, hexed: str) -> None:
    data = bytes.fromhex(hexed)
    assert varint.encode(number) == data
    assert varint.decode(data) == (number, len(data))
    assert varint.decode(b"\x80\x80" + data + b"\x80", 2) == (number, 2 + len(data))
    assert varint.decode(memoryview(data)) == (number, len(data))


@pytest.mark.parametrize(
    "hexed",
    ["", "80", "ffff", "8000", "ff00", "808000", "80" * 8 + "00", "ff" * 9 + "01", "80" * 9 + "01"],
)
def test_bad_forms_are_refused(hexed: str) -> None:
    with pytest.raises(FormatError):
        varint.decode(bytes.fromhex(hexed))


@pytest.mark.parametrize("number", [-1, 2**63, 2**64])
def test_numbers_that_do_not_fit_are_refused(number: int) -> None:
    with pytest.raises(FormatError):
        varint.encode(number)
