"""Manifests: the byte form, what is signed, every field's bounds, the beacon."""

from __future__ import annotations

from typing import Any

import pytest

from mst import cbor, manifest
from mst.cid import CID, DAG_CBOR, RAW
from mst.errors import FormatError
from mst.limits import MANIFEST_BYTES_MAX, MANIFEST_SHARDS_MAX
from mst.manifest import Head, Manifest, ShardRef

COMMIT = CID.of(DAG_CBOR, b"commit")
PREVIOUS = CID.of(DAG_CBOR, b"previous")
INSTANCE = bytes(range(16))
SIGNATURE = bytes(range(64))
SPACE = "did:key:z6MkiTBz1ymuepAQ4HEHYSF1H8quG5GLVVQR3djdX3mDooWp"
HEAD = Head("photos", INSTANCE, 1_600_000_000_000, COMMIT, "enabled", {"tagging": b"\xa0"})
SHARD = ShardRef(bytes(32), 2**28, bytes(range(32)), 343)
FIELDS: dict[str, Any] = {
    "space": SPACE,
    "sequence": 7,
    "time_ms": 1_700_000_000_000,
    "prev": PREVIOUS,
    "heads": (HEAD,),
    "drops": (bytes(16),),
    "shards": (SHARD,),
}


def document(**changes: Any) -> bytes:
    """The bytes of a manifest of which some fields are something else."""
    fields: dict[str, Any] = {
        **FIELDS,
        "version": 1,
        "sig": SIGNATURE,
        "heads": [list(HEAD)],
        "drops": [bytes(16)],
        "shards": [list(SHARD)],
        **changes,
    }
    return cbor.encode({name: value for name, value in fields.items() if value is not ...})


def test_the_block_is_a_map_of_all_fields() -> None:
    assert Manifest(**FIELDS).with_signature(SIGNATURE).block().data == document()
    assert Manifest.decode(document()) == Manifest(**FIELDS, signature=SIGNATURE)


def test_what_is_signed_is_the_map_without_the_signature() -> None:
    assert Manifest(**FIELDS).unsigned_bytes() == document(sig=...)


@pytest.mark.parametrize(
    "changes",
    [
        {"prev": None, "heads": (), "drops": (), "shards": (), "sequence": 0},
        {"heads": (HEAD, HEAD._replace(name="b" * 255, versioning="unversioned", settings={}))},
        {"shards": (SHARD,) * MANIFEST_SHARDS_MAX, "time_ms": 2**63 - 1},
    ],
)
def test_manifests_go_both_ways(changes: dict[str, Any]) -> None:
    made = Manifest(**{**FIELDS, **changes}).with_signature(SIGNATURE)
    assert Manifest.decode(made.block().data) == made
    assert made.block().cid == CID.of(DAG_CBOR, made.block().data)


BAD_FIELDS: list[tuple[str, Any]] = [
    ("version", 2),
    ("version", True),
    ("space", "z6Mk"),
    ("space", "did:" + "x" * 300),
    ("sequence", -1),
    ("sequence", 2**63),
    ("time_ms", 1.5),
    ("prev", CID.of(RAW, b"x")),
    ("prev", bytes(PREVIOUS)),
    ("sig", bytes(63)),
    ("sig", b""),
    ("heads", None),
    ("heads", {}),
    ("heads", [list(HEAD)[:5]]),
    ("heads", [[*HEAD, 1]]),
    ("heads", [["", *HEAD[1:]]]),
    ("heads", [["b" * 256, *HEAD[1:]]]),
    ("heads", [["b", bytes(15), *HEAD[2:]]]),
    ("heads", [["b", INSTANCE, -1, COMMIT, "enabled", {}]]),
    ("heads", [["b", INSTANCE, 1, CID.of(RAW, b"x"), "enabled", {}]]),
    ("heads", [["b", INSTANCE, 1, COMMIT, "Enabled", {}]]),
    ("heads", [["b", INSTANCE, 1, COMMIT, "enabled", []]]),
    ("heads", [["b", INSTANCE, 1, COMMIT, "enabled", {"": b""}]]),
    ("heads", [["b", INSTANCE, 1, COMMIT, "enabled", {"n" * 256: b""}]]),
    ("heads", [["b", INSTANCE, 1, COMMIT, "enabled", {"tagging": "text"}]]),
    ("drops", [bytes(17)]),
    ("drops", b""),
    ("shards", [list(SHARD)[:3]]),
    ("shards", [[bytes(31), 1, bytes(32), 1]]),
    ("shards", [[bytes(32), 1, bytes(33), 1]]),
    ("shards", [[bytes(32), -1, bytes(32), 1]]),
    ("shards", [[bytes(32), 1, bytes(32), True]]),
    ("shards", [list(SHARD)] * (MANIFEST_SHARDS_MAX + 1)),
    ("unknown", 1),
    ("drops", ...),
]  # fmt: skip


@pytest.mark.parametrize(("name", "value"), BAD_FIELDS)
def test_a_bad_field_is_refused(name: str, value: Any) -> None:
    with pytest.raises(FormatError):
        Manifest.decode(document(**{name: value}))


@pytest.mark.parametrize("data", [b"", b"\xa0", cbor.encode([1]), document() + b"\x00", document()[:-1]])
def test_what_is_no_manifest(data: bytes) -> None:
    with pytest.raises(FormatError):
        Manifest.decode(data)


def test_an_unsigned_manifest_has_no_block() -> None:
    with pytest.raises(FormatError):
        Manifest(**FIELDS).block()
    with pytest.raises(FormatError):
        Manifest(**FIELDS).with_signature(b"")


def test_a_manifest_that_is_too_long() -> None:
    large = HEAD._replace(settings={"tagging": bytes(MANIFEST_BYTES_MAX)})
    made = Manifest(**{**FIELDS, "heads": (large,)}).with_signature(SIGNATURE)
    with pytest.raises(FormatError):
        made.block()


def test_a_beacon_is_made_of_the_space_and_a_number_alone() -> None:
    assert manifest.beacon(SPACE, 17).cid == CID.of(RAW, b"ms3t manifest 17 of " + SPACE.encode())
