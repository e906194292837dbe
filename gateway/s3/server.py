"""The S3 front's one entry: every request is parsed, authenticated, routed and answered here.

aiohttp's low-level server, because its application router decodes paths before anybody can look at them, and because
the answer to ``Expect: 100-continue`` has to wait for the verdict.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import structlog
from aiohttp import web
from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from gateway.s3 import sigv2
from gateway.s3.access_log import AccessLog
from gateway.s3.call import Call, Front
from gateway.s3.connection import HttpServer, new_request_id, refusal
from gateway.s3.failures import as_s3_error
from gateway.s3.headers import Headers, fold, with_hoisted
from gateway.s3.owners import check_expected_owner
from gateway.s3.routes import find_route
from gateway.s3.sigv4 import Authenticator, Verified
from gateway.s3.target import Target, parse_target
from gateway.s3.unsupported import refuse_unsupported

HEADERS_MAX = 1024
"""Header lines of one request: 2 KiB of user metadata can be hundreds of very short ones."""
KEEP_ALIVE_SECONDS = 75.0

log = structlog.get_logger(__name__)


class S3Server:
    """Handles the requests of one listener.

    Args:
        front: what all requests share.
        domains: base domains for virtual-hosted addressing.
        access_log: where requests are noted, or None.
        request_header_bytes: longest request line and longest header line; a 1,024-byte key is 3 KiB percent-encoded,
            and presigned URLs carry headers in their query.
    """

    def __init__(self, front: Front, domains: Sequence[str], access_log: AccessLog | None, request_header_bytes: int):
        if HttpRequestParser is HttpRequestParserPy:
            raise RuntimeError(
                "aiohttp runs without its C parser, which is the one hardened against request smuggling: "
                "install a wheel of aiohttp for this platform"
            )
        self._front = front
        self._domains = tuple(domains)
        self._access_log = access_log
        self._authenticator = Authenticator(self._secret, front.region)
        self.web_server = HttpServer(
            self.handle,
            access_log=None,
            # Stored bytes must be sent bytes: the parser would unpack Content-Encoding: gzip.
            auto_decompress=False,
            max_line_size=request_header_bytes,
            max_field_size=request_header_bytes,
            max_headers=HEADERS_MAX,
            keepalive_timeout=KEEP_ALIVE_SECONDS,
        )

    def _secret(self, access_key: str) -> str | None:
        credential = self._front.credential(access_key)
        return None if credential is None or credential.disabled else credential.secret

    def _authenticate(self, method: str, target: Target, headers: Headers) -> Verified:
        """The one way to a `Verified`, for every route."""
        if sigv2.is_presigned(target, headers):
            return sigv2.verify(method, target, headers, time.time(), self._secret)
        return self._authenticator.verify(method, target, headers, time.time())

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        started = time.perf_counter()
        request_id = new_request_id()
        operation = "-"
        access_key = "-"
        try:
            headers = fold(request.raw_headers)
            target = parse_target(request.raw_path, headers.get("host"), self._domains)
            verified = self._authenticate(request.method, target, headers)
            access_key = verified.access_key
            if verified.presigned:
                headers = with_hoisted(headers, target.query)
            route = find_route(request.method, target, headers)
            operation = route.operation
            refuse_unsupported(headers)
            common = {"x-amz-request-id": request_id, "Server": "ms3t"}
            call = Call(self._front, request, request_id, target, headers, verified, common)
            check_expected_owner(call)
            response = await route.handler(call)
        except Exception as error:
            response = self._refuse(request, request_id, error)
        if not request.content.at_eof():
            # The rest of the body would be taken for the next request.
            response.force_close()
        if self._access_log is not None:
            self._access_log.note(
                request,
                response,
                operation=operation,
                access_key=access_key,
                request_id=request_id,
                started=started,
            )
        return response

    def _refuse(self, request: web.BaseRequest, request_id: str, error: Exception) -> web.Response:
        refused = as_s3_error(error)
        path = request.raw_path.partition("?")[0]  # a presigned query is a credential
        if refused.code == "InternalError":
            log.error("request failed", request_id=request_id, path=path, exc_info=error)
        return refusal(
            refused,
            resource=path,
            request_id=request_id,
            method=request.method,
        )
