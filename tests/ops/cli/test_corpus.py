"""The corpus of bad input at the command line: arguments, files to import and configurations."""

from __future__ import annotations

import os
import re
import socket
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from pipeline.algorithms.invisible import is_hidden
from tests.corpus import Case, cases, counted, each
from workers.home import Home

TEXT = "<>"  # stands for the case in the command lines below
LINES = (
    "enqueue <>", "enqueue file-naming --reason <> --dry-run", "enqueue file-naming --minutes <> --dry-run",
    "create <> --variant-a good.md", "create file-naming --variant-a <>", "create file-naming --variant-a good.md --days <>",
    "cancel <>", "vote <>", "promote <> 1", "promote file-naming <>", "rollback <> --yes", "rollback file-naming --to <> --yes",
    "stats <>", "stats --since <>", "stats --fail-under <>", "results <>", "results file-naming --run <>", "runs --skill <>",
    "show <>", "diff <> v1 v2", "diff file-naming <> v2", "feedback add <> --task-id t --ok",
    "feedback add file-naming --task-id <> --bad", "feedback add file-naming --task-id t --version <> --ok",
    "feedback import <> good.jsonl", "feedback import file-naming <>", "feedback list <>", "feedback undo <>", "feedback audit <>",
    "assign <> --task-id t", "outcome <> t --ok", "outcome file-naming <> --ok", "lab power <>", "lab power file-naming --gain <>",
    "--config <> status", "completion <>", "<>", "feedback <>",
)  # fmt: skip
EVERY = 6  # each case goes through every sixth command, so that all cases together go through each one many times
CODES = {0, 2, 3, 4, 5, 6, 8}  # not 1: that is an error which nobody has thought of


@contextmanager
def untouched(host: Home) -> Iterator[Callable[[], list[str]]]:
    """Return a question: which rows has somebody written since it was asked last?"""
    with closing(sqlite3.connect(host.root / "evolution.db")) as watcher:
        version, rows = 0, set[str]()

        def asked() -> list[str]:
            nonlocal version, rows
            now, before = watcher.execute("PRAGMA data_version").fetchone()[0], rows
            if now != version:
                version, rows = now, set(watcher.iterdump())
            return sorted(rows - before)

        asked()
        yield asked


def tree(*folders: Path) -> dict[str, int]:
    """Return every path below some folders, with its size; the logs and locks of the home are left out."""
    return {
        str(path): path.lstat().st_size
        for folder in folders
        for path in sorted(folder.rglob("*"))
        if not {"logs", "locks"} & set(path.parts) and ".db" not in path.name
    }


def harmless(said: Any) -> bool:
    """Tell whether a call ended by a rule, in words that a terminal only shows."""
    words = said.out + said.err
    hidden = [char for char in words if is_hidden(char) and char not in "\n\t"]
    return said.code in CODES and not hidden and "Traceback" not in words and "Unexpected" not in words


def make(case: Case, folder: Path) -> None:
    """Create the file that a case is about."""
    place, kind = folder / case.text, case.more.get("make", "")
    if kind == "symlink":
        place.symlink_to("/etc/passwd")
    elif kind == "fifo":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as door:
            door.bind(case.text)


@pytest.fixture(name="work")
def _work(evoctl: Any, host: Home) -> Path:
    """Return the working folder, with files that can be used; the database knows the skill already."""
    work = Path.cwd()
    (work / "good.md").write_text("Name the file after what it shows.", encoding="utf-8")
    (work / "good.jsonl").write_text(
        '{"task_id": "t1", "input": {"description": "a"}, "label": "ok"}\n', encoding="utf-8"
    )
    assert evoctl("feedback", "import", "file-naming", "good.jsonl").code == 0
    return work


@pytest.mark.timeout(300)
@pytest.mark.parametrize("kind", ["names", "terminal", "xss", "injection"])
def test_odd_arguments_are_refused_in_words(evoctl: Any, host: Home, work: Path, kind: str) -> None:
    """A hostile text in every place of every command: a rule's answer, and nothing written where the answer is no."""
    marker, survivors, tried = host.root / "marker", [], 0
    for case in cases(kind):
        make(case, work)
    before = tree(work, host.config.parent)
    with untouched(host) as asked:
        for row, case in enumerate(cases(kind)):
            text = case.filled(marker=marker)
            for number in range(row % EVERY, len(LINES), EVERY):
                said = evoctl(*(word.replace(TEXT, text) for word in LINES[number].split()), *["--json"] * (tried % 2))
                written, tried = asked(), tried + 1
                if not harmless(said) or (said.code != 0 and written):
                    survivors.append((case.name, LINES[number], said.code, said.err[:300], written))
    assert survivors == [], chr(10).join(map(repr, survivors))
    assert tree(work, host.config.parent) == before
    assert not marker.exists()
    counted(kind, "command line", tried)


@each("feedback")
def test_a_file_of_feedback_is_used_or_refused_with_its_line(evoctl: Any, host: Home, work: Path, case: Case) -> None:
    """A file that cannot be used is refused whole, with file and line; a good one is imported; nothing else happens."""
    marker, file = host.root / "marker", work / "given.jsonl"
    file.write_bytes(case.encoded(marker=marker))
    with untouched(host) as asked:
        said = evoctl("feedback", "import", "file-naming", "given.jsonl")

        written = asked()
    assert harmless(said), said
    assert (said.code == 0) is case.more["valid"], said
    assert bool(written) is (case.more["valid"] and not case.more.get("empty", False)), said
    if said.code:
        assert re.search(r"given\.jsonl line \d+: ", said.err) or "--version" in said.err, said.err
        assert len(said.err) < 5000
    assert not marker.exists()
    file.unlink()  # one of them has 100 MB
    counted("feedback", "import", 1)


@each("yaml")
def test_a_configuration_is_used_or_refused_with_its_line(evoctl: Any, host: Home, case: Case) -> None:
    """A configuration that cannot be used is refused with its line; no tag builds anything; the file stays as it is."""
    marker = host.root / "marker"
    content = case.encoded(marker=marker)
    host.config.write_bytes(content)
    if case.more.get("make"):
        os.mkfifo(host.config.parent / "pipe")
    others = (
        ("doctor", "--json"),
        ("enqueue", "file-naming", "--dry-run", "--json"),
        ("assign", "file-naming", "--task-id", "t"),
    )
    for words in (("stats",), others[len(case.name) % len(others)]):
        before = tree(host.config.parent)

        said = evoctl(*words)

        assert harmless(said), (words, said)
        if words == ("stats",):
            assert said.code == 0 if case.more["valid"] else said.code == 2 or case.more["valid"] is None, said
            assert said.code == 0 or re.search(r"config\.yaml line \d+: |is larger than", said.err), said.err
        assert tree(host.config.parent) == before
    assert host.config.read_bytes() == content
    assert not marker.exists()
    counted("yaml", "config.yaml", 2)


@pytest.mark.parametrize("name", ["escape", "byte-surrogate"])
def test_the_program_itself_says_the_same(host: Home, work: Path, name: str) -> None:
    """A real process, with real bytes in its arguments and on its outputs, ends soon and prints no control character."""
    case = next(case for case in cases("names") if case.name == name)
    make(case, work)
    for words in (["show", case.filled()], ["feedback", "import", "file-naming", case.filled(), "--json"]):
        done = subprocess.run([sys.executable, "-m", "ops.cli", *words], capture_output=True, timeout=60, check=False)

        words_of = (done.stdout + done.stderr).decode("utf-8")
        assert done.returncode in CODES, words_of
        assert [char for char in words_of if is_hidden(char) and char != "\n"] == []
        assert "Traceback" not in words_of
    counted("names", "a process of its own", 2)
