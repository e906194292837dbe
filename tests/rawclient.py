"""S3 requests as bytes on a socket, signed by botocore: what no SDK would send, and answers as they stood on the wire.

Nothing here imports the project: what a test learns, it learns over the wire.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import http.client
import socket
import ssl
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.signing import HeaderSigner, QuerySigner

REPLY_SECONDS_MAX = 20.0


@dataclass(frozen=True)
class Reply:
    """An answer as it stood on the wire; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def element(self, name: str) -> str | None:
        """The text of the first XML element of that name."""
        for found in ElementTree.fromstring(self.body).iter():
            if found.tag.rpartition("}")[2] == name:
                return found.text or ""
        return None

    @property
    def code(self) -> str | None:
        return self.element("Code") if self.body else None


def wire_form(
    method: str, target: str, headers: Mapping[str, str], body: bytes = b"", *, length: int | None = -1
) -> bytes:
    """A request as bytes; ``length`` None leaves Content-Length out, -1 counts the body."""
    headers = dict(headers)
    if length == -1 and (body or method in ("PUT", "POST")) and "Transfer-Encoding" not in headers:
        length = len(body)
    if length not in (None, -1):
        headers["Content-Length"] = str(length)
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    return "\r\n".join(lines).encode() + body


def read_reply(connection: socket.socket, method: str = "GET") -> Reply | None:
    """The next answer on a connection, interim ones skipped; None if the other side closed it."""
    with contextlib.closing(http.client.HTTPResponse(connection, method=method)) as response:
        try:
            response.begin()
            body = response.read()
        except (http.client.RemoteDisconnected, ConnectionResetError):
            return None
        return Reply(response.status, {name.lower(): value for name, value in response.getheaders()}, body)


class ChunkSigner:
    """The chain of signatures over the chunks of a body, begun by the signature of the request."""

    def __init__(self, signed: Mapping[str, str], secret: str):
        terms = dict(part.strip().split("=", 1) for part in signed["Authorization"].partition(" ")[2].split(","))
        self._scope = terms["Credential"].partition("/")[2]
        self._at = signed["X-Amz-Date"]
        self._last = terms["Signature"]
        self._key = f"AWS4{secret}".encode()
        for step in self._scope.split("/"):
            self._key = hmac.digest(self._key, step.encode(), "sha256")

    def _sign(self, kind: str, subject: str) -> str:
        text = f"{kind}\n{self._at}\n{self._scope}\n{self._last}\n{subject}"
        self._last = hmac.new(self._key, text.encode(), "sha256").hexdigest()
        return self._last

    def extension(self, chunk: bytes) -> str:
        """What follows the length of a chunk."""
        digests = f"{hashlib.sha256(b'').hexdigest()}\n{hashlib.sha256(chunk).hexdigest()}"
        return f";chunk-signature={self._sign('AWS4-HMAC-SHA256-PAYLOAD', digests)}"

    def trailer(self, name: str, value: str) -> str:
        """The line that follows the trailing headers."""
        digest = hashlib.sha256(f"{name}:{value}\n".encode()).hexdigest()
        return f"x-amz-trailer-signature:{self._sign('AWS4-HMAC-SHA256-TRAILER', digest)}"


@dataclass(kw_only=True)
class RawClient:
    """Sends requests byte by byte, each as right or as wrong as it is told.

    Attributes:
        environment: the endpoint, the region and the credential, in the variables that SDKs read.
        ca_file: the authority that vouches for the server, None for plain HTTP.
    """

    environment: dict[str, str] = field(default_factory=dict)
    ca_file: Path | None = None

    wire_form = staticmethod(wire_form)
    read_reply = staticmethod(read_reply)

    @property
    def endpoint(self) -> str:
        return self.environment["AWS_ENDPOINT_URL"]

    @property
    def host(self) -> str:
        return self.endpoint.partition("://")[2]

    # Signing

    def signed(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        body: bytes = b"",
        *,
        payload: str | None = None,
        skew_seconds: float = 0,
        access_key: str | None = None,
        secret: str | None = None,
        region: str | None = None,
        host: str | None = None,
    ) -> dict[str, str]:
        """The headers of a request as botocore signs it; ``payload`` replaces the digest of the body."""
        host = host or self.host
        request = AWSRequest(method, f"http://{host}{target}", headers=dict(headers or {}), data=body)
        credentials, region = self.credentials(access_key, secret), region or self.environment["AWS_DEFAULT_REGION"]
        HeaderSigner(credentials, "s3", region, at=time.time() + skew_seconds, declared=payload).add_auth(request)
        return {"Host": host} | dict(request.headers.items())

    def presigned(
        self, method: str, target: str, seconds: int = 60, *, skew_seconds: float = 0, host: str | None = None
    ) -> str:
        """The request target with botocore's signature in its query."""
        host = host or self.host
        request = AWSRequest(method, f"http://{host}{target}")
        region, at = self.environment["AWS_DEFAULT_REGION"], time.time() + skew_seconds
        QuerySigner(self.credentials(), "s3", region, at=at, expires=seconds).add_auth(request)
        return request.url.removeprefix(f"http://{host}")

    def chunked(
        self,
        target: str,
        data: bytes,
        headers: Mapping[str, str] | None = None,
        *,
        chunk_bytes: int = 64 * 1024,
        sign_chunks: bool = False,
        trailer: tuple[str, str] | None = None,
        decoded_length: str | None = None,
        http_chunks: bool = False,
    ) -> tuple[dict[str, str], bytes]:
        """A PUT framed as aws-chunked: its signed headers and its body.

        Args:
            target: the request target.
            data: the content.
            headers: more headers.
            chunk_bytes: length of one aws-chunk.
            sign_chunks: whether each chunk carries a signature, as restic and Hadoop send it.
            trailer: name and value of a trailing header, as boto3 sends it over TLS.
            decoded_length: what to declare instead of the content's length.
            http_chunks: whether HTTP's own chunked encoding is around it, as boto3 has it over TLS.
        """
        mode = "AWS4-HMAC-SHA256-PAYLOAD" if sign_chunks else "UNSIGNED-PAYLOAD"
        announced = {"x-amz-trailer": trailer[0]} if trailer else {}
        signed = self.signed(
            "PUT",
            target,
            {
                "Content-Encoding": "aws-chunked",
                "x-amz-decoded-content-length": str(len(data)) if decoded_length is None else decoded_length,
                **announced,
                **(headers or {}),
            },
            payload=f"STREAMING-{mode}{'-TRAILER' if trailer or not sign_chunks else ''}",
        )
        chain = ChunkSigner(signed, self.environment["AWS_SECRET_ACCESS_KEY"]) if sign_chunks else None
        body = bytearray()
        for chunk in [*(data[at : at + chunk_bytes] for at in range(0, len(data), chunk_bytes)), b""]:
            body += f"{len(chunk):x}{chain.extension(chunk) if chain else ''}\r\n".encode() + chunk
            body += b"\r\n" if chunk else b""
        if trailer:
            body += f"{trailer[0]}:{trailer[1]}\r\n".encode()
            body += f"{chain.trailer(*trailer)}\r\n".encode() if chain else b""
        body += b"\r\n"
        if http_chunks:
            signed["Transfer-Encoding"] = "chunked"
            pieces = [body[at : at + 50_000] for at in range(0, len(body), 50_000)]
            body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in [*pieces, b""])
        return signed, bytes(body)

    def credentials(self, access_key: str | None = None, secret: str | None = None) -> Credentials:
        return Credentials(
            access_key or self.environment["AWS_ACCESS_KEY_ID"], secret or self.environment["AWS_SECRET_ACCESS_KEY"]
        )

    # Sending

    def connect(self) -> socket.socket:
        """A new connection."""
        address, _, port = self.host.rpartition(":")
        connection = socket.create_connection((address, int(port)), timeout=REPLY_SECONDS_MAX)
        if self.ca_file is None:
            return connection
        return ssl.create_default_context(cafile=str(self.ca_file)).wrap_socket(connection, server_hostname=address)

    def exchange(self, wire: bytes, method: str = "GET") -> Reply | None:
        """Send bytes on a connection of their own and read one answer; None if it was closed without one."""
        with self.connect() as connection:
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                connection.sendall(wire)
            return read_reply(connection, method)

    def send(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes = b"",
        *,
        length: int | None = -1,
    ) -> Reply:
        """Send a request with exactly these headers; Content-Length is the body's unless ``length`` says otherwise."""
        reply = self.exchange(wire_form(method, target, headers, body, length=length), method)
        assert reply is not None, "the connection was closed without an answer"
        return reply

    def request_on(
        self, connection: socket.socket, method: str, target: str, body: bytes = b"", **headers: str
    ) -> Reply:
        """Sign a request, send it on a connection that stays open, and read the answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.sendall(wire_form(method, target, self.signed(method, target, named, body), body))
        reply = read_reply(connection, method)
        assert reply is not None, "the connection was closed without an answer"
        return reply

    def request(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, body: bytes = b"", **signing: Any
    ) -> Reply:
        """Sign a request and send it."""
        return self.send(method, target, self.signed(method, target, headers, body, **signing), body)
