"""CIDs, varints and DAG-CBOR against the public Python implementations: slow, and right."""

from __future__ import annotations

from typing import Any

import dag_cbor
import multiformats
from hypothesis import given
from hypothesis import strategies as st

from mst import cbor, varint
from mst.cid import CID, DAG_CBOR, DAG_PB, RAW
from mst.errors import FormatError

CODECS = st.sampled_from([RAW, DAG_PB, DAG_CBOR])
CIDS = st.builds(CID.of, CODECS, st.binary(max_size=8))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**64), 2**64 - 1)
    | st.integers(-300, 300)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.binary(max_size=40)
    | CIDS
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


def to_oracle(value: Any) -> Any:
    if isinstance(value, CID):
        return multiformats.CID.decode(bytes(value))
    if isinstance(value, dict):
        return {key: to_oracle(item) for key, item in value.items()}
    if isinstance(value, list):
        return [to_oracle(item) for item in value]
    return value


def from_oracle(value: Any) -> Any:
    """The oracle's value as ours; LookupError if it holds a CID of a kind that we do not read."""
    if isinstance(value, multiformats.CID):
        if value.version != 1 or value.codec.code not in (RAW, DAG_PB, DAG_CBOR):
            raise LookupError(value)
        if value.hashfun.code != 0x12 or len(value.raw_digest) != 32:
            raise LookupError(value)
        return CID(bytes(value))
    if isinstance(value, dict):
        return {key: from_oracle(item) for key, item in value.items()}
    if isinstance(value, list):
        return [from_oracle(item) for item in value]
    return value


@given(CODECS, st.binary(max_size=100))
def test_cids(codec: int, data: bytes) -> None:
    cid = CID.of(codec, data)
    oracle = multiformats.CID("base32", 1, codec, multiformats.multihash.digest(data, "sha2-256"))
    assert bytes(cid) == bytes(oracle)
    assert str(cid) == str(oracle)
    assert CID.from_text(str(oracle)) == cid


@given(st.integers(0, 2**63 - 1))
def test_varints(number: int) -> None:
    assert varint.encode(number) == multiformats.varint.encode(number)


@given(VALUES)
def test_values_are_encoded_alike_and_read_back(value: Any) -> None:
    data = cbor.encode(value)
    assert data == dag_cbor.encode(to_oracle(value))
    decoded = cbor.decode(data)
    assert decoded == value
    assert cbor.encode(decoded) == data


@given(st.data())
def test_damaged_documents_are_judged_alike(data: st.DataObject) -> None:
    document = bytearray(cbor.encode(data.draw(VALUES)))
    for _ in range(data.draw(st.integers(0, 2))):
        at = data.draw(st.integers(0, len(document) - 1))
        document[at] = data.draw(st.integers(0, 255))
    try:
        expected = from_oracle(dag_cbor.decode(bytes(document)))
    except LookupError:
        expected = FormatError
    except Exception:
        expected = FormatError
    try:
        found = cbor.decode(bytes(document))
    except FormatError:
        assert expected is FormatError
        return
    assert expected is not FormatError
    # Through the encoder: it tells True from 1 and 1.0, which compare equal.
    assert cbor.encode(found) == cbor.encode(expected)
