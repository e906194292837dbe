"""obstore: the object_store crate, on whose conditional writes table formats build."""

from __future__ import annotations

import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from types import ModuleType
from typing import Any

import pytest

pytestmark = pytest.mark.interop

MIB = 1 << 20


@pytest.fixture
def obstore(python_client: Callable[[str], ModuleType]) -> ModuleType:
    return python_client("obstore")


@pytest.fixture
def store(obstore: ModuleType, python_client: Callable[[str], ModuleType], endpoint: Any, bucket: str) -> Any:
    return python_client("obstore.store").S3Store(
        bucket,
        endpoint=endpoint.url,
        access_key_id=endpoint.access_key,
        secret_access_key=endpoint.secret,
        region=endpoint.region,
        virtual_hosted_style_request=False,
        conditional_put="etag",
        client_options={"allow_http": not endpoint.secure},
        retry_config={"max_retries": 0},
    )


def test_objects(
    obstore: ModuleType, store: Any, files: dict[str, bytes], objects: Callable[[], dict[str, bytes]]
) -> None:
    for name, data in files.items():
        obstore.put(store, name, data)
    assert objects() == files
    assert {name: bytes(obstore.get(store, name).bytes()) for name in files} == files
    assert {item["path"]: item["size"] for page in obstore.list(store, chunk_size=2) for item in page} == {
        name: len(data) for name, data in files.items()
    }
    assert obstore.list_with_delimiter(store)["common_prefixes"] == ["sub"]
    obstore.delete(store, list(files))
    assert objects() == {}


def test_parts_and_ranges(obstore: ModuleType, store: Any, large: bytes) -> None:
    obstore.put(store, "large", large, chunk_size=5 * MIB)
    assert bytes(obstore.get(store, "large").bytes()) == large
    assert bytes(obstore.get_range(store, "large", start=6_000_000, length=7)) == large[6_000_000:6_000_007]
    starts = [0, 5_000_000, len(large) - 3]
    got = obstore.get_ranges(store, "large", starts=starts, lengths=[3, 3, 3])
    assert [bytes(piece) for piece in got] == [large[start : start + 3] for start in starts]


def test_attributes(obstore: ModuleType, store: Any) -> None:
    attributes = {"Content-Type": "text/x", "Cache-Control": "no-cache", "Content-Disposition": "inline", "k": "v"}
    obstore.put(store, "k", b"x", attributes=attributes)
    assert obstore.get(store, "k").attributes == attributes


def test_create_happens_once(obstore: ModuleType, store: Any, python_client: Callable[[str], ModuleType]) -> None:
    exists = python_client("obstore.exceptions").AlreadyExistsError

    def create(number: int) -> bool:
        try:
            obstore.put(store, "lock", b"%d" % number, mode="create")
        except exists:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(create, range(8))) == 1


def test_update_needs_the_current_version(
    obstore: ModuleType, store: Any, python_client: Callable[[str], ModuleType]
) -> None:
    first = {"e_tag": obstore.put(store, "k", b"1")["e_tag"]}
    obstore.put(store, "k", b"2", mode=first)
    with pytest.raises(python_client("obstore.exceptions").PreconditionError):
        obstore.put(store, "k", b"3", mode=first)
    assert bytes(obstore.get(store, "k").bytes()) == b"2"


def test_copy_and_rename(obstore: ModuleType, store: Any, objects: Callable[[], dict[str, bytes]]) -> None:
    obstore.put(store, "a b+c", b"x")
    obstore.copy(store, "a b+c", "copy")
    obstore.rename(store, "copy", "renamed +")
    assert objects() == {"a b+c": b"x", "renamed +": b"x"}


def test_signed_url(obstore: ModuleType, store: Any) -> None:
    obstore.put(store, "a b+c", b"given away")
    with urllib.request.urlopen(obstore.sign(store, "GET", "a b+c", timedelta(minutes=1))) as answer:
        assert answer.read() == b"given away"
