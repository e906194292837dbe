"""The certificate: what is refused at start, what it says of itself, that a new one is shown."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from gateway.config import ConfigError, TlsFiles, load_config
from gateway.tls import Certificate, ServerTls
from tests.certificates import Authority, Issued


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def files_of(issued: Issued) -> TlsFiles:
    return TlsFiles(issued.cert, issued.key)


def test_what_a_certificate_says(authority: Authority) -> None:
    issued = authority.issue(names=["S3.example.com", "*.s3.example.com", "127.0.0.1", "::1"])
    certificate = Certificate.read(files_of(issued))
    assert certificate.names == ("s3.example.com", "*.s3.example.com", "127.0.0.1", "::1")
    assert certificate.why_refused() == ""
    for host in ("s3.example.com", "S3.EXAMPLE.COM.", "photos.s3.example.com", "127.0.0.1", "::1"):
        assert certificate.covers(host), host
    for host in ("example.com", "a.b.s3.example.com", ".s3.example.com.evil", "127.0.0.2", "", "com"):
        assert not certificate.covers(host), host


@pytest.mark.parametrize(("days", "reason"), [((-9, -2), "it expired on "), ((2, 9), "it is not valid before ")])
def test_a_certificate_out_of_its_time_is_usable_but_named(
    authority: Authority, days: tuple[int, int], reason: str
) -> None:
    issued = authority.issue(days=days)
    assert Certificate.read(files_of(issued)).why_refused().startswith(reason)
    ServerTls(files_of(issued))


def test_what_is_no_certificate_or_key_is_named(authority: Authority, tmp_path: Path) -> None:
    good, other = authority.issue(), authority.issue("other")
    locked = authority.issue("locked", password=b"secret")
    junk, empty, missing = tmp_path / "junk", tmp_path / "empty", tmp_path / "missing"
    junk.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n\xff")
    empty.write_bytes(b"")
    for files, key, told in (
        (TlsFiles(missing, good.key), "tls.cert", f"cannot read {missing}: No such file"),
        (TlsFiles(good.cert, missing), "tls.key", f"cannot read {missing}: No such file"),
        (TlsFiles(tmp_path, good.key), "tls.cert", f"cannot read {tmp_path}: Is a directory"),
        (TlsFiles(junk, good.key), "tls.cert", f"{junk} has no PEM certificate"),
        (TlsFiles(empty, good.key), "tls.cert", f"{empty} has no PEM certificate"),
        (TlsFiles(good.key, good.key), "tls.cert", f"{good.key} has no PEM certificate"),
        (TlsFiles(good.cert, junk), "tls.key", f"{junk} has no PEM private key"),
        (TlsFiles(good.cert, good.cert), "tls.key", f"{good.cert} has no PEM private key"),
        (TlsFiles(locked.cert, locked.key), "tls.key", f"{locked.key} has no PEM private key without a password"),
        (TlsFiles(good.cert, other.key), "tls.key", f"{other.key} is not the key of the certificate in {good.cert}"),
    ):
        with pytest.raises(ConfigError) as caught:
            ServerTls(files)
        assert str(caught.value).startswith(f"{key}: {told}"), files


def test_one_without_the_other_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "ms3t.yaml"
    file.write_text("tls:\n  key: a.pem\n")
    with pytest.raises(ConfigError, match=r"ms3t.yaml:2: tls.key is 'a.pem': tls.cert and tls.key belong together"):
        load_config(file, {})
    with pytest.raises(ConfigError, match=r"variable MS3T_TLS_CERT: tls.cert is 'a.pem': tls.cert and tls.key belong"):
        load_config(None, {"MS3T_TLS_CERT": "a.pem"})
    config = load_config(file, {"MS3T_TLS_CERT": "b.pem"})
    assert config.tls.files == TlsFiles(Path("b.pem"), Path("a.pem"))
    assert load_config(None, {}).tls.files is None


def _shown(tls: ServerTls, authority: Authority, **limits: ssl.TLSVersion) -> tuple[bytes, str]:
    """The certificate and the version a client meets, by a handshake in memory."""
    client_context = ssl.create_default_context(cafile=str(authority.ca_file))
    client_context.set_alpn_protocols(["h2", "http/1.1"])
    for name, version in limits.items():
        setattr(client_context, name, version)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    server = tls.context.wrap_bio(to_server, to_client, server_side=True)
    client = client_context.wrap_bio(to_client, to_server, server_hostname="localhost")
    done: set[ssl.SSLObject] = set()
    while len(done) < 2:
        for end in (client, server):
            try:
                end.do_handshake()
                done.add(end)
            except ssl.SSLWantReadError:
                pass
    assert client.selected_alpn_protocol() == "http/1.1"
    encoded, version_name = client.getpeercert(binary_form=True), client.version()
    assert encoded is not None and version_name is not None
    return encoded, version_name


def test_a_new_certificate_is_shown_after_a_reload(authority: Authority) -> None:
    issued = authority.issue()
    old = Certificate.read(files_of(issued)).encoded
    tls = ServerTls(files_of(issued))
    authority.issue()
    new = Certificate.read(files_of(issued)).encoded
    assert _shown(tls, authority) == (old, "TLSv1.3")
    tls.reload()
    assert _shown(tls, authority) == (new, "TLSv1.3")
    issued.cert.write_text("")
    with pytest.raises(ConfigError):
        tls.reload()
    assert _shown(tls, authority) == (new, "TLSv1.3")


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated")
def test_versions_from_1_2_on(authority: Authority) -> None:
    tls = ServerTls(files_of(authority.issue()))
    assert _shown(tls, authority, maximum_version=ssl.TLSVersion.TLSv1_2)[1] == "TLSv1.2"
    with pytest.raises(ssl.SSLError):
        _shown(tls, authority, minimum_version=ssl.TLSVersion.TLSv1_1, maximum_version=ssl.TLSVersion.TLSv1_1)
