"""`ms3t doctor`."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from gateway.checks import code, machine
from gateway.checks.result import Result as Check
from registry.space import SpaceKey
from tests.certificates import Authority, Issued

MS3T = Path(sys.executable).with_name("ms3t")


@pytest.fixture
def examine(ms3t: Callable[..., Result]) -> Callable[..., dict[str, list[dict[str, str]]]]:
    """Runs it and returns what it found by check; every failure and warning has to say what to do."""

    def run(*arguments: str, data: Path, env: dict[str, str] | None = None) -> dict[str, list[dict[str, str]]]:
        result = ms3t("doctor", "--json", *arguments, data=data, env={"MS3T_LISTEN": "127.0.0.1:0", **(env or {})})
        document = json.loads(result.stdout)
        failed = [check for check in document["checks"] if check["status"] == "fail"]
        assert document["ok"] is (not failed)
        assert result.exit_code == (1 if failed else 0)
        found: dict[str, list[dict[str, str]]] = {}
        for check in document["checks"]:
            assert list(check) == ["check", "status", "detail", "todo"]
            assert check["todo"] or check["status"] == "ok"
            found.setdefault(check["check"], []).append(check)
        return found

    return run


def test_a_sound_folder(made: Any, examine: Callable[..., Any], ms3t: Callable[..., Result]) -> None:
    found = examine(data=made.path)
    assert {check["status"] for checks in found.values() for check in checks} == {"ok"}
    assert set(found) == {
        "codec", "imports", "files", "HTTP parser", "configuration", "data folder", "owner", "room", "space key",
        "registry", "segments", "heads", "clock", "port",
    }  # fmt: skip
    text = ms3t("doctor", data=made.path, env={"MS3T_LISTEN": "127.0.0.1:0"})
    assert text.exit_code == 0
    assert "0 failed" in text.stdout


def test_a_folder_that_is_not_there_yet(tmp_path: Path, examine: Callable[..., Any]) -> None:
    found = examine(data=tmp_path / "none")
    assert found["data folder"][0]["status"] == "warn"
    assert not (tmp_path / "none").exists()


def test_modes_that_let_others_in(own: Any, examine: Callable[..., Any]) -> None:
    own.path.chmod(0o755)
    own.folder.key.chmod(0o640)
    own.folder.registry.chmod(0o644)
    found = examine(data=own.path)
    assert found["data folder"][0]["status"] == "warn"
    assert found["data folder"][0]["todo"] == f"chmod 700 {own.path}"
    assert found["space key"][0]["status"] == "fail"
    assert "chmod 600" in found["space key"][0]["detail"]
    assert found["registry"][0]["status"] == "fail"
    assert found["registry"][0]["todo"] == f"chmod 600 {own.folder.registry}"
    assert "heads" in found


def test_somebody_elses_folder(own: Any, examine: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4_000_000)
    assert examine(data=own.path)["data folder"][0]["status"] == "fail"


def test_lost_and_foreign_keys(own: Any, examine: Callable[..., Any]) -> None:
    own.folder.key.unlink()
    assert examine(data=own.path)["space key"][0]["status"] == "fail"
    SpaceKey.load_or_create(own.folder.key)
    found = examine(data=own.path)
    assert found["space key"][0]["status"] == "ok"
    assert len(found["heads"]) == 3
    assert all("not by this folder's key" in check["detail"] for check in found["heads"])


def test_a_lost_registry(own: Any, examine: Callable[..., Any]) -> None:
    own.folder.registry.unlink()
    found = examine(data=own.path)
    assert found["registry"][0]["status"] == "fail"
    assert found["store"][0]["status"] == "fail"


def test_a_lost_index(own: Any, examine: Callable[..., Any]) -> None:
    (own.folder.index / "data.mdb").unlink()
    found = examine(data=own.path)
    assert found["store"][0]["status"] == "fail"
    assert "start the server once" in found["store"][0]["detail"]


def test_a_head_that_cannot_be_read(own: Any, examine: Callable[..., Any]) -> None:
    for path in own.folder.segments.iterdir():
        path.write_bytes(path.read_bytes().replace(bytes(own.head.commit) + b"\xae", bytes(own.head.commit) + b"\xaf"))
    (check,) = examine(data=own.path)["heads"]
    assert check["status"] == "fail"
    assert "photos" in check["detail"]


def test_no_room(made: Any, examine: Callable[..., Any]) -> None:
    found = examine(data=made.path, env={"MS3T_STORE_RESERVE_FREE_BYTES": "1TiB"})
    assert found["room"][0]["status"] == "fail"


def test_a_refused_configuration(made: Any, examine: Callable[..., Any], tmp_path: Path) -> None:
    config = tmp_path / "ms3t.yaml"
    config.write_text("lissten: x\n")
    found = examine("--config", str(config), data=made.path)
    assert found["configuration"][0]["status"] == "fail"
    assert f"{config}:1" in found["configuration"][0]["detail"]
    assert found["codec"][0]["status"] == "ok"


def test_an_access_key_that_is_set_and_in_the_folder(
    made: Any, examine: Callable[..., Any], ms3t_json: Callable[..., Any], tmp_path: Path
) -> None:
    (key,) = ms3t_json("keys", "list", data=made.path)
    config = tmp_path / "ms3t.yaml"
    config.write_text(f"credentials: [{{access_key: {key['access_key']}, secret_key: my-secret-1}}]")
    config.chmod(0o600)
    (found,) = examine("--config", str(config), data=made.path)["registry"]
    assert found["status"] == "fail"
    assert found["detail"] == f"it has an access key {key['access_key']}, which credentials set too"
    assert found["todo"] == "remove it from credentials, or take another"


def test_a_port_that_is_taken(made: Any, examine: Callable[..., Any]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        listen = f"127.0.0.1:{taken.getsockname()[1]}"
        found = examine(data=made.path, env={"MS3T_LISTEN": listen})
    assert found["port"][0]["status"] == "fail"
    assert listen in found["port"][0]["detail"]
    nowhere = examine(data=made.path, env={"MS3T_LISTEN": "no-such-host.invalid:1"})
    assert nowhere["port"][0]["status"] == "fail"


def test_beside_a_running_server(own: Any, examine: Callable[..., Any], serve: Callable[..., Any]) -> None:
    server = serve(own.path)
    server.wait_until_ready()
    found = examine(data=own.path)
    assert found["owner"][0]["detail"] == f"process {server.process.pid} owns the folder"
    assert found["server"][0]["status"] == "ok"
    assert "port" not in found
    assert server.stop() == 0
    found = examine(data=own.path)
    assert "no server" in found["owner"][0]["detail"]
    assert found["port"][0]["status"] == "ok"


@contextmanager
def _answering(answer: bytes) -> Iterator[str]:
    import threading

    with socket.create_server(("127.0.0.1", 0)) as listener:

        def run() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(65536)
                connection.sendall(answer)

        thread = threading.Thread(target=run)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        thread.join()


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        (b"HTTP/1.1 200 OK\r\nServer: nginx\r\nContent-Length: 0\r\n\r\n", "fail"),
        (b"HTTP/1.1 403 F\r\nServer: ms3t\r\nDate: Tue, 14 Nov 2023 22:13:20 GMT\r\n\r\n", "warn"),
        (b"HTTP/1.1 403 F\r\nServer: ms3t\r\nDate: soon\r\n\r\n", "warn"),
        (b"SSH-2.0-OpenSSH\r\n", "fail"),
        (b"", "fail"),
    ],
)
def test_what_answers_in_the_servers_place(answer: bytes, status: str) -> None:
    with _answering(answer) as endpoint:
        assert machine.check_running(endpoint).status == status


def test_clocks(monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    assert machine.check_clock(None).status == "ok"
    assert machine.check_clock(int(now * 1000)).status == "ok"
    assert machine.check_clock(int((now + 3600) * 1000)).status == "warn"
    walls = iter([now, now + 7])
    monkeypatch.setattr(machine.time, "time", lambda: next(walls))
    jumped = machine.check_clock(None)
    assert jumped.status == "warn"
    assert "jumped" in jumped.detail
    monkeypatch.setattr(machine.time, "time", lambda: 1_000.0)
    assert machine.check_clock(None).status == "fail"


def test_the_slow_parser_is_refused(made: Any) -> None:
    environment = {**os.environ, "AIOHTTP_NO_EXTENSIONS": "1", "MS3T_LISTEN": "127.0.0.1:0"}
    doctor = [MS3T, "doctor", "--json", "--data-dir", str(made.path)]
    done = subprocess.run(doctor, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    failed = [check["check"] for check in json.loads(done.stdout)["checks"] if check["status"] == "fail"]
    assert failed == ["HTTP parser"]
    serve = [MS3T, "serve", "--data-dir", str(made.path)]
    done = subprocess.run(serve, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith("Error: aiohttp runs without its C parser")


def _fake_distribution(site: Path, name: str, files: dict[str, bytes], top_level: str = "") -> None:
    info = site / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    if top_level:
        (info / "top_level.txt").write_text(top_level)
    rows = [f"{info.name}/METADATA,,", f"{info.name}/RECORD,,"]
    for path, content in files.items():
        (site / path).parent.mkdir(parents=True, exist_ok=True)
        (site / path).write_bytes(content)
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).decode().rstrip("=")
        rows.append(f"{path},sha256={digest},{len(content)}")
    (info / "RECORD").write_text("\n".join(rows) + "\n")


def test_another_distribution_that_claims_mst(made: Any, tmp_path: Path) -> None:
    _fake_distribution(tmp_path / "site", "mst-fake", {}, top_level="mst\n")
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "site"), "MS3T_LISTEN": "127.0.0.1:0"}
    doctor = [MS3T, "doctor", "--json", "--data-dir", str(made.path)]
    done = subprocess.run(doctor, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    (failed,) = (check for check in json.loads(done.stdout)["checks"] if check["status"] == "fail")
    assert failed["check"] == "imports"
    assert "mst-fake also installs 'mst'" in failed["detail"]


def test_another_distribution_that_claims_by_its_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_distribution(tmp_path, "other", {"registry/thing.py": b""})
    monkeypatch.syspath_prepend(str(tmp_path))
    assert "other" in next(iter(code.check_imports())).detail


def test_installed_files_that_were_changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _fake_distribution(tmp_path, "ms3t", {"mst/a.py": b"a", "mst/b.py": b"b", "elsewhere.txt": b"c"})
    monkeypatch.syspath_prepend(str(tmp_path))

    def files() -> Check:
        (found,) = (check for check in code.check_imports() if check.check == "files")
        return found

    assert files().detail == "2 are as they were installed"
    (tmp_path / "elsewhere.txt").write_bytes(b"not ours to check")
    (tmp_path / "mst" / "a.py").write_bytes(b"x")
    assert files().status == "fail"
    assert "mst/a.py" in files().detail
    (tmp_path / "mst" / "a.py").unlink()
    assert files().status == "fail"


def test_packages_from_different_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import registry

    monkeypatch.setattr(registry, "__file__", str(tmp_path / "registry" / "__init__.py"))
    statuses = {check.detail: check.status for check in code.check_imports()}
    assert any("different places" in detail for detail, status in statuses.items() if status == "fail")


def test_a_codec_that_writes_something_else(monkeypatch: pytest.MonkeyPatch) -> None:
    assert code.check_codec().status == "ok"
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "dag_cbor", None)  # as where it is not installed
        assert code.check_codec().status == "ok"
    with monkeypatch.context() as patch:
        patch.setattr(code, "_sample_value", lambda number: b"\xd8\x2a\x58\x25\x00" + bytes(36))
        assert code.check_codec().status == "fail"
    monkeypatch.setattr("dag_cbor.decode", lambda data: {"e": [], "l": None})
    assert code.check_codec().status == "fail"


def test_a_certificate(made: Any, examine: Callable[..., Any], tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    def look(issued: Issued, **more: str) -> dict[str, tuple[str, str]]:
        env = {"MS3T_TLS_CERT": str(issued.cert), "MS3T_TLS_KEY": str(issued.key), **more}
        found = examine(data=made.path, env=env)
        return {
            name: (checks[0]["status"], checks[0]["detail"])
            for name, checks in found.items()
            if name.startswith("certificate")
        }

    sound = look(authority.issue())
    assert {status for status, _ in sound.values()} == {"ok"}
    assert list(sound) == ["certificate", "certificate key", "certificate names"]
    named = look(authority.issue(names=["127.0.0.1", "s3.example"]), MS3T_S3_DOMAINS="s3.example")
    told = "it is for s3.example, 127.0.0.1, not for bucket.s3.example"
    assert named["certificate names"] == ("warn", told)
    assert look(authority.issue(days=(-2, 3)))["certificate"][0] == "warn"
    expired = look(authority.issue(days=(-9, -2)))["certificate"]
    assert expired[0] == "fail" and "it expired on" in expired[1]
    open_to_all = authority.issue()
    open_to_all.key.chmod(0o644)
    assert look(open_to_all)["certificate key"][0] == "fail"
    open_to_all.key.unlink()
    assert look(open_to_all) == {
        "certificate": ("fail", f"tls.key: cannot read {open_to_all.key}: No such file or directory")
    }


def test_a_running_server_with_tls(
    own: Any, examine: Callable[..., Any], serve: Callable[..., Any], tmp_path: Path
) -> None:
    issued = Authority(tmp_path).issue()
    env = {"MS3T_TLS_CERT": str(issued.cert), "MS3T_TLS_KEY": str(issued.key)}
    endpoint = serve(own.path, env=env).wait_until_ready()["endpoint"]
    (answered,) = examine(data=own.path, env=env)["server"]
    assert (answered["status"], answered["detail"]) == ("ok", f"{endpoint} answers")
