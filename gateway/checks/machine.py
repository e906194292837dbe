"""Checks of the machine: its clock, the port the server is to listen on, the HTTP parser it would use."""

from __future__ import annotations

import http.client
import socket
import ssl
import time
from datetime import UTC, datetime
from urllib.parse import urlsplit

from aiohttp.http_parser import HttpRequestParser, HttpRequestParserPy

from gateway.checks.result import Result, fail, ok, warn
from gateway.s3.httpdate import parse_http

YEAR_MIN, YEAR_MAX = 2025, 2100
"""A clock outside of these years was never set."""
CLOCK_LOOK_SECONDS = 0.2
CLOCK_JUMP_SECONDS_MAX = 0.05
SKEW_SECONDS_MAX = 900
"""S3 refuses requests whose time differs by more than a quarter of an hour."""
ANSWER_SECONDS_MAX = 5.0
_SERVER_NAME = "ms3t"


def check_clock(newest_commit_ms: int | None) -> Result:
    """Whether the wall clock can be right, and stands still against the monotonic one.

    Args:
        newest_commit_ms: the newest commit's time, or None if there is none.
    """
    todo = "set the clock: requests are refused when it differs from the client's by 15 minutes"
    wall, steady = time.time(), time.monotonic()
    time.sleep(CLOCK_LOOK_SECONDS)
    jump = (time.time() - wall) - (time.monotonic() - steady)
    now = datetime.fromtimestamp(wall, UTC)
    shown = now.isoformat(timespec="seconds")
    if not YEAR_MIN <= now.year <= YEAR_MAX:
        return fail("clock", f"it shows {shown}", todo)
    if newest_commit_ms is not None and newest_commit_ms / 1000 > wall + SKEW_SECONDS_MAX:
        newest = datetime.fromtimestamp(newest_commit_ms / 1000, UTC).isoformat(timespec="seconds")
        return warn("clock", f"it shows {shown}, but the newest commit is of {newest}", todo)
    if abs(jump) > CLOCK_JUMP_SECONDS_MAX:
        return warn("clock", f"it jumped by {jump:+.3f} s while being looked at", todo)
    return ok("clock", shown)


def check_port(host: str, port: int) -> Result:
    """Whether a server could listen there now."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        for family, _, _, _, address in found:
            with socket.socket(family, socket.SOCK_STREAM) as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(address)
    except OSError as error:
        return fail(
            "port",
            f"cannot listen on {host}:{port}: {error.strerror}",
            "stop what listens there, or choose another with --listen",
        )
    return ok("port", f"{host}:{port} is free")


def check_running(endpoint: str) -> Result:
    """Whether the server that owns the folder answers, and what time it has."""
    connection = _connection(endpoint)
    try:
        connection.request("GET", "/")
        answer = connection.getresponse()
    except (OSError, http.client.HTTPException) as error:
        return fail("server", f"{endpoint} does not answer: {error}", "look into the server's log")
    finally:
        connection.close()
    if answer.getheader("Server") != _SERVER_NAME:
        return fail("server", f"something else than ms3t answers at {endpoint}", "stop one of the two")
    theirs = parse_http(answer.getheader("Date", ""))
    if theirs is None or abs(theirs - time.time()) > SKEW_SECONDS_MAX:
        return warn("server", f"{endpoint} answers, with another time", "restart it after setting the clock")
    return ok("server", f"{endpoint} answers")


def _connection(endpoint: str) -> http.client.HTTPConnection:
    parts = urlsplit(endpoint)
    host, port = parts.hostname or "", parts.port or 0
    if parts.scheme != "https":
        return http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS_MAX)
    # Whom clients trust is not known here; the certificate has a check of its own.
    trusting = ssl.create_default_context()
    trusting.check_hostname = False
    trusting.verify_mode = ssl.CERT_NONE
    return http.client.HTTPSConnection(host, port, timeout=ANSWER_SECONDS_MAX, context=trusting)


def check_http_parser() -> Result:
    """Whether aiohttp parses requests with the parser that is hardened against smuggling."""
    if HttpRequestParser is HttpRequestParserPy:
        return fail(
            "HTTP parser",
            "aiohttp runs without its C parser, the server will not start",
            "install a wheel of aiohttp made for this platform, and unset AIOHTTP_NO_EXTENSIONS",
        )
    return ok("HTTP parser", "aiohttp's C parser")
