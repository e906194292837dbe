from __future__ import annotations

import pytest

from gateway import file_limit


def test_as_many_files_may_be_open_as_the_system_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[int, int]] = []
    monkeypatch.setattr(file_limit.resource, "getrlimit", lambda kind: (1024, 4096))
    monkeypatch.setattr(file_limit.resource, "setrlimit", lambda kind, limits: asked.append(limits))
    file_limit.raise_file_limit()
    assert asked == [(4096, 4096)]
