"""Layers: the count of leading zero bits in groups, salted or not, clamped; parameters out of range are refused."""

from __future__ import annotations

from hashlib import sha256

import pytest

from mst.errors import FormatError
from mst.layer import DEFAULT_BITS, TreeParams
from mst.limits import LAYER_MAX, TREE_BITS_MAX

SALT = bytes(range(32))
TALL = b"tall/38300"
"""SHA-256 of this key begins with 18 zero bits."""


def _zeros(data: bytes) -> int:
    """Leading zero bits, counted one by one."""
    bits = "".join(f"{byte:08b}" for byte in sha256(data).digest())
    return len(bits) - len(bits.lstrip("0"))


@pytest.mark.parametrize("bits", range(1, TREE_BITS_MAX + 1))
def test_a_layer_is_a_count_of_groups_of_zero_bits(bits: int) -> None:
    keys = [b"key/%d" % n for n in range(3000)]
    assert [TreeParams(bits).layer(key) for key in keys] == [_zeros(key) // bits for key in keys]
    assert [TreeParams(bits, SALT).layer(key) for key in keys] == [_zeros(SALT + key) // bits for key in keys]


def test_layers_are_clamped() -> None:
    assert _zeros(TALL) == 18
    assert TreeParams(1).layer(TALL) == LAYER_MAX == 15
    assert TreeParams(2).layer(TALL) == 9


def test_the_default_is_fan_out_16_without_salt() -> None:
    assert TreeParams() == TreeParams(4, None)
    assert DEFAULT_BITS == 4


@pytest.mark.parametrize("bits", [-1, 0, TREE_BITS_MAX + 1, 256])
def test_bits_out_of_range(bits: int) -> None:
    with pytest.raises(FormatError, match="bits"):
        TreeParams(bits)


@pytest.mark.parametrize("length", [0, 1, 31, 33])
def test_salts_of_other_lengths(length: int) -> None:
    with pytest.raises(FormatError, match="salt"):
        TreeParams(4, bytes(length))


def test_nodes_of_differently_shaped_trees_are_cached_apart() -> None:
    shapes = [TreeParams(bits, salt) for bits in range(1, 7) for salt in (None, SALT, SALT[::-1])]
    assert len({shape.cache_tag for shape in shapes}) == len(shapes)
    assert TreeParams().cache_tag == b""
