"""What a person sees when the machine is in trouble: a locked database, a full disk, a database of another release."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import pytest

from models.base import SCHEMA
from ops.cli import output
from ops.valkey import prepare
from ops.web.app import read_facts
from tests.ports import free_port
from workers.lock import TICK_LOCK, Lock

EVOCTL = (sys.executable, "-m", "ops.cli")
READING = (("status",), ("runs",), ("stats",), ("results", "file-naming"), ("vote", "--json"), ("show", "file-naming"))
WRITING = (
    ("feedback", "add", "file-naming", "--task-id", "t", "--input", "description=x", "--ok"),
    ("enqueue", "file-naming"),
    ("assign", "file-naming", "--task-id", "t1"),
    ("cancel", "r1"),
    ("promote", "file-naming", "1", "--yes"),
    ("rollback", "file-naming", "--yes"),
)


@contextmanager
def locked(host: Any) -> Iterator[None]:
    """Hold the database in another connection."""
    with contextlib.closing(sqlite3.connect(host.root / "evolution.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


def counted(host: Any) -> int:
    """Count the votes that stand in the database."""
    with contextlib.closing(sqlite3.connect(host.root / "evolution.db")) as connection:
        return int(connection.execute("SELECT count(*) FROM votes").fetchone()[0])


# --- a locked database ------------------------------------------------------------------------------------------------


def test_a_program_s_vote_that_was_not_counted_says_so(
    evoctl: Any, host: Any, trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit 5, the words "not counted", and the command to give again; given again it counts once."""
    monkeypatch.setattr("models.base.BUSY_TIMEOUT_S", 0.2)
    words = ("vote", "--ballot", str(trial.ballots[0]), "--pick", "2")
    with locked(host):
        said = evoctl(*words)
        tie = evoctl("vote", "--ballot", str(trial.ballots[0]), "--tie", "--json")
    none = counted(host)
    again = evoctl(*words)

    assert (said.code, tie.code, again.code) == (5, 5, 0)
    assert "The vote was not counted. The database is locked." in said.err
    assert f"Try:  evoctl {' '.join(words)}" in said.err
    assert tie.error["error"]["hint"] == f"evoctl vote --ballot {trial.ballots[0]} --tie"
    assert (none, counted(host)) == (0, 1)


def test_a_choice_is_kept_while_the_database_is_locked(
    evoctl: Any, host: Any, trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A person presses one key: they are told once that it waits, and it is counted once when the lock is gone."""
    monkeypatch.setattr("models.base.BUSY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    keys = iter("1q")
    monkeypatch.setattr(click, "getchar", lambda: next(keys))
    taken = threading.Event()

    def hold() -> None:
        with locked(host):
            taken.set()
            time.sleep(2.0)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    said = evoctl("vote")
    thread.join()

    assert said.code == 0, said
    assert said.out.count("Not counted yet: The database is locked. Your choice is kept and tried again") == 1
    assert "\nCounted.\n" in said.out
    assert counted(host) == 1


def test_a_choice_that_is_given_up_is_shown_again(
    evoctl: Any, host: Any, trial: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C while it waits ends with 130 and says what becomes of the ballot."""
    monkeypatch.setattr("models.base.BUSY_TIMEOUT_S", 0.2)
    monkeypatch.setattr(output, "is_terminal", lambda: True)
    monkeypatch.setattr(click, "getchar", lambda: "1")
    tries: list[float] = []

    def interrupt(seconds: float) -> None:
        tries.append(seconds)
        if len(tries) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr("ops.cli.vote.time.sleep", interrupt)
    with locked(host):
        said = evoctl("vote")

    assert said.code == 130
    assert "The vote was given up. If it was not counted, the ballot is shown again." in said.out
    assert (counted(host), evoctl("vote", "--json").data["ballot"]["ballot"]) == (0, trial.ballots[0])


# --- a full disk ------------------------------------------------------------------------------------------------------


def low_on_room(host: Any) -> None:
    """Want more room than any disk has."""
    text = host.config.read_text(encoding="utf-8")
    host.config.write_text(f"{text}\n  work: {{min_free_mb: 1000000000000}}\n", encoding="utf-8")


def test_status_and_doctor_say_that_the_disk_is_full(evoctl: Any, host: Any) -> None:
    """In plain words, with the figures, and what to do."""
    low_on_room(host)

    status, data, doctor = evoctl("status"), evoctl("status", "--json").data, evoctl("doctor")

    assert "ALERT The disk is full: only " in status.out
    assert "Free some space, and work goes on by itself." in status.out
    assert (data["disk"]["enough"], data["disk"]["wanted_mb"]) == (False, 1e12)
    assert doctor.code == 6
    assert "BAD   disk" in doctor.out
    assert "the disk is full" in doctor.out


def test_with_room_nobody_is_alarmed(evoctl: Any, host: Any) -> None:
    """The usual case is one line of doctor's and none of status's, and the probe leaves nothing behind."""
    status, doctor = evoctl("status"), evoctl("doctor")

    assert "ALERT" not in status.out
    assert "ok    disk" in doctor.out
    assert not [path for path in host.root.iterdir() if "probe" in path.name]


@pytest.mark.parametrize("limit", [0, 4096])
def test_status_and_doctor_work_on_a_disk_that_takes_nothing(host: Any, limit: int, tmp_path: Path) -> None:
    """No file of the process can grow (RLIMIT_FSIZE): both end as designed, and say that the disk is full."""
    (host.root / "gate.json").unlink(missing_ok=True)
    code = (
        "import resource, sys; from ops.cli.main import cli; "
        f"resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit})); cli.main(sys.argv[1:])"
    )
    env = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    said = {
        name: subprocess.run([sys.executable, "-c", code, name], capture_output=True, text=True, check=False, env=env)
        for name in ("status", "doctor")
    }

    assert said["doctor"].returncode == 6, said["doctor"]
    assert "The disk is full." in said["doctor"].stdout
    assert said["status"].returncode in (0, 5), said["status"]  # SQLite reads only where its index file has room
    assert limit or "full." in said["status"].stdout + said["status"].stderr


@pytest.mark.parametrize("words", [("init",), ("env",)])
def test_a_command_that_cannot_write_says_why(host: Any, words: tuple[str, ...], tmp_path: Path) -> None:
    """Exit 5 and "The disk is full", no traceback and no half file."""
    code = (
        "import resource, sys; from ops.cli.main import cli; "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0)); cli.main(sys.argv[1:])"
    )
    env = {k: v for k, v in os.environ.items() if k != "RQ_REDIS_URL"} | {"PYTHONDONTWRITEBYTECODE": "1"}
    (host.root / "redis.url").unlink(missing_ok=True)
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False, env=env)

    assert done.returncode == 5, done
    assert "Error: The disk is full." in done.stderr
    assert not [path for path in host.root.iterdir() if path.name.startswith(".")]


# --- another release --------------------------------------------------------------------------------------------------


def at_revision(host: Any, revision: str) -> None:
    """Let the database be of another release."""
    with contextlib.closing(sqlite3.connect(host.root / "evolution.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))


def dump(host: Any) -> list[str]:
    """Return everything that stands in the database."""
    with contextlib.closing(sqlite3.connect(host.root / "evolution.db")) as connection:
        return list(connection.iterdump())


@pytest.mark.parametrize(
    ("revision", "what", "hint"),
    [
        (
            "9999",
            f"The database is at revision 9999, which is newer than this program's {SCHEMA}.",
            "Use the newer program",
        ),
        ("0001", f"The database is at revision 0001, not {SCHEMA}.", "evoctl up, or evoctl migrate"),
    ],
)
def test_every_command_refuses_another_release_s_database(
    evoctl: Any, host: Any, trial: Any, revision: str, what: str, hint: str
) -> None:
    """What, why and what to try, exit 1, and not one byte is written."""
    at_revision(host, revision)
    before = dump(host)
    vote = ("vote", "--ballot", str(trial.ballots[0]), "--pick", "1")
    (host.config.parent / "mine.md").write_text("Name it shortly.", encoding="utf-8")
    for words in (
        *READING,
        *WRITING,
        vote,
        ("create", "file-naming", "--variant-a", str(host.config.parent / "mine.md")),
    ):
        said = evoctl(*words)
        assert (said.code, what in said.err, hint in said.err) == (1, True, True), (words, said)

    assert dump(host) == before
    assert what in read_facts(host).trouble
    doctor = evoctl("doctor")
    assert what in doctor.out
    assert hint in doctor.out


def test_a_newer_database_is_not_migrated_back(evoctl: Any, host: Any) -> None:
    """`migrate`, `init` and `up` of an older program leave it as it is and say which program it wants."""
    at_revision(host, "9999")
    before = dump(host)

    for words in (("migrate",), ("init",), ("up", "--no-web"), ("up", "--no-web", "--detach")):
        said = evoctl(*words)
        assert said.code != 0
        assert "newer" in said.err or "--detach" in words, said
        assert "Unexpected" not in said.err, said
    check = evoctl("migrate", "--check")

    assert dump(host) == before
    assert (check.code, "evoctl migrate" in check.err) == (6, False)
    assert "which is newer" in (host.log_dir / "up.log").read_text(encoding="utf-8")


def test_up_brings_an_older_database_up_to_date(
    evoctl: Any, host: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A newer program finds the tables of the first release: `up` migrates them, and then everything works."""
    from migrations.run import current, upgrade  # noqa: PLC0415 - only this test makes an old database
    from models.base import make_engine  # noqa: PLC0415 - same

    for path in host.root.glob("evolution.db*"):
        path.unlink()
    engine = make_engine(host.database_url)
    upgrade(engine, "0001")
    refused = evoctl("status")
    monkeypatch.delenv("RQ_REDIS_URL")
    prepare(host, free_port())
    try:
        said = evoctl("up", "--detach", "--no-web", "--no-worker")
        status = evoctl("status")
    finally:
        evoctl("down")
    after = current(engine)
    engine.dispose()

    assert (refused.code, said.code, status.code, after) == (1, 0, 0, SCHEMA)


# --- two of them ------------------------------------------------------------------------------------------------------


def test_of_two_ups_at_the_same_moment_one_runs(host: Any, evoctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Started together, one runs and the other says that it does not; there is one of each process, and `down` ends it."""
    monkeypatch.delenv("RQ_REDIS_URL")
    prepare(host, free_port())
    words = [*EVOCTL, "up", "--detach", "--no-web", "--json"]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        ended = [(*one.communicate(timeout=60), one.returncode) for one in both]
    finally:
        down = evoctl("down", "--json").data

    told = (host.log_dir / "up.log").read_text(encoding="utf-8")
    assert sorted(code == 0 for *_, code in ended) == [False, True], f"{ended}\n{told}"
    assert next(code for *_, code in ended if code) == 8, ended
    assert down == {"stopped": True, "left_behind": 0}


def test_a_look_at_the_lock_keeps_no_tick_away(evoctl: Any, host: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever asks whether a tick runs holds its lock for an instant; a tick that starts just then is not refused."""
    monkeypatch.setattr("workers.lock.PROBED_S", 10.0)
    monkeypatch.setattr("workers.tick.run", lambda _home: None)
    lock = Lock(host.locks / TICK_LOCK)
    assert lock.take()
    look = threading.Timer(0.3, lock.release)
    look.start()

    said = evoctl("tick")

    look.join()
    assert said.code == 0, said
