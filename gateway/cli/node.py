"""`ms3t node`: run a storage node, and let a gateway use it."""

from __future__ import annotations

import re
import shlex
import sys
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path

import click
import uvloop

from gateway.checks.machine import check_http_parser
from gateway.cli.failure import ExitCode, Failure, Verb
from gateway.cli.folder import require_place
from gateway.cli.options import as_json
from gateway.cli.output import show_json
from gateway.config import Listen, TlsFiles
from gateway.logs import Form, Level, set_up_logs
from gateway.node.server.errors import Refused
from gateway.node.server.folder import NodeFolder, NodeKey
from gateway.node.server.node import ALLOCATION_SECONDS, BLOB_BYTES_MAX, NodeSettings, clock_s
from gateway.node.server.service import NodeFailed, Serving, serve
from gateway.sockets import CannotListen
from registry.ucan import archive
from registry.ucan.capability import BlobAccept, BlobAllocate
from registry.ucan.delegation import delegate
from registry.ucan.did import DID
from registry.ucan.errors import Malformed
from registry.ucan.token import Capability

DATA_DIR = "ms3t-node"
DAY_SECONDS = 24 * 60 * 60
_URL = re.compile(r"https?://[A-Za-z0-9.\-:\[\]]+(?:/[A-Za-z0-9._~/-]*)?")

_data_dir = click.option(
    "--data-dir", type=click.Path(path_type=Path), default=DATA_DIR, metavar="DIR", show_default=True,
    help="The node's data folder.",
)  # fmt: skip


@click.group("node")
def verb() -> None:
    """Run a storage node, and let gateways use it."""


@verb.command("serve", cls=Verb)
@_data_dir
@click.option(
    "--listen", metavar="HOST:PORT", default="127.0.0.1:9100", show_default=True, help="Where to accept connections."
)
@click.option("--public-url", metavar="URL", help="What others reach the node by  [default: the address]")
@click.option(
    "--allocation-seconds", metavar="N", type=click.IntRange(1, 30 * DAY_SECONDS), default=ALLOCATION_SECONDS,
    show_default=True, help="How long blobs that are not accepted are kept.",
)  # fmt: skip
@click.option(
    "--blob-bytes-max", metavar="N", type=click.IntRange(1, 2**40), default=BLOB_BYTES_MAX, show_default=True,
    help="Size of the largest blob.",
)  # fmt: skip
@click.option("--tls-cert", type=click.Path(path_type=Path), metavar="FILE", help="Certificate, in PEM, for https.")
@click.option("--tls-key", type=click.Path(path_type=Path), metavar="FILE", help="The certificate's private key.")
@click.option(
    "--log-level", type=click.Choice(("debug", "info", "warning", "error")), default="info", show_default=True,
    help="The least serious message.",
)  # fmt: skip
@click.option(
    "--log-format", type=click.Choice(("text", "json")), default="text", show_default=True,
    help="How messages are written.",
)  # fmt: skip
@as_json
def run(
    data_dir: Path,
    listen: str,
    public_url: str | None,
    allocation_seconds: int,
    blob_bytes_max: int,
    tls_cert: Path | None,
    tls_key: Path | None,
    log_level: Level,
    log_format: Form,
    as_json: bool,
) -> None:
    """Keep blobs for gateways, and answer where they are.

    The first start makes the folder and a key, which is who the node is. What was answered survives
    kill -9 and power loss. SIGTERM and Ctrl-C let requests in progress finish; a second one does not.
    SIGHUP has the TLS certificate read anew and ends nothing.

    \b
    Examples:
      ms3t node serve
      ms3t node serve --data-dir /srv/node --listen 0.0.0.0:9100 --public-url https://node.example.com
    """
    require_place(data_dir, "storage node")
    set_up_logs(log_level, log_format)
    parser = check_http_parser()
    if parser.status == "fail":
        raise Failure(f"{parser.detail}: {parser.todo}")
    settings = NodeSettings(_public_url(public_url), allocation_seconds, blob_bytes_max)
    serving = Serving(data_dir, _listen(listen), settings, _tls(tls_cert, tls_key))

    def started(url: str, did: DID) -> None:
        with suppress(OSError):  # whoever read the output is gone: serve all the same
            if as_json:
                show_json({"url": url, "did": did, "public_url": settings.public_url or url})
            else:
                click.echo(_welcome(data_dir, url, did))

    try:
        uvloop.run(serve(serving, started))
    except (CannotListen, NodeFailed, Refused) as error:
        raise Failure(str(error)) from error


@verb.command("grant", cls=Verb)
@click.argument("did")
@_data_dir
@click.option("--days", metavar="N", type=click.IntRange(1, 36_500), help="For how long  [default: for ever]")
@as_json
def grant(did: str, data_dir: Path, days: int | None, as_json: bool) -> None:
    """Let a gateway store blobs on this node.

    DID is the gateway's, did:key:... . What is printed is the permission: a text for the gateway's
    configuration. Nothing is written, the node may be running, and only the gateway with that key can
    use it.

    \b
    Examples:
      ms3t node grant did:key:z6Mko9hTggMwjSTEaJaPUfE6tqcy2xvU6BnNq3e3o8qVBiyH
      ms3t node grant did:key:z6Mk... --days 365 --json
    """
    try:
        audience = DID.parse(did)
    except Malformed as error:
        raise click.BadParameter(str(error), param_hint="DID") from error
    require_place(data_dir, "storage node")
    folder = NodeFolder(data_dir)
    if not folder.key.is_file():
        raise Failure(
            f"there is no node at {data_dir}: run `ms3t node serve --data-dir {data_dir}` first,"
            " or name another folder with --data-dir",
            ExitCode.NOT_FOUND,
        )
    key = NodeKey.load(folder.key)
    abilities = (BlobAllocate.can, BlobAccept.can)
    expires = None if days is None else clock_s() + days * DAY_SECONDS
    made = delegate(key, audience, [Capability(can, key.did) for can in abilities], expires=expires)
    text = archive.to_text(made)
    if as_json:
        show_json({"node": key.did, "gateway": audience, "can": abilities, "expires": expires, "proof": text})
    else:
        click.echo(text)


def _listen(text: str) -> Listen:
    try:
        return Listen.parse(text)
    except ValueError as error:
        raise click.BadParameter(str(error), param_hint="--listen") from error


def _public_url(text: str | None) -> str:
    if text is None:
        return ""
    if _URL.fullmatch(text) is None:
        raise click.BadParameter("must be a URL such as https://node.example.com", param_hint="--public-url")
    return text.rstrip("/")


def _tls(cert: Path | None, key: Path | None) -> TlsFiles | None:
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise click.UsageError("--tls-cert and --tls-key go together")
    return TlsFiles(cert, key)


def _welcome(data_dir: Path, url: str, did: DID) -> str:
    program = shlex.quote(str(Path(sys.argv[0]).absolute()))
    lines = [
        f"ms3t {version('ms3t')} node {did}",
        f"serves {data_dir} at {url}",
        "To let a gateway use it:",
        "",
        f"  {program} node grant --data-dir {shlex.quote(str(data_dir.absolute()))} DID-OF-THE-GATEWAY",
    ]
    return "\n".join([*lines, ""])
