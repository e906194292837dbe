"""Every way a client has to say what its bytes hash to, and what happens when they do not."""

from __future__ import annotations

import hashlib
import socket
import zlib
from base64 import b64encode
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from awscrt import checksums as crt
from botocore.exceptions import ClientError
from hypothesis import given, settings
from hypothesis import strategies as st

MIB = 1 << 20
ALGORITHMS: dict[str, Callable[[bytes], bytes]] = {
    "CRC32": lambda data: zlib.crc32(data).to_bytes(4, "big"),
    "CRC32C": lambda data: crt.crc32c(data).to_bytes(4, "big"),
    "CRC64NVME": lambda data: crt.crc64nvme(data).to_bytes(8, "big"),
    "SHA1": lambda data: hashlib.sha1(data).digest(),
    "SHA256": lambda data: hashlib.sha256(data).digest(),
}
SIZES = [0, 1, 9, 128 * 1024 + 1, MIB, 2 * MIB + 7]

every_algorithm = pytest.mark.parametrize("algorithm", ALGORITHMS)


def checksum(algorithm: str, data: bytes) -> str:
    return b64encode(ALGORITHMS[algorithm](data)).decode()


def header(algorithm: str) -> str:
    return f"x-amz-checksum-{algorithm.lower()}"


def pattern(size: int) -> bytes:
    return (bytes(range(251)) * (size // 251 + 1))[:size]


@pytest.mark.parametrize(
    ("algorithm", "value"), [("CRC32", "cbf43926"), ("CRC32C", "e3069283"), ("CRC64NVME", "ae8b14860a799888")]
)
def test_crcs_have_their_published_check_values(server: Any, bucket: str, algorithm: str, value: str) -> None:
    text = b64encode(bytes.fromhex(value)).decode()
    reply = server.request("PUT", f"/{bucket}/k", {header(algorithm): text}, b"123456789")
    assert (reply.status, reply.headers[header(algorithm)]) == (200, text)


@every_algorithm
@pytest.mark.parametrize("size", SIZES)
def test_in_a_header(s3: Any, bucket: str, algorithm: str, size: int) -> None:
    data = pattern(size)
    put = s3.put_object(Bucket=bucket, Key="k", Body=data, ChecksumAlgorithm=algorithm)
    assert put[f"Checksum{algorithm}"] == checksum(algorithm, data)
    for call in (s3.get_object, s3.head_object):
        answer = call(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        assert answer[f"Checksum{algorithm}"] == checksum(algorithm, data)
        assert answer["ChecksumType"] == "FULL_OBJECT"
        if "Body" in answer:
            assert answer["Body"].read() == data
    if size:
        ranged = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range=f"bytes=0-{size + 10}")
        assert (ranged[f"Checksum{algorithm}"], ranged["Body"].read()) == (checksum(algorithm, data), data)
        beginning = s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED", Range="bytes=0-0")
        assert (f"Checksum{algorithm}" in beginning) is (size == 1)
    silent = s3.head_object(Bucket=bucket, Key="k")["ResponseMetadata"]["HTTPHeaders"]
    assert not [name for name in silent if name.startswith("x-amz-checksum")]


@every_algorithm
def test_wrong_in_a_header(s3: Any, bucket: str, algorithm: str) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"old")
    for size in SIZES:
        with pytest.raises(ClientError, match="BadDigest"):
            s3.put_object(
                Bucket=bucket, Key="k", Body=pattern(size), **{f"Checksum{algorithm}": checksum(algorithm, b"other")}
            )
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"old"


FRAMINGS = [
    pytest.param({"sign_chunks": False, "http_chunks": False}, id="unsigned"),
    pytest.param({"sign_chunks": False, "http_chunks": True}, id="unsigned in HTTP chunks"),
    pytest.param({"sign_chunks": True, "http_chunks": False}, id="signed"),
]


@every_algorithm
@pytest.mark.parametrize("framing", FRAMINGS)
def test_in_a_trailer(server: Any, s3: Any, bucket: str, algorithm: str, framing: dict[str, bool]) -> None:
    for size in SIZES:
        data = pattern(size)
        text = checksum(algorithm, data)
        headers, body = server.chunked(
            f"/{bucket}/k{size}", data, {"Content-Type": "text/plain"}, trailer=(header(algorithm), text), **framing
        )
        reply = server.send("PUT", f"/{bucket}/k{size}", headers, body)
        assert (reply.status, reply.headers.get(header(algorithm))) == (200, text), reply
        assert reply.headers["etag"] == f'"{hashlib.md5(data).hexdigest()}"'
        got = s3.get_object(Bucket=bucket, Key=f"k{size}", ChecksumMode="ENABLED")
        assert got["Body"].read() == data
        assert got[f"Checksum{algorithm}"] == text
        assert "ContentEncoding" not in got


@every_algorithm
@pytest.mark.parametrize("framing", FRAMINGS)
def test_wrong_in_a_trailer(server: Any, s3: Any, bucket: str, algorithm: str, framing: dict[str, bool]) -> None:
    for size in SIZES:
        data = pattern(size)
        headers, body = server.chunked(
            f"/{bucket}/k", data, trailer=(header(algorithm), checksum(algorithm, b"other")), **framing
        )
        reply = server.send("PUT", f"/{bucket}/k", headers, body)
        assert (reply.status, reply.code) == (400, "BadDigest")
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@pytest.mark.parametrize("chunk_bytes", [1, 8192, 5 * MIB])
@pytest.mark.parametrize("sign_chunks", [False, True])
def test_chunks_of_any_size(server: Any, s3: Any, bucket: str, sign_chunks: bool, chunk_bytes: int) -> None:
    """Hadoop sends 64 KiB, boto3 1 MiB, Velero more than that, and nothing forbids a single byte."""
    data = pattern(2000 if chunk_bytes == 1 else 6 * MIB + 1)
    headers, body = server.chunked(f"/{bucket}/k", data, sign_chunks=sign_chunks, chunk_bytes=chunk_bytes)
    assert server.send("PUT", f"/{bucket}/k", headers, body).status == 200
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == data


@pytest.fixture(scope="module")
def split(s3: Any) -> str:
    """A bucket for bodies in every split."""
    s3.create_bucket(Bucket="split")
    return "split"


@settings(max_examples=40)
@given(
    size=st.one_of(st.integers(0, 300), st.integers(MIB - 2, MIB + 2)),
    chunk_bytes=st.one_of(st.integers(1, 500), st.integers(64 * 1024, 2 * MIB)),
    sign_chunks=st.booleans(),
    with_trailer=st.booleans(),
    http_chunks=st.booleans(),
    cuts=st.lists(st.integers(0, MIB), max_size=5),
)
def test_any_split_gives_the_same_object(
    server: Any,
    s3: Any,
    split: str,
    size: int,
    chunk_bytes: int,
    sign_chunks: bool,
    with_trailer: bool,
    http_chunks: bool,
    cuts: list[int],
) -> None:
    """Whatever the aws-chunks, the HTTP chunks and the TCP segments are: the bytes are those of a plain body."""
    data = pattern(size)
    if size > 1000:
        chunk_bytes = max(chunk_bytes, 64 * 1024)
    headers, body = server.chunked(
        f"/{split}/k",
        data,
        chunk_bytes=chunk_bytes,
        sign_chunks=sign_chunks,
        trailer=(header("SHA256"), checksum("SHA256", data)) if with_trailer else None,
        http_chunks=http_chunks,
    )
    wire = server.wire_form("PUT", f"/{split}/k", headers, body)
    places = sorted({0, len(wire), *(cut for cut in cuts if cut < len(wire))})
    with server.connect() as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for start, stop in pairwise(places):
            connection.sendall(wire[start:stop])
        reply = server.read_reply(connection, "PUT")
    assert reply.status == 200, reply
    plain = server.request("PUT", f"/{split}/plain", body=data)
    assert reply.headers["x-ms3t-cid"] == plain.headers["x-ms3t-cid"]
    assert s3.get_object(Bucket=split, Key="k")["Body"].read() == data


def test_other_content_codings_stay(server: Any, s3: Any, bucket: str) -> None:
    headers, body = server.chunked(f"/{bucket}/k", b"not really gzip", {"Content-Encoding": "aws-chunked,gzip"})
    assert server.send("PUT", f"/{bucket}/k", headers, body).status == 200
    got = s3.get_object(Bucket=bucket, Key="k")
    assert (got["ContentEncoding"], got["Body"].read()) == ("gzip", b"not really gzip")


def test_content_md5(s3: Any, bucket: str) -> None:
    good = b64encode(hashlib.md5(b"data").digest()).decode()
    s3.put_object(Bucket=bucket, Key="k", Body=b"data", ContentMD5=good)
    with pytest.raises(ClientError, match="BadDigest"):
        s3.put_object(Bucket=bucket, Key="k", Body=b"other", ContentMD5=good)
    for bad in ("no base64!", b64encode(b"short").decode(), ""):
        with pytest.raises(ClientError, match="InvalidDigest"):
            s3.put_object(Bucket=bucket, Key="k", Body=b"data", ContentMD5=bad)
    assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"data"


def test_delete_objects_takes_any_of_them(server: Any, s3: Any, bucket: str) -> None:
    document = b"<Delete><Object><Key>k</Key></Object></Delete>"
    proofs = {header(algorithm): checksum(algorithm, document) for algorithm in ALGORITHMS}
    proofs["Content-MD5"] = b64encode(hashlib.md5(document).digest()).decode()
    for name, value in proofs.items():
        s3.put_object(Bucket=bucket, Key="k", Body=b"")
        reply = server.request("POST", f"/{bucket}?delete", {name: value[::-1]}, document)
        assert reply.status == 400
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 1
        assert server.request("POST", f"/{bucket}?delete", {name: value}, document).status == 200
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0


@every_algorithm
def test_a_copy_keeps_or_gets_one(s3: Any, bucket: str, algorithm: str) -> None:
    data = pattern(MIB + 5)
    s3.put_object(Bucket=bucket, Key="from", Body=data, ChecksumAlgorithm=algorithm)
    source = {"Bucket": bucket, "Key": "from"}
    copied = s3.copy_object(Bucket=bucket, Key="to", CopySource=source)["CopyObjectResult"]
    assert (copied[f"Checksum{algorithm}"], copied["ChecksumType"]) == (checksum(algorithm, data), "FULL_OBJECT")
    assert s3.head_object(Bucket=bucket, Key="to", ChecksumMode="ENABLED")[f"Checksum{algorithm}"] == checksum(
        algorithm, data
    )
    other = "SHA256" if algorithm == "SHA1" else "SHA1"
    s3.copy_object(Bucket=bucket, Key="to", CopySource=source, ChecksumAlgorithm=other)
    assert s3.head_object(Bucket=bucket, Key="to", ChecksumMode="ENABLED")[f"Checksum{other}"] == checksum(other, data)


PIECES = [pattern(5 * MIB + 3), pattern(5 * MIB), b"the end"]


def upload(s3: Any, bucket: str, algorithm: str, kind: str) -> dict[str, Any]:
    """An upload with all its parts: the arguments of its completion."""
    created = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    assert (created["ChecksumAlgorithm"], created["ChecksumType"]) == (algorithm, kind)
    parts = []
    for number, piece in enumerate(PIECES, 1):
        done = s3.upload_part(
            Bucket=bucket,
            Key="k",
            UploadId=created["UploadId"],
            PartNumber=number,
            Body=piece,
            ChecksumAlgorithm=algorithm,
        )
        field = f"Checksum{algorithm}"
        assert done[field] == checksum(algorithm, piece)
        parts.append({"PartNumber": number, "ETag": done["ETag"], field: done[field]})
    listed = s3.list_parts(Bucket=bucket, Key="k", UploadId=created["UploadId"])
    assert (listed["ChecksumAlgorithm"], listed["ChecksumType"]) == (algorithm, kind)
    assert [part[f"Checksum{algorithm}"] for part in listed["Parts"]] == [
        checksum(algorithm, piece) for piece in PIECES
    ]
    return {"Bucket": bucket, "Key": "k", "UploadId": created["UploadId"], "MultipartUpload": {"Parts": parts}}


KINDS = [
    ("CRC32", "COMPOSITE"), ("CRC32C", "COMPOSITE"), ("SHA1", "COMPOSITE"), ("SHA256", "COMPOSITE"),
    ("CRC32", "FULL_OBJECT"), ("CRC32C", "FULL_OBJECT"), ("CRC64NVME", "FULL_OBJECT"),
]  # fmt: skip


@pytest.mark.parametrize(("algorithm", "kind"), KINDS)
def test_of_a_multipart_object(s3: Any, bucket: str, algorithm: str, kind: str) -> None:
    field = f"Checksum{algorithm}"
    expected = checksum(algorithm, b"".join(PIECES))
    if kind == "COMPOSITE":
        expected = f"{checksum(algorithm, b''.join(map(ALGORITHMS[algorithm], PIECES)))}-{len(PIECES)}"
    end = upload(s3, bucket, algorithm, kind)
    damaged = [dict(part) for part in end["MultipartUpload"]["Parts"]]
    damaged[1][field] = checksum(algorithm, b"other")
    with pytest.raises(ClientError, match=r"InvalidPart|BadDigest"):
        s3.complete_multipart_upload(**end | {"MultipartUpload": {"Parts": damaged}})
    wrong = checksum(algorithm, b"other") + ("-3" if kind == "COMPOSITE" else "")
    with pytest.raises(ClientError, match="BadDigest"):
        s3.complete_multipart_upload(**end, **{field: wrong}, ChecksumType=kind)
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    done = s3.complete_multipart_upload(**end, **{field: expected}, ChecksumType=kind)
    assert (done[field], done["ChecksumType"]) == (expected, kind)
    head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
    assert (head[field], head["ChecksumType"]) == (expected, kind)
    assert s3.get_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")["Body"].read() == b"".join(PIECES)


@pytest.mark.parametrize(
    ("algorithm", "kind"), [("CRC64NVME", "COMPOSITE"), ("SHA1", "FULL_OBJECT"), ("SHA256", "FULL_OBJECT")]
)
def test_kinds_that_do_not_exist(s3: Any, bucket: str, algorithm: str, kind: str) -> None:
    with pytest.raises(ClientError, match="InvalidRequest"):
        s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType=kind)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_a_part_of_another_algorithm(s3: Any, bucket: str) -> None:
    created = s3.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm="SHA256")
    with pytest.raises(ClientError, match="InvalidRequest"):
        s3.upload_part(
            Bucket=bucket, Key="k", UploadId=created["UploadId"], PartNumber=1, Body=b"x", ChecksumAlgorithm="CRC32C"
        )


class TestNoneSent:
    """What a client that computes nothing finds: a CRC64NVME, as at Amazon since 2025."""

    @pytest.fixture
    def silent(self, server: Any) -> Any:
        """A client that sends no checksum of its own accord."""
        return server.boto3(request_checksum_calculation="when_required", response_checksum_validation="when_required")

    @pytest.mark.parametrize("size", SIZES)
    def test_of_an_object(self, silent: Any, bucket: str, size: int) -> None:
        data = pattern(size)
        put = silent.put_object(Bucket=bucket, Key="k", Body=data)
        head = silent.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        for answer in (put, head):
            assert answer["ChecksumCRC64NVME"] == checksum("CRC64NVME", data)
            assert answer["ChecksumType"] == "FULL_OBJECT"
        assert "ChecksumCRC64NVME" not in silent.head_object(Bucket=bucket, Key="k")

    def test_of_a_streamed_object(self, server: Any, s3: Any, bucket: str) -> None:
        data = pattern(MIB + 1)
        for sign_chunks in (False, True):
            headers, body = server.chunked(f"/{bucket}/k", data, sign_chunks=sign_chunks)
            reply = server.send("PUT", f"/{bucket}/k", headers, body)
            assert reply.headers[header("CRC64NVME")] == checksum("CRC64NVME", data)
            head = s3.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
            assert head["ChecksumCRC64NVME"] == checksum("CRC64NVME", data)

    @pytest.mark.parametrize("sent", [None, "CRC64NVME", "CRC32", "SHA256"])
    def test_of_an_upload(self, silent: Any, bucket: str, sent: str | None) -> None:
        """Whatever a client sends with its parts, an upload that asked for nothing gets the default."""
        upload_id = silent.create_multipart_upload(Bucket=bucket, Key="k")["UploadId"]
        where = {"Bucket": bucket, "Key": "k", "UploadId": upload_id}
        asked = {"ChecksumAlgorithm": sent} if sent else {}
        parts = []
        for number, piece in enumerate(PIECES, 1):
            done = silent.upload_part(**where, PartNumber=number, Body=piece, **asked)
            assert done[f"Checksum{sent or 'CRC64NVME'}"] == checksum(sent or "CRC64NVME", piece)
            parts.append({"PartNumber": number, "ETag": done["ETag"]})
        listed = silent.list_parts(**where)
        assert "ChecksumAlgorithm" not in listed
        assert not [name for name in listed["Parts"][0] if name.startswith("Checksum")]
        done = silent.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
        head = silent.head_object(Bucket=bucket, Key="k", ChecksumMode="ENABLED")
        for answer in (done, head):
            assert answer["ChecksumCRC64NVME"] == checksum("CRC64NVME", b"".join(PIECES))
            assert answer["ChecksumType"] == "FULL_OBJECT"

    @pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "CRC64NVME"])
    def test_with_the_parts_of_a_full_object_checksum(self, silent: Any, bucket: str, algorithm: str) -> None:
        created = silent.create_multipart_upload(
            Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm, ChecksumType="FULL_OBJECT"
        )
        where = {"Bucket": bucket, "Key": "k", "UploadId": created["UploadId"]}
        parts = []
        for number, piece in enumerate(PIECES, 1):
            done = silent.upload_part(**where, PartNumber=number, Body=piece)
            assert done[f"Checksum{algorithm}"] == checksum(algorithm, piece)
            parts.append({"PartNumber": number, "ETag": done["ETag"]})
        done = silent.complete_multipart_upload(**where, MultipartUpload={"Parts": parts})
        assert done[f"Checksum{algorithm}"] == checksum(algorithm, b"".join(PIECES))

    @pytest.mark.parametrize("algorithm", ["CRC32", "CRC32C", "SHA1", "SHA256"])
    def test_with_the_parts_of_a_composite_checksum(self, silent: Any, bucket: str, algorithm: str) -> None:
        created = silent.create_multipart_upload(Bucket=bucket, Key="k", ChecksumAlgorithm=algorithm)
        where = {"Bucket": bucket, "Key": "k", "UploadId": created["UploadId"]}
        with pytest.raises(ClientError, match="InvalidRequest"):
            silent.upload_part(**where, PartNumber=1, Body=b"x")
        done = silent.upload_part(**where, PartNumber=1, Body=b"x", ChecksumAlgorithm=algorithm)
        with pytest.raises(ClientError, match=r"InvalidRequest.*It was missing for part 1 in the request"):
            silent.complete_multipart_upload(
                **where, MultipartUpload={"Parts": [{"PartNumber": 1, "ETag": done["ETag"]}]}
            )


def test_part_checksums_that_do_not_belong(s3: Any, bucket: str) -> None:
    end = upload(s3, bucket, "CRC32C", "FULL_OBJECT")
    first, *rest = end["MultipartUpload"]["Parts"]
    bare = {name: value for name, value in first.items() if name != "ChecksumCRC32C"}
    refused = {
        "InvalidPart": first | {"ChecksumCRC32C": checksum("CRC32C", b"other")},
        "BadDigest": bare | {"ChecksumSHA256": checksum("SHA256", PIECES[0])},
        "InvalidArgument": first | {"ChecksumSHA256": checksum("SHA256", PIECES[0])},
    }
    for code, part in refused.items():
        with pytest.raises(ClientError, match=code):
            s3.complete_multipart_upload(**end | {"MultipartUpload": {"Parts": [part, *rest]}})
    with pytest.raises(ClientError, match="InvalidArgument"):
        s3.complete_multipart_upload(
            **end | {"MultipartUpload": {"Parts": [bare | {"ChecksumCRC32C": "no base64"}, *rest]}}
        )
    with pytest.raises(ClientError, match=r"InvalidRequest.*using the FULL_OBJECT checksum mode"):
        s3.complete_multipart_upload(**end, ChecksumType="COMPOSITE")
    with pytest.raises(ClientError, match=r"InvalidRequest.*Checksum Type mismatch"):
        s3.complete_multipart_upload(**end, ChecksumSHA256=checksum("SHA256", b"".join(PIECES)))
    assert s3.complete_multipart_upload(**end | {"MultipartUpload": {"Parts": [bare, *rest]}})["ETag"]


def test_the_parts_of_a_composite_checksum_are_told_in_its_algorithm(s3: Any, bucket: str) -> None:
    """What is kept of the parts besides is for those who read them."""
    end = upload(s3, bucket, "CRC32", "COMPOSITE")
    first, *rest = end["MultipartUpload"]["Parts"]
    other = {"PartNumber": 1, "ETag": first["ETag"], "ChecksumCRC64NVME": checksum("CRC64NVME", PIECES[0])}
    with pytest.raises(ClientError, match=r"BadDigest.*The crc64nvme you specified for part 1"):
        s3.complete_multipart_upload(**end | {"MultipartUpload": {"Parts": [other, *rest]}})
    assert s3.complete_multipart_upload(**end)["ETag"]


def test_the_size_of_the_object_can_be_declared(s3: Any, bucket: str) -> None:
    end = upload(s3, bucket, "CRC32", "FULL_OBJECT")
    size = sum(map(len, PIECES))
    for wrong in (0, -1, size - 1, 10**30):
        with pytest.raises(ClientError, match="InvalidRequest"):
            s3.complete_multipart_upload(**end, MpuObjectSize=wrong)
    assert s3.complete_multipart_upload(**end, MpuObjectSize=size)["ETag"]


@every_algorithm
def test_of_a_copied_part(s3: Any, bucket: str, algorithm: str) -> None:
    data = pattern(2 * MIB)
    s3.put_object(Bucket=bucket, Key="from", Body=data)
    for asked in ({"ChecksumAlgorithm": algorithm}, {}):
        upload_id = s3.create_multipart_upload(Bucket=bucket, Key="k", **asked)["UploadId"]
        where = {"Bucket": bucket, "Key": "k", "UploadId": upload_id, "CopySource": {"Bucket": bucket, "Key": "from"}}
        copied = s3.upload_part_copy(**where, PartNumber=1, CopySourceRange="bytes=7-99999")["CopyPartResult"]
        expected = {f"Checksum{algorithm}": checksum(algorithm, data[7:100_000])} if asked else {}
        assert {name: value for name, value in copied.items() if name.startswith("Checksum")} == expected
