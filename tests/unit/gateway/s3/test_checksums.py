"""Checksums: values against botocore and the CRC catalogue."""

from __future__ import annotations

import base64
import hashlib

import pytest
from botocore.httpchecksum import Sha1Checksum, Sha256Checksum
from hypothesis import given
from hypothesis import strategies as st

from gateway.s3 import checksums
from gateway.s3.checksums import Algorithm, ChecksumType

CHECK = b"123456789"
# The check values of the CRC catalogue, and the SHAs of the same nine bytes.
KNOWN = {
    Algorithm.CRC32: "cbf43926",
    Algorithm.CRC32C: "e3069283",
    Algorithm.CRC64NVME: "ae8b14860a799888",
    Algorithm.SHA1: hashlib.sha1(CHECK).hexdigest(),
    Algorithm.SHA256: hashlib.sha256(CHECK).hexdigest(),
}
CRCS = [Algorithm.CRC32, Algorithm.CRC32C, Algorithm.CRC64NVME]


def of(algorithm: Algorithm, *pieces: bytes) -> bytes:
    hasher = checksums.new(algorithm)
    for piece in pieces:
        hasher.update(piece)
    return hasher.digest()


@pytest.mark.parametrize("algorithm", Algorithm)
def test_known_values_in_any_split(algorithm: Algorithm) -> None:
    assert of(algorithm, CHECK).hex() == KNOWN[algorithm]
    assert of(algorithm, b"", CHECK[:4], CHECK[4:]).hex() == KNOWN[algorithm]
    assert algorithm.header == f"x-amz-checksum-{algorithm.value.lower()}"


@given(st.binary())
def test_shas_agree_with_botocore(data: bytes) -> None:
    for algorithm, oracle in ((Algorithm.SHA1, Sha1Checksum), (Algorithm.SHA256, Sha256Checksum)):
        hasher = oracle()
        hasher.update(data)
        assert checksums.format_checksum(of(algorithm, data)) == hasher.b64digest()


@pytest.mark.parametrize("algorithm", CRCS)
@given(parts=st.lists(st.binary(max_size=50), min_size=1, max_size=6))
def test_crc_of_a_whole_from_its_parts(algorithm: Algorithm, parts: list[bytes]) -> None:
    pairs = [(of(algorithm, part), len(part)) for part in parts]
    assert checksums.of_parts(algorithm, ChecksumType.FULL_OBJECT, pairs) == of(algorithm, *parts)


def test_crc_of_terabytes_from_parts() -> None:
    zeros = of(Algorithm.CRC64NVME, bytes(1 << 20))
    part = (zeros, 1 << 20)
    by_doubling = part
    for _ in range(10):
        combined = checksums.of_parts(Algorithm.CRC64NVME, ChecksumType.FULL_OBJECT, [by_doubling, by_doubling])
        by_doubling = (combined, by_doubling[1] * 2)
    assert by_doubling == (
        checksums.of_parts(Algorithm.CRC64NVME, ChecksumType.FULL_OBJECT, [part] * 1024),
        1 << 30,
    )


def test_composite_is_the_checksum_of_checksums() -> None:
    digests = [of(Algorithm.SHA256, b"a"), of(Algorithm.SHA256, b"b")]
    composite = checksums.of_parts(Algorithm.SHA256, ChecksumType.COMPOSITE, [(d, 1) for d in digests])
    assert composite == hashlib.sha256(b"".join(digests)).digest()
    assert checksums.format_checksum(composite, 2) == base64.b64encode(composite).decode() + "-2"
