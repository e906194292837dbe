"""The certificate that the server shows: checked before it is used, and replaced while connections go on."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from gateway.config import ConfigError, TlsFiles

_Parsed = TypeVar("_Parsed")


@dataclass(frozen=True, slots=True)
class Certificate:
    """What clients will see.

    Attributes:
        begins: from when on it is valid.
        expires: until when.
        names: the host names and addresses it is for; a name may begin with ``*.``.
        encoded: it in DER, without those that vouch for it.
    """

    begins: datetime
    expires: datetime
    names: tuple[str, ...]
    encoded: bytes

    @classmethod
    def read(cls, files: TlsFiles) -> Certificate:
        """The certificate in the configured files.

        Raises:
            ConfigError: a file cannot be read, is not what it should be, or the two do not belong together.
        """
        first, *_ = _parse("tls.cert", files.cert, "PEM certificate", x509.load_pem_x509_certificates)
        key = _parse("tls.key", files.key, "PEM private key without a password", _private_key)
        if _public(first.public_key()) != _public(key.public_key()):
            raise ConfigError(f"tls.key: {files.key} is not the key of the certificate in {files.cert}")
        return cls(
            first.not_valid_before_utc, first.not_valid_after_utc, _names(first), first.public_bytes(Encoding.DER)
        )

    def why_refused(self, now: datetime | None = None) -> str:
        """Why clients refuse it now, whatever they call the server; empty if nothing is known."""
        now = now or datetime.now(UTC)
        if now > self.expires:
            return f"it expired on {self.expires:%Y-%m-%d}"
        return f"it is not valid before {self.begins:%Y-%m-%d}" if now < self.begins else ""

    def covers(self, host: str) -> bool:
        """Whether it is for ``host``, a name or an address; a star stands for one label."""
        wanted = host.lower().rstrip(".")
        return any(name in (wanted, f"*.{wanted.partition('.')[2]}") for name in self.names)


class ServerTls:
    """What handshakes are done with.

    Args:
        files: the certificate and its key.

    Raises:
        ConfigError: they cannot be used.
    """

    def __init__(self, files: TlsFiles):
        self._files = files
        self._newest = self.context = _context(files)
        self.context.sni_callback = self._show_newest

    def reload(self) -> None:
        """Read the files anew; connections that are open keep what they began with.

        Raises:
            ConfigError: they cannot be used, and what was read before is used on.
        """
        self._newest = _context(self._files)

    def _show_newest(self, connection: ssl.SSLObject, name: str | None, context: ssl.SSLContext) -> None:
        # Called in each handshake, with or without a name.
        connection.context = self._newest


def _context(files: TlsFiles) -> ssl.SSLContext:
    Certificate.read(files)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["http/1.1"])
    try:
        context.load_cert_chain(files.cert, files.key, password="")  # or OpenSSL would ask the terminal for one
    except OSError as error:
        raise ConfigError(f"tls.cert: {files.cert} with tls.key {files.key} cannot be used: {error}") from error
    return context


def _parse(key: str, path: Path, what: str, parse: Callable[[bytes], _Parsed]) -> _Parsed:
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise ConfigError(f"{key}: cannot read {path}: {error.strerror}") from error
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise ConfigError(f"{key}: {path} has no {what}") from error


def _private_key(data: bytes) -> Any:
    return load_pem_private_key(data, None)


def _public(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()  # the common name has not counted for years
    hosts = [name.lower() for name in names.get_values_for_type(x509.DNSName)]
    return (*hosts, *map(str, names.get_values_for_type(x509.IPAddress)))
