from __future__ import annotations

import json
import os
import stat
from dataclasses import replace
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from multiformats import multibase

from mst.cid import CID, DAG_CBOR
from mst.commit import Commit
from mst.manifest import Manifest
from registry.did_key import SignatureInvalid, verify
from registry.key_file import KeyFileError
from registry.space import SpaceKey, verify_commit, verify_manifest

VECTORS = json.loads((Path(__file__).parents[2] / "vectors" / "did_key.json").read_text())["keys"]


def _seeded(seed_byte: int) -> SpaceKey:
    return SpaceKey(Ed25519PrivateKey.from_private_bytes(bytes([seed_byte]) * 32))


def _pem(key: Ed25519PrivateKey | X25519PrivateKey, encryption: KeySerializationEncryption | None = None) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


def _commit(space: str) -> Commit:
    return Commit(
        space=space,
        bucket="photos",
        instance=b"i" * 16,
        sequence=7,
        time_ms=1_700_000_000_000,
        tree=CID.of(DAG_CBOR, b"tree"),
        versions=None,
        prev=CID.of(DAG_CBOR, b"prev"),
        bits=4,
        salt=None,
        objects=2,
        size_bytes=3,
    )


@pytest.mark.parametrize("vector", VECTORS, ids=lambda vector: f"seed-{vector['seed_byte']}")
def test_the_did_is_the_one_public_libraries_give(vector: dict[str, str]) -> None:
    key = _seeded(int(vector["seed_byte"]))
    assert key.did == vector["did"]
    verify(vector["did"], key.sign(b"message"), b"message")


def test_rfc_8032_vector_1() -> None:
    seed = bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    signature = SpaceKey(Ed25519PrivateKey.from_private_bytes(seed)).sign(b"")
    assert signature.hex() == (
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555"
        "fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b"
    )


def test_a_new_key_is_private_and_stays(tmp_path: Path) -> None:
    path = tmp_path / "space.key"
    old_umask = os.umask(0)
    try:
        made = SpaceKey.load_or_create(path)
    finally:
        os.umask(old_umask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [file.name for file in tmp_path.iterdir()] == ["space.key"]
    assert SpaceKey.load_or_create(path).did == SpaceKey.load(path).did == made.did
    assert SpaceKey.load_or_create(tmp_path / "other.key").did != made.did


def test_a_copy_of_a_key_is_private_and_takes_no_other_files_place(tmp_path: Path) -> None:
    key = SpaceKey.load_or_create(tmp_path / "space.key")
    key.write(tmp_path / "copy.key")
    assert (tmp_path / "copy.key").read_bytes() == (tmp_path / "space.key").read_bytes()
    assert stat.S_IMODE((tmp_path / "copy.key").stat().st_mode) == 0o600
    SpaceKey.load_or_create(tmp_path / "other.key").write(tmp_path / "copy.key")
    assert SpaceKey.load(tmp_path / "copy.key").did == key.did


def test_a_key_made_in_the_meantime_is_not_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "space.key"
    first = SpaceKey.load_or_create(path)
    monkeypatch.setattr(Path, "exists", lambda _: False)
    assert SpaceKey.load_or_create(path).did == first.did
    assert [file.name for file in tmp_path.iterdir()] == ["space.key"]


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o610, 0o777])
def test_refuses_a_key_others_may_use(tmp_path: Path, mode: int) -> None:
    path = tmp_path / "space.key"
    SpaceKey.load_or_create(path)
    path.chmod(mode)
    with pytest.raises(KeyFileError, match=rf"mode {mode:04o}.*chmod 600"):
        SpaceKey.load_or_create(path)
    path.chmod(0o400)
    SpaceKey.load_or_create(path)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no unencrypted PKCS 8 key"),
        (b"hello\n", "no unencrypted PKCS 8 key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no unencrypted PKCS 8 key"),
        (_pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"pass")), "no unencrypted PKCS 8 key"),
        (_pem(X25519PrivateKey.generate()), "another kind"),
        (bytes(5000), "longer than 4096"),
    ],
)
def test_refuses_files_that_hold_no_such_key(tmp_path: Path, content: bytes, reason: str) -> None:
    path = tmp_path / "space.key"
    path.touch(0o600)
    path.write_bytes(content)
    with pytest.raises(KeyFileError, match=reason):
        SpaceKey.load_or_create(path)
    assert path.read_bytes() == content


def test_a_key_that_cannot_be_read_or_written_is_named(tmp_path: Path) -> None:
    with pytest.raises(KeyFileError, match=r"cannot read the space key .*missing.key: No such file"):
        SpaceKey.load(tmp_path / "missing.key")
    with pytest.raises(KeyFileError, match="cannot write the space key"):
        SpaceKey.load_or_create(tmp_path / "no folder" / "space.key")
    with pytest.raises(KeyFileError, match="cannot read the space key"):
        SpaceKey.load_or_create(tmp_path)


def test_a_signed_commit_verifies_and_any_change_does_not() -> None:
    key = _seeded(1)
    signed = key.sign_commit(_commit(key.did))
    verify_commit(signed)
    verify_commit(Commit.decode(signed.encode()))
    changed = Commit.decode(signed.encode().replace(b"photos", b"photoz"))
    with pytest.raises(SignatureInvalid):
        verify_commit(changed)
    with pytest.raises(SignatureInvalid):
        verify_commit(_commit(key.did))


def test_a_commit_of_another_space_is_not_signed() -> None:
    with pytest.raises(SignatureInvalid, match="of space"):
        _seeded(1).sign_commit(_commit(_seeded(2).did))


def test_manifests_are_signed_as_commits_are() -> None:
    key = _seeded(1)
    signed = key.sign_manifest(Manifest(space=key.did, sequence=7, time_ms=1, prev=None))
    verify_manifest(Manifest.decode(signed.block().data))
    with pytest.raises(SignatureInvalid):
        verify_manifest(replace(signed, sequence=8))
    with pytest.raises(SignatureInvalid, match="of space"):
        key.sign_manifest(Manifest(space=_seeded(2).did, sequence=1, time_ms=1, prev=None))


@pytest.mark.parametrize("change", ["message", "signature", "short", "empty", "key"])
def test_verify_refuses_what_was_not_signed(change: str) -> None:
    key = _seeded(1)
    did, signature, message = key.did, key.sign(b"message"), b"message"
    if change == "message":
        message = b"massage"
    elif change == "key":
        did = _seeded(2).did
    elif change == "signature":
        signature = bytes((signature[0] ^ 1,)) + signature[1:]
    else:
        signature = b"" if change == "empty" else signature[:-1]
    with pytest.raises(SignatureInvalid):
        verify(did, signature, message)


@pytest.mark.parametrize(
    "did",
    [
        "",
        "did:key:",
        "did:key:z",
        "did:web:example.com",
        "did:key:" + "z" * 48,
        "did:key:z" + "0" * 47,
        "did:key:z" + "\u0661" * 47,
        "did:key:z" + "1" * 47,
        "did:key:z" + "1" * 1_000_000,
        VECTORS[0]["did"].upper(),
        VECTORS[0]["did"] + "#" + VECTORS[0]["did"],
        VECTORS[0]["did"][:-1],
        "did:key:" + multibase.encode(b"\xe7\x01" + bytes(32), "base58btc").ljust(48, "1"),
        "did:key:" + multibase.encode(b"\xec\x01" + b"\x07" * 32, "base58btc"),
    ],
    ids=lambda did: did[:20],
)
def test_verify_refuses_names_of_no_key(did: str) -> None:
    with pytest.raises(SignatureInvalid):
        verify(did, bytes(64), b"message")
