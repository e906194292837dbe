"""`ms3t node`: a node in a process of its own, and what lets a gateway use it."""

from __future__ import annotations

import json
import os
import signal
import ssl
import stat
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from registry.ucan import archive
from registry.ucan.did import DID
from registry.ucan.signing import KeySigner
from registry.ucan.v091 import UCAN_0_9_1
from tests.certificates import Authority
from tests.node_client import NodeClient, blob_of, call
from tests.node_process import MS3T, NodeProcess

GATEWAY = KeySigner(b"\x02" * 32).did
WAIT_SECONDS = 30


@pytest.fixture
def serve_node(tmp_path: Path) -> Iterator[Callable[..., NodeProcess]]:
    started: list[NodeProcess] = []

    def start(*options: str) -> NodeProcess:
        started.append(NodeProcess(tmp_path / "node", *options))
        return started[-1]

    yield start
    for node in started:
        node.stop(signal.SIGKILL)


def _client(node: NodeProcess, ms3t: Callable[..., Result]) -> NodeClient:
    result = ms3t("node", "grant", GATEWAY, data=node.data)
    assert result.exit_code == 0, result.stderr
    return NodeClient(node.ready["url"], DID(node.ready["did"]), archive.from_text(result.stdout.strip()))


def test_a_granted_gateway_stores_and_reads(
    serve_node: Callable[..., NodeProcess], ms3t: Callable[..., Result]
) -> None:
    node = serve_node()
    client = _client(node, ms3t)
    location = client.store(b"hello world")
    assert location.urls[0].startswith(node.ready["url"])
    assert client.read(blob_of(b"hello world").digest, 0, 10) == b"hello world"
    os.kill(node.process.pid, signal.SIGHUP)
    assert client.read(blob_of(b"hello world").digest, 0, 4) == b"hello"
    assert node.stop() == 0
    again = serve_node("--public-url", "http://node.example.com/", "--log-format", "json")
    assert again.ready["did"] == node.ready["did"]
    assert again.ready["public_url"] == "http://node.example.com"
    client = _client(again, ms3t)
    assert client.read(blob_of(b"hello world").digest, 0, 10) == b"hello world"
    assert client.accept(blob_of(b"hello world")).urls[0].startswith("http://node.example.com/blob/z")
    assert again.stop(signal.SIGINT) == 0


def test_the_key_is_private(serve_node: Callable[..., NodeProcess]) -> None:
    node = serve_node()
    assert stat.S_IMODE((node.data / "node.key").stat().st_mode) == 0o600


def test_one_node_a_folder(serve_node: Callable[..., NodeProcess], ms3t: Callable[..., Result]) -> None:
    node = serve_node()
    second = ms3t("node", "serve", "--listen", "127.0.0.1:0", data=node.data)
    assert second.exit_code == 4
    assert f"in use by process {node.process.pid}" in second.stderr


def test_limits_of_the_command_line_are_the_nodes(
    serve_node: Callable[..., NodeProcess], ms3t: Callable[..., Result]
) -> None:
    node = serve_node("--blob-bytes-max", "5", "--allocation-seconds", "100")
    client = _client(node, ms3t)
    client.store(b"12345")
    [found] = client.execute(client.allocation(blob_of(b"123456")))
    assert "BlobSize" in str(found.out)
    allocated = client.allocate(blob_of(b"1234"))
    assert allocated.address is not None
    assert abs(allocated.address.expires - client.now() - 100) < 20


def test_a_grant_is_for_one_gateway(
    serve_node: Callable[..., NodeProcess], ms3t: Callable[..., Result], ms3t_json: Callable[..., Any]
) -> None:
    node = serve_node()
    made = ms3t_json("node", "grant", GATEWAY, "--days", "2", data=node.data)
    assert made["node"] == node.ready["did"]
    assert made["gateway"] == GATEWAY
    token = archive.from_text(made["proof"]).token
    UCAN_0_9_1.verify(token)
    assert (token.payload.issuer, token.payload.audience) == (made["node"], GATEWAY)
    assert {one.can for one in token.payload.capabilities} == {"blob/allocate", "blob/accept"} == set(made["can"])
    assert {one.resource for one in token.payload.capabilities} == {made["node"]}
    assert token.payload.expires == made["expires"]
    for_ever = ms3t_json("node", "grant", GATEWAY, data=node.data)
    assert for_ever["expires"] is None
    assert ms3t("node", "grant", GATEWAY, data=node.data).stdout == for_ever["proof"] + "\n"


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("grant", "did:key:z6Mk"), 2, "no did:key"),
        (("grant", "alice"), 2, "is no DID"),
        (("grant", GATEWAY), 3, "there is no node at"),
        (("grant", GATEWAY, "--days", "0"), 2, "--days"),
        (("serve", "--listen", "9100"), 2, "HOST:PORT"),
        (("serve", "--public-url", "node.example.com"), 2, "must be a URL"),
        (("serve", "--public-url", "http://a/b?c"), 2, "must be a URL"),
        (("serve", "--allocation-seconds", "0"), 2, "--allocation-seconds"),
        (("serve", "--tls-cert", "a"), 2, "go together"),
        (("serve", "--tls-cert", "a", "--tls-key", "b", "--listen", "127.0.0.1:0"), 2, "cannot read a"),
    ],
)
def test_what_is_wrong_is_said(
    arguments: tuple[str, ...], code: int, message: str, ms3t: Callable[..., Result], tmp_path: Path
) -> None:
    result = ms3t("node", *arguments, data=tmp_path / "none")
    assert (result.exit_code, message in result.stderr) == (code, True), result.stderr


def test_an_address_that_is_taken(serve_node: Callable[..., NodeProcess], ms3t: Callable[..., Result]) -> None:
    node = serve_node()
    address = node.ready["url"].removeprefix("http://")
    result = ms3t("node", "serve", "--listen", address, data=node.data.with_name("other"))
    assert (result.exit_code, "cannot listen" in result.stderr) == (1, True)


def test_over_tls(serve_node: Callable[..., NodeProcess], tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    made = authority.issue()
    node = serve_node("--tls-cert", str(made.cert), "--tls-key", str(made.key))
    assert node.ready["url"].startswith("https://")
    context = ssl.create_default_context(cafile=str(authority.ca_file))
    with urllib.request.urlopen(node.ready["url"] + "/.well-known/did.json", context=context) as answer:
        assert json.loads(answer.read())["id"] == node.ready["did"]
    os.kill(node.process.pid, signal.SIGHUP)
    with urllib.request.urlopen(node.ready["url"], context=context) as answer:
        assert answer.status == 200
    assert node.stop() == 0


def test_a_person_is_told_how_to_go_on(tmp_path: Path) -> None:
    command = [MS3T, "node", "serve", "--data-dir", str(tmp_path / "node"), "--listen", "127.0.0.1:0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline() for _ in range(5)]
        process.terminate()
    assert "node did:key:z6Mk" in lines[0]
    assert " at http://127.0.0.1:" in lines[1]
    assert "/ms3t node grant --data-dir /" in lines[4]
    url = lines[1].split()[-1]
    with pytest.raises(OSError):
        call(url, "GET", "/")
