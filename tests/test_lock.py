"""requirements.lock: what is installed is what pyproject.toml asks for, and nothing else can be."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parent.parent
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Locked:
    """One entry of the lock: a version, for the platforms of its marker, and the hashes of its files."""

    requirement: Requirement
    version: str
    hashes: tuple[str, ...]


def locked() -> Iterator[Locked]:
    """Read the lock's entries."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8").replace("\\\n", " ")
    for line in text.splitlines():
        pinned, *options = line.split(" --hash=")
        requirement = Requirement(pinned.strip())
        (pin,) = requirement.specifier
        assert pin.operator == "==", line
        yield Locked(requirement, pin.version, tuple(f"--hash={option.strip()}" for option in options))


def declared() -> list[Requirement]:
    """Read what pyproject.toml asks for, the development tools included."""
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return [
        Requirement(line) for line in (*pyproject["project"]["dependencies"], *pyproject["dependency-groups"]["dev"])
    ]


def test_every_declared_dependency_is_locked_in_its_range() -> None:
    """Each dependency and each development tool has an entry, and every entry's version is one that it allows."""
    versions: dict[str, list[str]] = {}
    for entry in locked():
        versions.setdefault(canonicalize_name(entry.requirement.name), []).append(entry.version)

    wrong = [
        f"{wanted}: the lock has {found or 'none'}"
        for wanted in declared()
        for found in [versions.get(canonicalize_name(wanted.name), [])]
        if not found or not all(wanted.specifier.contains(version) for version in found)
    ]

    assert wrong == [], "pyproject.toml and requirements.lock disagree: run `make lock`"


def test_declared_extras_are_in_the_lock() -> None:
    """An extra asked for is asked for in the lock, or its packages would be missing after the installation."""
    extras = {canonicalize_name(e.requirement.name): e.requirement.extras for e in locked()}
    names = set(extras)

    for wanted in declared():
        for extra in wanted.extras:
            name = canonicalize_name(wanted.name)
            assert extra in extras[name] or canonicalize_name(f"{name}-{extra}") in names


def test_every_entry_is_hashed() -> None:
    """Every entry has at least one sha256, so that --require-hashes holds for all of them."""
    unhashed = [e.requirement.name for e in locked() if not e.hashes or not all(map(HASH.fullmatch, e.hashes))]

    assert unhashed == []


def test_two_versions_of_a_package_never_meet() -> None:
    """A package with two entries tells by markers which one is for whom."""
    markers: dict[str, list[str]] = {}
    for entry in locked():
        markers.setdefault(entry.requirement.name, []).append(str(entry.requirement.marker or ""))

    assert [n for n, m in markers.items() if len(m) > 1 and ("" in m or len(set(m)) < len(m))] == []


def test_the_lock_names_no_registry() -> None:
    """Neither a host nor an index option nor a folder of somebody's machine stands in the lock."""
    text = (ROOT / "requirements.lock").read_text(encoding="utf-8")

    assert re.findall(r"(?m)https?:|file:|index-url|find-links|trusted-host|^\s*-e|@\s", text) == []


def test_no_uv_lock_is_kept() -> None:
    """`uv.lock` names the registry of whoever made it, so it is ignored, and requirements.lock is the one that counts."""
    assert "uv.lock" in (ROOT / ".gitignore").read_text(encoding="utf-8").split()
