"""Saving and restoring a home: one moment, one file, and nothing half."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from migrations.run import downgrade, upgrade
from models.base import SCHEMA, make_engine
from ops.cli.setup import ensure_redis_url
from pipeline.errors import BadInput, Blocked, Refused
from tests.killing import CAN_TRACE, killed_at
from workers import archive
from workers.backup import TEMPORARY, save
from workers.cleaning import clean
from workers.home import Home
from workers.lock import LOCK, TICK_LOCK, UP_LOCK, Lock
from workers.restore import BEFORE, restore

CONFIG = "skills:\n  a:\n    prompt_template: skills/a.md\n    prompt_version: 1\n"
TEXT = "Name it.\n---\n{{text}}\n"
COUNTS = "SELECT count(*) FROM skills"
WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], timeout=30, isolation_level=None)
for n in range(100_000):
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("INSERT INTO skills (name, created_at, check_reason) VALUES (?, '2026-01-01', '')", (f"x{n}",))
    connection.execute("INSERT INTO skills (name, created_at, check_reason) VALUES (?, '2026-01-01', '')", (f"y{n}",))
    connection.execute("COMMIT")
    if n == 20:
        print("going", flush=True)
"""


@pytest.fixture(name="full")
def _full(home: Home) -> Home:
    """Return a home with a configuration and one skill in its database."""
    (home.config.parent / "skills").mkdir()
    (home.config.parent / "skills" / "a.md").write_text(TEXT, encoding="utf-8")
    home.config.write_text(CONFIG, encoding="utf-8")
    add(home, "a")
    return home


def add(home: Home, name: str) -> None:
    """Write one skill."""
    with closing(sqlite3.connect(home.root / "evolution.db")) as connection, connection:
        connection.execute("INSERT INTO skills (name, created_at, check_reason) VALUES (?, '2026-01-01', '')", (name,))


def skills(home: Home) -> list[str]:
    """Read the skills' names."""
    with closing(sqlite3.connect(home.root / "evolution.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        return [name for (name,) in connection.execute("SELECT name FROM skills ORDER BY name")]


def other(home: Home) -> Home:
    """Return an empty home with a configuration's place of its own."""
    return Home(home.root.with_name("other"), home.root.with_name("other-host") / "config.yaml")


def test_a_backup_is_one_moment_while_others_write(full: Home, tmp_path: Path) -> None:
    """Each transaction of a busy writer is in the backup as a whole or not at all."""
    target = tmp_path / "b.zip"
    command = [sys.executable, "-c", WRITER, str(full.root / "evolution.db")]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
        assert writer.stdout is not None
        assert writer.stdout.readline() == b"going\n"
        save(full, target)
        assert writer.poll() is None
        writer.kill()

    restore(other(full), target)

    found = skills(other(full))
    assert sum(name[0] == "x" for name in found) == sum(name[0] == "y" for name in found) > 20


def test_no_secret_is_in_a_backup(full: Home, tmp_path: Path) -> None:
    """The password of the embedded Redis is in the home, and nowhere in the file; only its owner may read that."""
    assert ensure_redis_url(full)
    password = full.redis_url_file.read_text(encoding="utf-8").partition("@")[0].rpartition(":")[2].encode()

    save(full, tmp_path / "b.zip")

    with zipfile.ZipFile(tmp_path / "b.zip") as found:
        contents = [found.read(name) for name in found.namelist()]
        assert set(found.namelist()) == {"manifest.json", "evolution.db", "config.yaml", "beside/skills/a.md"}
    assert len(password) > 10
    assert not [1 for content in contents if password in content]
    assert stat.S_IMODE((tmp_path / "b.zip").stat().st_mode) == 0o600


def test_an_existing_file_stays_unless_forced(full: Home, tmp_path: Path) -> None:
    """A second backup of the same name is refused; no part of it stays beside."""
    target = tmp_path / "b.zip"
    target.write_bytes(b"mine")

    with pytest.raises(Refused, match="exists already"):
        save(full, target)
    kept = target.read_bytes()
    save(full, target, force=True)

    assert kept == b"mine"
    assert zipfile.is_zipfile(target)
    assert not [p for p in (*tmp_path.iterdir(), *full.root.iterdir()) if p.name.startswith((".b", TEMPORARY))]


def test_two_backups_to_one_file_at_once_are_both_whole(full: Home, tmp_path: Path) -> None:
    """Neither writes into the other's file: each that reports success has put a whole one in place."""
    target, begun = tmp_path / "b.zip", threading.Barrier(2)

    def one(number: int) -> None:
        big = tmp_path / f"big{number}"
        big.write_bytes(os.urandom(3_000_000))
        facts = {"revision": SCHEMA, "program": "0", "created_at": "2026-01-01T00:00:00Z"}
        begun.wait()
        for _ in range(3):
            archive.write(target, {archive.DATABASE: big}, facts, force=True)
            with archive.opened(target) as found:
                found.check()

    with ThreadPoolExecutor(2) as both:
        for done in [both.submit(one, number) for number in (1, 2)]:
            done.result()

    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".b")} == set()


def test_what_a_killed_backup_left_goes_with_a_later_one(full: Home, tmp_path: Path) -> None:
    """After an hour; a young one may be of a call that works."""
    old, young = tmp_path / ".b.zip.abcdefgh.new", tmp_path / ".b.zip.bcdefghi.new"
    for path in (old, young):
        path.touch()
    archive.os.utime(old, (1, 1))

    save(full, tmp_path / "b.zip")

    assert (old.exists(), young.exists()) == (False, True)


@pytest.mark.parametrize("given", [{}, {"force": True}])
def test_a_folder_is_no_place_for_a_backup(full: Home, tmp_path: Path, given: dict[str, bool]) -> None:
    """It says that the target is a folder, and proposes no --force that would not help."""
    with pytest.raises(Refused, match="is a folder") as refused:
        save(full, tmp_path, **given)

    assert "--force" not in str(refused.value)


def test_a_full_home_is_kept_beside_when_it_is_forced(full: Home, tmp_path: Path) -> None:
    """Without --force nothing happens; with it the present database goes into a folder that is named."""
    save(full, tmp_path / "b.zip")
    add(full, "later")

    with pytest.raises(Refused, match="has a database"):
        restore(full, tmp_path / "b.zip")
    untouched = skills(full)
    done = restore(full, tmp_path / "b.zip", force=True)

    assert untouched == ["a", "later"]
    assert skills(full) == ["a"]
    assert done.before is not None
    with closing(sqlite3.connect(done.before / "evolution.db")) as connection:
        assert connection.execute(COUNTS).fetchone() == (2,)


def test_the_configuration_is_put_back_only_when_asked(full: Home, tmp_path: Path) -> None:
    """Left alone it is named as different; asked for, it and its prompt are back and what was there is kept."""
    save(full, tmp_path / "b.zip")
    full.config.write_text(CONFIG + "# mine\n", encoding="utf-8")
    (full.config.parent / "skills" / "a.md").write_text("other\n---\n{{text}}\n", encoding="utf-8")

    left = restore(full, tmp_path / "b.zip", force=True)
    between = full.config.read_text(encoding="utf-8")
    done = restore(full, tmp_path / "b.zip", force=True, config=True)

    assert ["is not the one in the backup" in words for words in left.differences] == [True]
    assert between == CONFIG + "# mine\n"
    assert full.config.read_text(encoding="utf-8") == CONFIG
    assert (full.config.parent / "skills" / "a.md").read_text(encoding="utf-8") == TEXT
    assert done.before is not None
    assert (done.before / "config.yaml").read_text(encoding="utf-8") == CONFIG + "# mine\n"
    assert (done.before / "beside/skills/a.md").read_text(encoding="utf-8").startswith("other")


@pytest.mark.parametrize("name", [LOCK, TICK_LOCK, UP_LOCK])
def test_nothing_of_the_home_may_run(full: Home, tmp_path: Path, name: str) -> None:
    """A lock that is held refuses the restore."""
    save(full, tmp_path / "b.zip")
    lock = Lock(full.locks / name)
    assert lock.take()

    with lock, pytest.raises(Blocked, match="nothing was changed"):
        restore(full, tmp_path / "b.zip", force=True)


def test_an_open_database_is_not_replaced(full: Home, tmp_path: Path) -> None:
    """A program that has the database open without any lock of ours refuses the restore too."""
    save(full, tmp_path / "b.zip")
    with closing(sqlite3.connect(full.root / "evolution.db")) as reader:
        reader.execute("BEGIN")
        reader.execute(COUNTS).fetchone()

        with pytest.raises(Blocked, match="in use"):
            restore(full, tmp_path / "b.zip", force=True)


def test_an_older_backup_is_migrated(full: Home, tmp_path: Path) -> None:
    """The database of an earlier release arrives at this one's revision."""
    engine = make_engine(full.database_url)
    downgrade(engine, "0001")
    engine.dispose()
    save(full, tmp_path / "b.zip")

    done = restore(other(full), tmp_path / "b.zip")

    assert (done.saved_as, done.revision) == ("0001", SCHEMA)
    assert skills(other(full)) == ["a"]


Change = Callable[[dict[str, bytes], dict[str, zipfile.ZipInfo]], None]


def rewritten(source: Path, change: Change) -> Path:
    """Write a changed copy of a backup, as an attacker or a bad disk would."""
    with zipfile.ZipFile(source) as old:
        contents = {name: old.read(name) for name in old.namelist()}
        infos = {info.filename: info for info in old.infolist()}
    change(contents, infos)
    target = source.with_name("bad.zip")
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as new:
        for name, content in contents.items():
            new.writestr(infos.get(name, name), content)
    return target


def named(name: str, content: bytes = b"x", kind: int = 0) -> Change:
    """Add a member that the manifest names rightly, under a name or of a kind that no backup has."""

    def change(contents: dict[str, bytes], infos: dict[str, zipfile.ZipInfo]) -> None:
        manifest = json.loads(contents["manifest.json"])
        digest = archive.hashlib.sha256(content).hexdigest()
        manifest["files"][name] = {"size": len(content), "sha256": digest}
        contents["manifest.json"] = json.dumps(manifest).encode()
        contents[name] = content
        info = zipfile.ZipInfo(name)
        info.external_attr = kind << 16
        infos[name] = info

    return change


def manifest_with(**changes: object) -> Change:
    """Change the manifest."""

    def change(contents: dict[str, bytes], _infos: dict[str, zipfile.ZipInfo]) -> None:
        contents["manifest.json"] = json.dumps({**json.loads(contents["manifest.json"]), **changes}).encode()

    return change


def flipped(contents: dict[str, bytes], _infos: dict[str, zipfile.ZipInfo]) -> None:
    """Change one byte of the database."""
    contents["evolution.db"] = contents["evolution.db"][:5000] + b"!" + contents["evolution.db"][5001:]


HOSTILE: dict[str, Change] = {
    "absolute": named("/etc/cron.d/x"),
    "parent": named("beside/../../x.md"),
    "absolute beside": named("beside//x.md"),
    "symlink": named("beside/skills/b.md", b"/etc/passwd", stat.S_IFLNK | 0o777),
    "device": named("beside/skills/b.md", b"", stat.S_IFCHR | 0o666),
    "fifo": named("beside/skills/b.md", b"", stat.S_IFIFO | 0o666),
    "folder": named("beside/skills/"),
    "unknown": named("locks/up.lock"),
    "python": named("beside/skills/x.py"),
    "backslash": named("beside/..\\x.md"),
    "escape": named("beside/\x1b[2J.md"),
    "huge": named("beside/skills/b.md", b"\0" * 30_000_000),
    "not named": lambda contents, _: contents.update({"beside/skills/b.md": b"x"}),
    "flipped": flipped,
    "newer": manifest_with(revision="9999"),
    "newer format": manifest_with(format=2),
    "no files": manifest_with(files={}),
    "odd files": manifest_with(files=[1]),
    "negative": manifest_with(files={"evolution.db": {"size": -1, "sha256": ""}}),
    "no manifest": lambda contents, _: (contents.pop("manifest.json"), None)[1],
    "nested manifest": lambda contents, _: contents.update({"manifest.json": b"[" * 100_000}),
    "other revision": manifest_with(revision="0001"),
}


@pytest.mark.parametrize("change", HOSTILE.values(), ids=HOSTILE.keys())
def test_what_is_no_whole_backup_is_refused(full: Home, tmp_path: Path, change: Change) -> None:
    """A hostile, damaged or newer archive changes nothing, and the reason is one printable line."""
    save(full, tmp_path / "b.zip")
    bad = rewritten(tmp_path / "b.zip", change)
    add(full, "later")
    before = {p for p in tmp_path.rglob("*") if ".lock" not in p.name}

    with pytest.raises(BadInput) as caught:
        restore(full, bad, force=True, config=True)

    assert str(caught.value).isprintable()
    assert skills(full) == ["a", "later"]
    assert {p for p in tmp_path.rglob("*") if ".lock" not in p.name and "-shm" not in p.name} <= before | {bad}


PLANTED = {
    "trigger": "CREATE TRIGGER t AFTER INSERT ON samples BEGIN UPDATE samples SET label = 'ok'; END",
    "view": "CREATE VIEW v AS SELECT * FROM samples",
    "table": "CREATE TABLE more (x)",
    "virtual table": "CREATE VIRTUAL TABLE more USING fts5(x)",
    "column": "ALTER TABLE samples ADD COLUMN more TEXT DEFAULT 'x'",
    "index": "CREATE INDEX i ON samples (abs(id))",
    "missing": "DROP INDEX ix_samples_silent",
    "disguised": "DROP INDEX ix_samples_silent; CREATE INDEX ix_samples_silent ON samples (label)",
}


@pytest.mark.parametrize("revision", [SCHEMA, "0001"])
@pytest.mark.parametrize("sql", PLANTED.values(), ids=PLANTED.keys())
def test_a_database_with_parts_that_are_not_ours_is_refused(
    full: Home, tmp_path: Path, sql: str, revision: str
) -> None:
    """A trigger or a view is a program: nothing but what a fresh database of the same revision has may be in it."""
    engine = make_engine(full.database_url)
    downgrade(engine, revision)
    engine.dispose()
    with closing(sqlite3.connect(full.root / "evolution.db")) as connection:
        connection.executescript(
            sql if revision == SCHEMA else sql.replace("ix_samples_silent", "ix_label_events_batch")
        )
    save(full, tmp_path / "b.zip")

    with pytest.raises(BadInput, match="not as this program makes one"):
        restore(other(full), tmp_path / "b.zip")


def test_a_database_that_went_down_and_up_is_restored(full: Home, tmp_path: Path) -> None:
    """Whatever way led to the newest revision, and with SQLite's own statistics: it is one of ours."""
    engine = make_engine(full.database_url)
    for revision in ("0003", "0001"):
        downgrade(engine, revision)
        upgrade(engine)
    engine.dispose()
    with closing(sqlite3.connect(full.root / "evolution.db")) as connection:
        connection.execute("ANALYZE")
    save(full, tmp_path / "b.zip")

    restore(other(full), tmp_path / "b.zip")

    assert skills(other(full)) == ["a"]


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"no zip", None])
def test_what_is_no_zip_is_refused(full: Home, tmp_path: Path, content: bytes | None) -> None:
    """A missing, an empty or a cut file is bad input."""
    if content is not None:
        (tmp_path / "b.zip").write_bytes(content)

    with pytest.raises(BadInput):
        restore(full, tmp_path / "b.zip", force=True)


@pytest.mark.skipif(not CAN_TRACE, reason="ptrace is Linux's")
@pytest.mark.timeout(300)
def test_a_kill_in_the_middle_leaves_the_old_or_the_new_state(full: Home, tmp_path: Path) -> None:
    """Killed at twelve places of a restore, the database is whole: the old one or the restored; a repeat ends it."""
    save(full, tmp_path / "b.zip")
    add(full, "later")
    work = lambda: restore(full, tmp_path / "b.zip", force=True)  # noqa: E731 - one line, used three times
    work()
    stops = killed_at(work, 10_000_000)
    assert stops is not None

    for number in range(12):
        if "later" not in skills(full):
            add(full, "later")
        assert killed_at(work, stops * (number + 1) // 13) is None

        assert skills(full) in (["a"], ["a", "later"])
    work()
    clean(full, timedelta(0), dry_run=False)
    assert skills(full) == ["a"]


def test_gc_removes_what_is_old_and_nothing_else(full: Home, tmp_path: Path) -> None:
    """Leftovers, logs and kept copies go with their age; a dry run names the same and removes nothing."""
    save(full, tmp_path / "b.zip")
    restore(full, tmp_path / "b.zip", force=True)
    for path in (
        full.log_dir / "worker.log", full.root / f"{TEMPORARY}x", full.config.with_name(".config.yaml.new"),
        full.config.with_name("config.yaml.bak"), full.config.with_name(".other.new"),
        full.config.parent / "skills" / ".a-v2.md.config.yaml.new", full.root / "keep.me",
    ):  # fmt: skip
        path.write_text("x", encoding="utf-8")
    long_ago = (datetime.now(UTC) - timedelta(days=40)).timestamp()
    for path in (*full.root.rglob("*"), *full.config.parent.rglob("*")):
        if path.exists():
            archive.os.utime(path, (long_ago, long_ago))

    young = clean(full, timedelta(days=50), dry_run=True)
    listed = clean(full, timedelta(days=30), dry_run=True)
    removed = clean(full, timedelta(days=30), dry_run=False)

    assert {one.what for one in young} == {"temporary"}
    assert listed == removed
    names = {Path(one.where).name for one in removed}
    assert names - {name for name in names if name.startswith(BEFORE)} == {
        "worker.log", f"{TEMPORARY}x", ".config.yaml.new", "config.yaml.bak", ".a-v2.md.config.yaml.new",
    }  # fmt: skip
    assert full.config.with_name(".other.new").exists()
    assert (full.root / "keep.me").exists()
    assert skills(full) == ["a"]
    assert clean(full, timedelta(days=30), dry_run=True) == ()
