"""The wheel, which is what is installed elsewhere, has what the code needs at run time and nothing else."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(folder)]
    subprocess.run(build, cwd=REPOSITORY, check=True, capture_output=True)
    (built,) = folder.glob("*.whl")
    return built


def test_the_wheel_has_the_three_packages_alone(wheel: Path) -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    found = {child.name for child in zipfile.Path(wheel).iterdir()}
    assert found == {"gateway", "mst", "registry", f"ms3t-{version}.dist-info"}


@pytest.mark.parametrize("migrations", ["registry/migrations", "gateway/node/server/migrations"])
def test_the_wheel_has_what_is_not_code(wheel: Path, migrations: str) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {"mst/py.typed", "registry/py.typed", f"{migrations}/env.py"} <= set(names)
    shipped = [name for name in names if name.startswith(f"{migrations}/versions/")]
    versions = (REPOSITORY / migrations / "versions").glob("m*.py")
    assert sorted(shipped) == sorted(str(path.relative_to(REPOSITORY)) for path in versions)


def test_a_database_is_made_from_the_wheel_alone(wheel: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(tmp_path / "installed")
    script = (
        "import registry; from pathlib import Path; from registry.database import Database;"
        "Database.open(Path('registry.db')).close(); print(registry.__file__)"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", script],
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "installed"), "PATH": ""},
        check=True,
        capture_output=True,
        text=True,
    )
    assert done.stdout.startswith(str(tmp_path / "installed"))
