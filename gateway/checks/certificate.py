"""Checks of the certificate that clients are shown: its files, its time, its names."""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta

from gateway.checks.result import Result, fail, ok, warn
from gateway.config import ConfigError, TlsFiles
from gateway.tls import Certificate

EXPIRES_SOON = timedelta(days=14)


def check_certificate(files: TlsFiles, hosts: Sequence[str]) -> Iterator[Result]:
    """Whether clients will take it, as far as can be told without knowing whom they trust.

    Args:
        files: the certificate and its key.
        hosts: what clients call the server.
    """
    try:
        certificate = Certificate.read(files)
    except ConfigError as error:
        yield fail("certificate", str(error), "correct it: the server does not start")
        return
    until = f"{files.cert} is valid until {certificate.expires:%Y-%m-%d %H:%M} UTC"
    if reason := certificate.why_refused():
        yield fail("certificate", f"{files.cert}: {reason}", "renew it, then send SIGHUP to the server")
    elif certificate.expires - datetime.now(UTC) < EXPIRES_SOON:
        yield warn("certificate", until, "renew it, then send SIGHUP to the server")
    else:
        yield ok("certificate", until)
    if (mode := stat.S_IMODE(files.key.stat().st_mode)) & stat.S_IRWXO:
        yield fail("certificate key", f"{files.key} has mode {mode:04o}: anybody may read it", f"chmod 600 {files.key}")
    else:
        yield ok("certificate key", f"{files.key} belongs to it, mode {mode:04o}")
    names = ", ".join(certificate.names) or "nothing"
    missing = [host for host in hosts if not certificate.covers(host)]
    if missing:
        yield warn(
            "certificate names",
            f"it is for {names}, not for {', '.join(missing)}",
            "get one for every name that clients use, or have them use another endpoint",
        )
    else:
        yield ok("certificate names", f"it is for {names}")
