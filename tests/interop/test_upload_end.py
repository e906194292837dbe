"""How an upload ends: once, for exactly one of those who end it, and with one answer for all who ask again."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from botocore.exceptions import ClientError

MIB = 1 << 20
PIECES = {1: b"1" * (5 * MIB), 2: b"2"}


def begin(s3: Any, bucket: str, key: str = "k", pieces: dict[int, bytes] = PIECES, **asked: Any) -> dict[str, Any]:
    """An upload with all its parts: the arguments of its completion."""
    upload_id = s3.create_multipart_upload(Bucket=bucket, Key=key, **asked)["UploadId"]
    where = {"Bucket": bucket, "Key": key, "UploadId": upload_id}
    etags = {number: s3.upload_part(**where, PartNumber=number, Body=piece)["ETag"] for number, piece in pieces.items()}
    return where | {"MultipartUpload": {"Parts": [{"PartNumber": n, "ETag": etag} for n, etag in etags.items()]}}


def where(end: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in end.items() if name != "MultipartUpload"}


def told(answer: dict[str, Any]) -> dict[str, Any]:
    """What an answer says, without what belongs to the request."""
    headers = answer["ResponseMetadata"]["HTTPHeaders"]
    shown = {name: value for name, value in answer.items() if name != "ResponseMetadata"}
    return shown | {name: headers[name] for name in ("x-ms3t-root", "x-ms3t-commit", "x-ms3t-cid")}


def outcome(act: Callable[..., Any], **arguments: Any) -> str:
    """The code of a refusal, or "done"."""
    try:
        act(**arguments)
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return "done"


class TestAskedAgain:
    def test_the_answer_is_the_same(self, s3: Any, bucket: str) -> None:
        end = begin(s3, bucket, ChecksumAlgorithm="CRC32", ChecksumType="FULL_OBJECT")
        first = told(s3.complete_multipart_upload(**end))
        assert first["ChecksumType"] == "FULL_OBJECT"
        assert told(s3.complete_multipart_upload(**end)) == first
        # The object is there now, and it was this upload that made it.
        assert told(s3.complete_multipart_upload(**end, IfNoneMatch="*")) == first

    def test_whatever_has_become_of_the_object(self, s3: Any, bucket: str) -> None:
        end = begin(s3, bucket)
        first = told(s3.complete_multipart_upload(**end))
        s3.put_object(Bucket=bucket, Key="k", Body=b"another")
        assert told(s3.complete_multipart_upload(**end)) == first
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"another"
        s3.delete_object(Bucket=bucket, Key="k")
        assert told(s3.complete_multipart_upload(**end)) == first
        assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0

    def test_only_for_the_same_parts_of_the_same_key(self, s3: Any, bucket: str) -> None:
        end = begin(s3, bucket)
        s3.complete_multipart_upload(**end)
        first, second = end["MultipartUpload"]["Parts"]
        for parts in ([first], [second], [first, second | {"PartNumber": 3}], [first, second | {"ETag": "0" * 32}]):
            other = end | {"MultipartUpload": {"Parts": parts}}
            assert outcome(s3.complete_multipart_upload, **other) == "NoSuchUpload"
        assert outcome(s3.complete_multipart_upload, **end | {"Key": "another"}) == "NoSuchUpload"

    def test_nothing_else_can_be_done_with_it(self, s3: Any, bucket: str) -> None:
        end = begin(s3, bucket)
        s3.complete_multipart_upload(**end)
        for act in (s3.abort_multipart_upload, s3.list_parts):
            assert outcome(act, **where(end)) == "NoSuchUpload"
        assert outcome(s3.upload_part, **where(end), PartNumber=1, Body=b"x") == "NoSuchUpload"
        assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)

    def test_a_refused_one_can_be_mended(self, s3: Any, bucket: str) -> None:
        end = begin(s3, bucket)
        s3.put_object(Bucket=bucket, Key="k", Body=b"here before")
        assert outcome(s3.complete_multipart_upload, **end, IfNoneMatch="*") == "PreconditionFailed"
        assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == b"here before"
        s3.delete_object(Bucket=bucket, Key="k")
        assert outcome(s3.complete_multipart_upload, **end, IfNoneMatch="*") == "done"

    def test_after_the_server_was_killed(self, start: Callable[..., Any]) -> None:
        """Killed with the request on its way, or answered: whatever it did, the client asks again and is told."""
        server = start()
        server.boto3().create_bucket(Bucket="bucket")
        for attempt in range(3):
            s3 = server.boto3()
            end = begin(s3, "bucket", f"k{attempt}")
            target = f"/bucket/k{attempt}?uploadId={end['UploadId']}"
            document = "".join(
                f"<Part><PartNumber>{part['PartNumber']}</PartNumber><ETag>{part['ETag']}</ETag></Part>"
                for part in end["MultipartUpload"]["Parts"]
            )
            body = f"<CompleteMultipartUpload>{document}</CompleteMultipartUpload>".encode()
            wire = server.wire_form("POST", target, server.signed("POST", target, body=body), body)
            with server.connect() as connection:
                connection.sendall(wire)
                reply = server.read_reply(connection) if attempt == 0 else None
                server.kill()
            server.restart()
            again = told(server.boto3().complete_multipart_upload(**end))
            if reply is not None:
                assert reply.headers["x-ms3t-commit"] == again["x-ms3t-commit"]
                assert reply.headers["x-ms3t-cid"] == again["x-ms3t-cid"]
            md5s = b"".join(hashlib.md5(piece).digest() for piece in PIECES.values())
            assert again["ETag"] == f'"{hashlib.md5(md5s).hexdigest()}-2"'
            got = server.boto3().get_object(Bucket="bucket", Key=f"k{attempt}")["Body"].read()
            assert got == b"".join(PIECES.values())
        assert server.stop() == 0


class TestOneWins:
    def test_of_complete_and_abort(self, s3: Any, bucket: str) -> None:
        won = {"complete": 0, "abort": 0}
        with ThreadPoolExecutor(4) as pool:
            for attempt in range(40):
                end = begin(s3, bucket, f"k{attempt}", {1: b"x"})
                acts = [
                    (s3.complete_multipart_upload, end),
                    (s3.abort_multipart_upload, where(end)),
                    (s3.abort_multipart_upload, where(end)),
                ]
                if attempt % 2:
                    acts.reverse()
                running = [pool.submit(outcome, act, **arguments) for act, arguments in acts]
                answers = [task.result() for task in running]
                assert sorted(answers) == ["NoSuchUpload", "NoSuchUpload", "done"], answers
                completed = acts[answers.index("done")][0] == s3.complete_multipart_upload
                won["complete" if completed else "abort"] += 1
                found = outcome(s3.head_object, Bucket=bucket, Key=f"k{attempt}")
                assert (found == "done") == completed
        assert sum(won.values()) == 40

    def test_of_completes_with_different_parts(self, s3: Any, bucket: str) -> None:
        """The others are refused, and none of them overwrites what was answered as done."""
        with ThreadPoolExecutor(4) as pool:
            for attempt in range(10):
                end = begin(s3, bucket, "k", {1: b"1", 2: b"2", 3: b"%d" % attempt})
                ends = [end | {"MultipartUpload": {"Parts": [part]}} for part in end["MultipartUpload"]["Parts"]]
                answers = list(pool.map(lambda one: outcome(s3.complete_multipart_upload, **one), ends))
                assert sorted(answers) == ["NoSuchUpload", "NoSuchUpload", "done"], answers
                content = [b"1", b"2", b"%d" % attempt][answers.index("done")]
                assert s3.get_object(Bucket=bucket, Key="k")["Body"].read() == content

    def test_and_the_same_complete_is_answered_the_same(self, s3: Any, bucket: str) -> None:
        end = begin(s3, bucket)
        with ThreadPoolExecutor(8) as pool:
            answers = list(pool.map(lambda _: told(s3.complete_multipart_upload(**end)), range(8)))
        assert all(answer == answers[0] for answer in answers)


def test_aborting_twice(s3: Any, bucket: str) -> None:
    end = begin(s3, bucket)
    s3.abort_multipart_upload(**where(end))
    assert outcome(s3.abort_multipart_upload, **where(end)) == "NoSuchUpload"
    assert outcome(s3.complete_multipart_upload, **end) == "NoSuchUpload"


def test_uploads_do_not_outlive_their_bucket(s3: Any) -> None:
    s3.create_bucket(Bucket="shortlived")
    end, ended = begin(s3, "shortlived"), begin(s3, "shortlived", "ended")
    s3.complete_multipart_upload(**ended)
    s3.delete_object(Bucket="shortlived", Key="ended")
    s3.delete_bucket(Bucket="shortlived")
    assert outcome(s3.complete_multipart_upload, **end) == "NoSuchBucket"
    s3.create_bucket(Bucket="shortlived")
    for gone in (end, ended):
        assert outcome(s3.upload_part, **where(gone), PartNumber=1, Body=b"x") == "NoSuchUpload"
        assert outcome(s3.list_parts, **where(gone)) == "NoSuchUpload"
        assert outcome(s3.complete_multipart_upload, **gone) == "NoSuchUpload"
        assert outcome(s3.abort_multipart_upload, **where(gone)) == "NoSuchUpload"
    assert "Uploads" not in s3.list_multipart_uploads(Bucket="shortlived")
    assert s3.list_objects_v2(Bucket="shortlived")["KeyCount"] == 0


def test_an_abort_on_a_condition_that_is_not_evaluated(server: Any, s3: Any, bucket: str) -> None:
    end = begin(s3, bucket, pieces={1: b"x"})
    reply = server.request(
        "DELETE",
        f"/{bucket}/k?uploadId={end['UploadId']}",
        {"x-amz-if-match-initiated-time": "Sat, 21 Nov 2026 14:00:00 GMT"},
    )
    assert (reply.status, reply.code) == (501, "NotImplemented")
    assert outcome(s3.complete_multipart_upload, **end) == "done"


@pytest.mark.parametrize("conditions", [{"IfMatch": '"other"'}, {"IfNoneMatch": "*"}])
def test_a_condition_that_does_not_hold_leaves_the_upload(s3: Any, bucket: str, conditions: dict[str, str]) -> None:
    s3.put_object(Bucket=bucket, Key="k", Body=b"here before")
    end = begin(s3, bucket, pieces={1: b"x"})
    assert outcome(s3.complete_multipart_upload, **end, **conditions) == "PreconditionFailed"
    assert len(s3.list_parts(**where(end))["Parts"]) == 1
