"""The wheel: complete, nothing foreign in it, and no name of it is somebody else's."""

from __future__ import annotations

import shutil
import subprocess
import sys
from importlib.metadata import packages_distributions
from pathlib import Path
from zipfile import ZipFile

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("pipeline", "models", "migrations", "workers", "ops")
NOT_SOURCE = shutil.ignore_patterns(".*", "__pycache__", "*.pyc", "build", "dist", "*.egg-info")
DATA = ("*.mako", "*.html", "*.css", "*.md", "*.json", "*.jsonl", "*.yaml", "*.toml", "py.typed")


@pytest.fixture(name="wheel", scope="module")
def _wheel(tmp_path_factory: pytest.TempPathFactory) -> frozenset[str]:
    """Build the wheel from a copy of the sources and return the names in it."""
    copy = tmp_path_factory.mktemp("wheel") / "source"
    copy.mkdir()
    for package in PACKAGES:
        shutil.copytree(ROOT / package, copy / package, ignore=NOT_SOURCE)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, copy)
    (copy / "tests").mkdir()
    (copy / "tests" / "test_nothing.py").touch()
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(copy / "out")]
    done = subprocess.run(build, cwd=copy, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (built,) = (copy / "out").glob("*.whl")
    with ZipFile(built) as archive:
        return frozenset(archive.namelist())


def test_the_wheel_has_every_module_and_data_file(wheel: frozenset[str]) -> None:
    """What the sources have, an installed program has: modules, migrations, examples, demo data, page templates."""
    expected = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for pattern in ("*.py", *DATA)
        for path in (ROOT / package).rglob(pattern)
    }

    assert sorted(expected - wheel) == []


def test_the_wheel_has_the_files_that_code_opens(wheel: frozenset[str]) -> None:
    """The data files that modules look up by name are there under these names."""
    for name in (
        "migrations/script.py.mako",
        "migrations/versions/0001_initial.py",
        "ops/examples/config.yaml",
        "ops/examples/skills/file-naming.md",
        "ops/demo/data/real-pairs.jsonl",
        "models/data/labelled-pairs.jsonl",
        "ops/web/templates/start.html",
    ):
        assert name in wheel


def test_the_wheel_has_nothing_else(wheel: frozenset[str]) -> None:
    """Only the five packages and the metadata are installed: no tests, no caches, no stray file."""
    roots = {name.partition("/")[0] for name in wheel}

    assert {root for root in roots if not root.endswith(".dist-info")} == set(PACKAGES)
    assert not any("__pycache__" in name for name in wheel)


def test_no_installed_package_has_one_of_our_names() -> None:
    """Our top-level names are plain words, so no dependency may install a package that is called the same."""
    owners = packages_distributions()

    clashes = {name: set(owners.get(name, ())) - {"tinyarms-evolution"} for name in PACKAGES}

    assert {name: by for name, by in clashes.items() if by} == {}
