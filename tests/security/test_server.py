"""The whole server: advisories about other S3 servers, each as a test with its id in the name, seen from outside."""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Mapping
from urllib.parse import quote

import pytest

from tests.rawclient import Reply
from tests.servers import Server
from tests.waiting import wait_until

pytestmark = pytest.mark.usefixtures("kept")

PUBLIC_FILES = re.compile(
    r"lock|space\.key|registry\.db(-wal|-shm)?|server\.json|(index|shared)/[a-z.]+|segments/(log|bulk)-[0-9a-f]+\.car"
)


def bare(server: Server, **headers: str) -> dict[str, str]:
    """The headers of a request that nobody signed."""
    return {"Host": server.host} | {name.replace("_", "-"): value for name, value in headers.items()}


def without_ids(reply: Reply) -> tuple[int, bytes]:
    return reply.status, re.sub(rb"<(RequestId|Resource)>[^<]*</\1>", b"", reply.body)


@pytest.mark.parametrize("value", ["\t", "x" * 8000, "%00", "=?utf-8?q?=00?=", "\u00ff" * 50, "-1", ",,,,", "*"])
def test_cve_2019_19337_malformed_headers_stop_nobody(server: Server, value: str) -> None:
    for name in ("Date", "Authorization", "Range", "Expect", "x-amz-date", "x-amz-content-sha256", "If-Match"):
        reply = server.send("GET", "/target/kept", bare(server) | {name: value})
        assert reply.status in (400, 403)
        if name not in ("Authorization", "x-amz-date", "x-amz-content-sha256"):
            reply = server.request("GET", "/target/kept", {name: value.strip() or "x"})
            assert reply.status < 500


@pytest.mark.parametrize("origin", ["", "null", "http://", "*", "http://evil.test", "\u00e9", "http://" + "a." * 2000])
def test_cve_2016_9579_no_origin_is_obeyed_or_reflected(server: Server, origin: str) -> None:
    for reply in (
        server.request("GET", "/target/kept", {"Origin": origin or "x"}),
        server.send("GET", "/target/kept", bare(server, Origin=origin)),
        server.send("OPTIONS", "/target/kept", bare(server, Origin=origin, Access_Control_Request_Method="PUT")),
    ):
        assert reply.status < 500
        assert not any(name.startswith("access-control") for name in reply.headers)


def test_cve_2020_1760_overrides_need_a_signature(server: Server) -> None:
    reply = server.send("GET", "/target/kept?response-content-type=text%2Fhtml", bare(server))
    assert (reply.status, reply.headers["content-type"]) == (403, "application/xml")


def test_cve_2025_27088_errors_are_no_pages(server: Server) -> None:
    script = "<script>alert(1)</script>"
    for reply in (
        server.request("GET", f"/target/{quote(script)}"),
        server.request("GET", f"/{script}/key"),
        server.request("GET", f"/target?max-keys={quote(script)}"),
        server.request("GET", "/target/kept", {"x-amz-checksum-mode": script, "Range": script}, access_key=script),
    ):
        assert reply.headers["content-type"] == "application/xml"
        assert script.encode() not in reply.body
        assert reply.code


@pytest.mark.parametrize("name", ["a%0D%0ASet-Cookie:%20x", "a%0aLocation:%20x", "a%00", "a%0d"])
def test_cve_2015_5245_no_header_comes_out_of_a_bucket_name(server: Server, name: str) -> None:
    for target in (f"/{name}", f"/{name}/key"):
        reply = server.request("PUT", target)
        assert reply.status == 400
        assert not {"set-cookie", "location"} & reply.headers.keys()


@pytest.mark.parametrize(
    ("target", "body"),
    [
        ("/target?tagging", b"<Tagging"), ("/target?delete", b"<Delete"), ("/target?delete", b""),
        ("/target/kept?uploadId=x", b"<"),
        ("/target/kept?restore", b"<"), ("/target/kept?select", b"\0"), ("/target", b"--b\r\n"), ("/", b"x"),
        ("/target/kept", b""),
    ],
)  # fmt: skip
def test_cve_2020_12059_and_cve_2016_8626_malformed_posts(server: Server, target: str, body: bytes) -> None:
    for content_type in (
        "",
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "application/xml",
        "\u00e9/\u00e9",
    ):
        signed = server.request("POST", target, {"Content-Type": content_type or "x"}, body)
        assert 400 <= signed.status < 500 or signed.status == 501
        unsigned = server.send("POST", target, bare(server, Content_Type=content_type), body)
        assert unsigned.status == 403


def test_cve_2023_43040_and_cve_2023_28434_a_form_names_no_other_bucket(server: Server) -> None:
    fields: Mapping[str, str] = {"bucket": "target", "key": "kept", "file": "forged"}
    parts = (f'--b\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n' for name, text in fields.items())
    body = ("".join(parts) + "--b--\r\n").encode()
    form = {"Content-Type": "multipart/form-data; boundary=b"}
    assert server.send("POST", "/other", bare(server) | form, body).status == 403
    assert server.request("POST", "/target", form, body).status in (400, 501)


def test_cve_2018_16889_the_log_has_no_secret(server: Server) -> None:
    secret = server.environment["AWS_SECRET_ACCESS_KEY"]
    signed = server.signed("GET", "/target/kept")
    presigned = server.presigned("GET", "/target/kept")
    server.send("GET", "/target/kept", signed)
    server.send("GET", "/target/kept", signed | {"x-amz-date": "x"})
    server.send("GET", presigned, bare(server))
    server.send("GET", presigned + "0", bare(server))
    # What is no HTTP request holds them too.
    server.exchange(b"\0" + server.wire_form("GET", presigned, signed))
    for old, new in ((b" HTTP/1.1", b"\t HTTP/1.1"), (b"\r\n", b"\xff\r\n"), (b"\r\n\r\n", b"\r\nX\xff: 1\r\n\r\n")):
        server.exchange(server.wire_form("GET", presigned, signed).replace(old, new))
    server.exchange(f"GET http://[{presigned} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
    for text in (secret, signed["Authorization"].rpartition("=")[2], presigned.rpartition("=")[2], "X-Amz-"):
        assert text not in server.log


def test_cve_2026_21862_the_peer_is_the_peer(server: Server) -> None:
    spoofed = dict.fromkeys(("X-Forwarded-For", "X-Real-IP", "Forwarded", "True-Client-IP"), "203.0.113.7")
    assert server.request("GET", "/target/kept", spoofed).status == 200
    assert server.request("GET", "/target/no-such-key", spoofed).status == 404
    assert "203.0.113.7" not in server.log


def test_cve_2026_42600_keys_never_become_paths(server: Server) -> None:
    keys = ("a/../b", "etc/passwd", "./x", "a//b", "C:\\x", "segments/log-0.car", "registry.db", "~", "a\nb", "-rf")
    for key in keys:
        assert server.request("PUT", f"/target/{quote(key)}", body=b"x").status == 200
    names = [path.relative_to(server.data_dir).as_posix() for path in server.data_dir.rglob("*") if path.is_file()]
    assert names
    assert all(PUBLIC_FILES.fullmatch(name) for name in names), names


def test_cve_2024_36107_conditions_tell_strangers_nothing(server: Server) -> None:
    """Without a signature, what exists and what does not look the same, whatever is asked."""
    since = {"If-Modified-Since": "Sun, 06 Nov 1994 08:49:37 GMT"}
    conditions: tuple[dict[str, str], ...] = (since, {"If-None-Match": "*"}, {"If-Match": '"x"'}, {})
    found = {
        without_ids(server.send(method, path, bare(server) | condition))
        for method in ("GET", "PUT", "DELETE")
        for path in ("/target/kept", "/target/no-such-key", "/no-such-bucket/key")
        for condition in conditions
    }
    assert len(found) == 1
    assert found.pop()[0] == 403


def test_cve_2026_73080_and_cve_2021_21287_the_server_fetches_from_nowhere(server: Server) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.setblocking(False)
        port = listener.getsockname()[1]
        for source in (
            f"http://127.0.0.1:{port}/a",
            f"//127.0.0.1:{port}/a",
            f"127.0.0.1:{port}/a",
            "file:///etc/passwd",
        ):
            reply = server.request("PUT", "/target/copy", {"x-amz-copy-source": source})
            assert reply.status in (400, 404)
        with pytest.raises(BlockingIOError):
            listener.accept()


def test_cve_2026_39944_a_forged_token_opens_nothing(server: Server) -> None:
    """A continuation token is a place to go on from and no more."""
    from gateway.s3.listing import encode_token

    for place in (b"", b"kept", b"\xff", b"../other", b"zzz\0"):
        token = quote(encode_token(place))
        reply = server.request("GET", f"/target?list-type=2&prefix=nothing-here&continuation-token={token}")
        assert (reply.status, reply.element("KeyCount")) == (200, "0")
        other = server.request("GET", f"/no-such-bucket?list-type=2&continuation-token={token}")
        assert (other.status, other.code) == (404, "NoSuchBucket")


def test_cve_2022_31028_cve_2020_1700_and_cve_2019_3821_broken_connections_leave_no_socket(server: Server) -> None:
    folder = f"/proc/{server.process.pid}/fd"

    def sockets() -> int:
        found = 0
        for name in os.listdir(folder):
            with contextlib.suppress(FileNotFoundError):
                found += os.readlink(f"{folder}/{name}").startswith("socket:")
        return found

    server.close_clients()
    before = sockets()
    upload = server.wire_form("PUT", "/target/broken", server.signed("PUT", "/target/broken"), b"x", length=1000)
    for wire in (b"", b"GET / HT", upload, upload[:200], server.wire_form("GET", "/target/kept", bare(server))) * 20:
        connection = server.connect()
        connection.sendall(wire)
        # Reset instead of an orderly end.
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        connection.close()
    wait_until(lambda: sockets() <= before)
