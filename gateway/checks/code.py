"""Checks of the program itself: that its codecs write what others read, and that nobody else's code took its names."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from importlib import import_module, metadata
from pathlib import Path
from typing import Any

from gateway.checks.result import Result, fail, ok, warn
from mst import node as node_codec
from mst import tree
from mst.cid import CID, RAW
from mst.entry import Entry, Meta
from mst.fetch import drive
from mst.layer import TreeParams
from mst.node import Node

DISTRIBUTION = "ms3t"
IMPORT_NAMES = ("mst", "gateway", "registry")
"""Short names that other distributions may carry too; whichever is installed last overwrites the other's files."""

_SAMPLE_ROOT = "bafyreidwzcyem4aj6tmodxthtzjezsg3jvfh26kfoa4xcfvmvn7ta5oajy"
_SAMPLE_KEYS = 40
_REINSTALL = "install ms3t anew, into a virtual environment of its own"


def check_codec() -> Result:
    """Whether a sample tree is encoded as it always was, and as dag-cbor and multiformats have it."""
    params = TreeParams()
    pairs = {b"key %03d" % number: _sample_value(number) for number in range(_SAMPLE_KEYS)}
    applied = drive(tree.apply(params, tree.EMPTY_ROOT, pairs), lambda cids: [node_codec.EMPTY] * len(cids))
    if str(applied.root) != _SAMPLE_ROOT:
        return fail("codec", f"a sample tree has root {applied.root}, not {_SAMPLE_ROOT}", _REINSTALL)
    for new in applied.nodes:
        if node_codec.decode(new.data, params) != new.node:
            return fail("codec", f"node {new.cid} is not read as it was written", _REINSTALL)
    try:
        import dag_cbor  # noqa: PLC0415 - it need not be installed
        from multiformats import CID as ReferenceCID  # noqa: PLC0415
    except ModuleNotFoundError:
        return ok("codec", "a sample tree has the root it must have")
    for new in applied.nodes:
        document = dag_cbor.decode(new.data)
        if dag_cbor.encode(document) != new.data or not _same(document, new.node):
            return fail("codec", f"dag-cbor reads node {new.cid} otherwise", _REINSTALL)
        if bytes(ReferenceCID.decode(str(new.cid))) != new.cid:
            return fail("codec", f"multiformats reads CID {new.cid} otherwise", _REINSTALL)
    return ok("codec", f"{len(applied.nodes)} sample nodes are what dag-cbor and multiformats have")


def _sample_value(number: int) -> bytes:
    content = b"%d" % number
    meta: Meta = {"ct": "text/plain"} if number % 2 else None
    etag = hashlib.md5(content, usedforsecurity=False).digest()
    return Entry(CID.of(RAW, content), len(content), number * 10**9, etag, meta).encode()


def _same(document: Any, node: Node) -> bool:
    """Whether dag-cbor's reading of a node is ours; its links are multiformats' CIDs."""
    keys: list[bytes] = []
    values: list[bytes] = []
    children = [document["l"]]
    for row in document["e"]:
        keys.append((keys[-1] if keys else b"")[: row["p"]] + row["k"])
        body, size, mtime_ms, etag, meta = row["v"]
        values.append(Entry(CID(bytes(body)), size, mtime_ms, etag, meta).encode())
        children.append(row["t"])
    links = [None if child is None else bytes(child) for child in children]
    return (tuple(keys), tuple(values), tuple(links)) == (node.keys, node.values, node.children)


def check_imports() -> Iterator[Result]:
    """Whether the import names of this distribution are its own, and its files what was installed."""
    owners = metadata.packages_distributions()
    others = {
        name: sorted(set(owners.get(name, ())) - {DISTRIBUTION})
        for name in IMPORT_NAMES
        if set(owners.get(name, ())) - {DISTRIBUTION}
    }
    for name, claimants in others.items():
        yield fail("imports", f"{' and '.join(claimants)} also installs {name!r}", _REINSTALL)
    places = {name: _place(name) for name in IMPORT_NAMES}
    if len(set(places.values())) > 1:
        shown = ", ".join(f"{name} from {place}" for name, place in places.items())
        yield fail("imports", f"they come from different places: {shown}", _REINSTALL)
    elif not others:
        yield ok("imports", f"mst, gateway and registry are ms3t's own, from {places[IMPORT_NAMES[0]]}")
    yield _check_files()


def _place(name: str) -> Path | None:
    file = import_module(name).__file__
    return None if file is None else Path(file).resolve().parents[1]


def _check_files() -> Result:
    try:
        files = metadata.distribution(DISTRIBUTION).files or []
    except metadata.PackageNotFoundError:
        return warn("files", "ms3t runs without being installed", "make install")
    hashed = [file for file in files if file.parts[0] in IMPORT_NAMES and file.hash is not None]
    changed = [str(file) for file in hashed if not _is_unchanged(file)]
    if changed:
        return fail("files", f"{len(changed)} are not as they were installed, first {changed[0]}", _REINSTALL)
    if not hashed:
        return ok("files", "installed from a working copy, so there is nothing to compare with")
    return ok("files", f"{len(hashed)} are as they were installed")


def _is_unchanged(file: metadata.PackagePath) -> bool:
    assert file.hash is not None
    try:
        content = Path(str(file.locate())).read_bytes()
    except OSError:
        return False
    digest = hashlib.new(file.hash.mode, content).digest()
    return base64.urlsafe_b64encode(digest).decode().rstrip("=") == file.hash.value
