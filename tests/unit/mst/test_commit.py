"""Commits: the byte form, what is signed, every field's bounds."""

from __future__ import annotations

from typing import Any

import pytest

from mst import cbor
from mst.cid import CID, DAG_CBOR, RAW
from mst.commit import Commit
from mst.errors import FormatError
from mst.limits import COMMIT_BYTES_MAX

TREE = CID.of(DAG_CBOR, b"tree")
PREVIOUS = CID.of(DAG_CBOR, b"previous")
SIGNATURE = bytes(range(64))
FIELDS: dict[str, Any] = {
    "space": "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp",
    "bucket": "photos",
    "instance": bytes(range(16)),
    "sequence": 7,
    "time_ms": 1_700_000_000_000,
    "tree": TREE,
    "versions": None,
    "prev": PREVIOUS,
    "bits": 4,
    "salt": None,
    "objects": 3,
    "size_bytes": 2**40,
}
COMMIT = Commit(**FIELDS)
WIRE_ORDER = [
    "sig", "bits", "prev", "salt", "tree", "space", "bucket", "objects", "time_ms", "version",
    "instance", "sequence", "versions", "size_bytes",
]  # fmt: skip


def test_the_block_is_a_map_of_all_fields() -> None:
    signed = COMMIT.with_signature(SIGNATURE)
    document = cbor.decode(signed.encode())
    assert isinstance(document, dict)
    assert list(document) == WIRE_ORDER
    assert document == {**FIELDS, "version": 1, "sig": SIGNATURE}


def test_what_is_signed_is_the_map_without_the_signature() -> None:
    unsigned = cbor.decode(COMMIT.unsigned_bytes())
    assert unsigned == {**FIELDS, "version": 1}
    assert COMMIT.with_signature(SIGNATURE).unsigned_bytes() == COMMIT.unsigned_bytes()


def test_a_frozen_example() -> None:
    """Changes only together with the format's version."""
    block = COMMIT.with_signature(SIGNATURE).encode()
    assert len(block) == 354
    assert str(CID.of(DAG_CBOR, block)) == "bafyreihmvzcpxgyqyem7teufn3opbrlgw7emkkpqhznd4nv3infglfrryi"


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"prev": None, "versions": PREVIOUS},
        {"salt": bytes(32), "bits": 1},
        {"bits": 6, "sequence": 0, "objects": 0, "size_bytes": 0, "time_ms": 0},
        {"bucket": "b" * 255, "space": "did:" + "x" * 252, "size_bytes": 2**63 - 1},
    ],
)
def test_commits_go_both_ways(changes: dict[str, Any]) -> None:
    commit = Commit(**{**FIELDS, **changes}).with_signature(SIGNATURE)
    block = commit.encode()
    assert len(block) <= COMMIT_BYTES_MAX
    assert Commit.decode(block) == commit


BAD_FIELDS: list[tuple[str, Any]] = [
    ("version", 0),
    ("version", 2),
    ("version", True),
    ("space", ""),
    ("space", "key:z6Mk"),
    ("space", "did:" + "x" * 253),
    ("space", b"did:key:z"),
    ("bucket", ""),
    ("bucket", "\u00fc" * 128),
    ("bucket", None),
    ("instance", bytes(15)),
    ("instance", "x" * 16),
    ("instance", TREE),
    ("sequence", -1),
    ("sequence", 2**63),
    ("sequence", 1.0),
    ("sequence", False),
    ("time_ms", -1),
    ("tree", None),
    ("tree", bytes(TREE)),
    ("tree", CID.of(RAW, b"")),
    ("versions", CID.of(RAW, b"")),
    ("prev", CID.of(RAW, b"")),
    ("prev", "bafy"),
    ("bits", 0),
    ("bits", 7),
    ("salt", bytes(31)),
    ("salt", b""),
    ("salt", "x" * 32),
    ("objects", -1),
    ("objects", None),
    ("size_bytes", 2**63),
]


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS)
def test_bad_fields_are_refused_at_both_ends(name: str, value: Any) -> None:
    with pytest.raises(FormatError):
        Commit(**{**FIELDS, name: value})
    document = {**FIELDS, "version": 1, "sig": SIGNATURE, name: value}
    with pytest.raises(FormatError):
        Commit.decode(cbor.encode(document))


def test_a_map_of_other_keys_is_no_commit() -> None:
    whole = {**FIELDS, "version": 1, "sig": SIGNATURE}
    Commit.decode(cbor.encode(whole))
    for name in whole:
        with pytest.raises(FormatError):
            Commit.decode(cbor.encode({key: item for key, item in whole.items() if key != name}))
    for document in ({**whole, "more": None}, {**whole, "signature": SIGNATURE}, [], None, {}):
        with pytest.raises(FormatError):
            Commit.decode(cbor.encode(document))


def test_only_a_signed_commit_has_a_block() -> None:
    with pytest.raises(FormatError):
        COMMIT.encode()
    for signature in (b"", SIGNATURE[:63], SIGNATURE + b"\x00"):
        with pytest.raises(FormatError):
            COMMIT.with_signature(signature)
        with pytest.raises(FormatError):
            Commit.decode(cbor.encode({**FIELDS, "version": 1, "sig": signature}))


def test_a_commit_has_a_size_limit() -> None:
    with pytest.raises(FormatError, match="exceeds"):
        Commit.decode(bytes(COMMIT_BYTES_MAX + 1))


def test_a_name_that_is_no_unicode_has_no_bytes() -> None:
    with pytest.raises(FormatError):
        Commit(**{**FIELDS, "bucket": "\ud800"}).unsigned_bytes()
