"""Mishaps of the machine around one step: a full disk, a locked database, a read-only file, another release."""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from filelock import FileLock
from sqlalchemy import Connection, Engine, event, text

from models import checks, steps
from models.base import SCHEMA
from models.work_tables import RunRow
from pipeline.domain import Ending, Stage, StepState
from pipeline.errors import OtherRelease, Refused, Unreachable
from workers import host_publish, trouble
from workers.client import Evolution
from workers.host_config import read_template
from workers.lock import LOCK, held
from workers.sessions import database
from workers.tick import Tick
from workers.trouble import of_database, of_file, patiently
from workers.turn import take_turn

UNLIMITED = 2**31 - 2  # pages
LOCKED_S = 8.0  # the whole minute is in `make chaos`


class Pages:
    """A limit on the pages of every SQLite file: beyond it SQLite says that the disk is full, as it does on a real one."""

    def __init__(self) -> None:
        self.most = UNLIMITED

    def hold(self, site: Any) -> None:
        """Let the site's database grow no more."""
        with site.opened.read() as session:
            self.most = session.scalar(text("PRAGMA page_count")) or 0

    def begin(self, connection: Connection) -> None:
        """Set the limit at the begin of each transaction."""
        connection.exec_driver_sql(f"PRAGMA max_page_count={self.most}")


@pytest.fixture(name="pages")
def _pages() -> Iterator[Pages]:
    """Return the limit, which holds nobody back at first."""
    pages = Pages()
    event.listen(Engine, "begin", pages.begin)
    yield pages
    event.remove(Engine, "begin", pages.begin)


@pytest.fixture(name="hasty")
def _hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a write be tried again for a moment only."""
    monkeypatch.setattr(trouble, "PATIENCE_S", 0.2)
    monkeypatch.setattr(trouble, "PAUSE_S", 0.1)


@contextlib.contextmanager
def no_file_grows(limit: int = 0) -> Iterator[None]:
    """Let no file of this process be written beyond *limit* bytes; the pipes to a test's reporter are no files."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


BALLAST = """
INSERT INTO model_calls (run_id, stage, visit, request_sha, occurrence, role, tag, outcome, reply, prompt_tokens, tokens,
duration_ms, at) VALUES (1, 'judge', 99, hex(randomblob(32)), 0, 'ballast', '', 'answered', NULL, 0, 0, 0, '2026-01-01')
"""


def fill_up(site: Any) -> None:
    """Use up what the pages of the journal's own table still have room for."""
    with contextlib.suppress(Unreachable):
        while True:
            with site.opened.write() as session:
                session.execute(text(BALLAST))


# --- a full disk ------------------------------------------------------------------------------------------------------


def test_a_reply_that_was_paid_for_waits_for_room(
    site: Any, pages: Pages, monkeypatch: pytest.MonkeyPatch, until: Callable[..., None]
) -> None:
    """The disk is full while a model answers: the reply is kept, written when there is room, and asked for once."""
    monkeypatch.setattr(trouble, "PAUSE_S", 0.1)
    bell, outcomes = site.judging(12), []
    site.server.turn({"tokens_per_second": 150.0})
    thread = threading.Thread(target=lambda: outcomes.append(site.work(bell)))
    thread.start()
    until(lambda: site.paid() >= 2)
    pages.hold(site)
    fill_up(site)
    time.sleep(2.0)  # several tries of a reply that no page has room for
    stuck = site.paid() - site.spent(bell).calls
    site.server.turn({"tokens_per_second": 0.0})
    pages.most = UNLIMITED
    thread.join()

    assert stuck == 1
    assert [outcome.words for outcome in outcomes] == ["done: judge visit 1"]
    assert (site.paid(), site.spent(bell).calls, site.server.counts().paid_twice) == (12, 12, {})
    assert site.step(bell).crashes == 0


def test_a_disk_that_stays_full_fails_no_run(site: Any, pages: Pages, hasty: None) -> None:
    """However often it is tried, nothing counts as a crash and at most the call in flight is paid again; then it goes on."""
    site.change(work={"unreachable_retry_s": 0.1}, judging={"pass_mark": 100.0})
    bell = site.judging(12)
    pages.hold(site)
    fill_up(site)
    for _ in range(8):  # more than `max_crashes` of these settings
        step = site.step(bell)
        assert "waiting" in site.work(replace(bell, attempt=step.attempt)).words
        with contextlib.suppress(Unreachable):
            site.reconcile()
        time.sleep(0.1)
    pages.most = UNLIMITED
    while site.step(bell).state != StepState.DONE:
        site.reconcile()
        site.work(replace(bell, attempt=site.step(bell).attempt))

    assert site.run(bell).ending != Ending.FAILED
    assert site.step(bell).crashes == 0


def test_no_model_is_asked_without_room_for_its_reply(site: Any) -> None:
    """With less free space than the setting wants the step waits, says "disk full", and costs nothing."""
    site.change(work={"min_free_mb": 1e12})
    bell = site.judging(1)

    outcome = site.work(bell)

    row = site.step(bell)
    assert outcome.words == "waiting: a server, a model or a file cannot be used"
    assert (row.state, row.crashes, site.paid()) == (StepState.READY, 0, 0)
    assert "disk is full" in row.waiting_for
    assert row.due_at is not None


def test_no_model_is_asked_where_nothing_can_be_written(site: Any) -> None:
    """A quota shows in no figure: each job writes something before its first call, and takes it away again."""
    bell = site.judging(1)
    with no_file_grows(trouble.PROBE_BYTES - 1):  # the database is smaller
        outcome = site.work(bell)
    row = site.step(bell)

    assert outcome.words == "waiting: a server, a model or a file cannot be used"
    assert (row.crashes, site.paid(), row.waiting_for.startswith("The disk is full.")) == (0, 0, True)
    assert site.work(replace(bell, attempt=row.attempt)).words == "done: judge visit 1"
    assert not [path for path in site.home.root.iterdir() if "probe" in path.name]


def test_a_gate_that_cannot_write_makes_the_step_wait(site: Any) -> None:
    """The gate's notes meet a full disk: that is no failure of the step, and it says what is the matter."""
    (site.home.root / "gate.json.new").symlink_to("/dev/full")
    bell = site.judging(1)
    for attempt in (1, 2, 3, 4):
        assert "waiting" in site.work(replace(bell, attempt=attempt)).words
    row = site.step(bell)
    (site.home.root / "gate.json.new").unlink()

    assert (row.crashes, row.waiting_for.startswith("The disk is full.")) == (0, True)
    assert site.work(replace(bell, attempt=5)).words == "done: judge visit 1"


def test_tick_outlives_a_full_disk(site: Any, caplog: pytest.LogCaptureFixture, until: Callable[..., None]) -> None:
    """Its look at the gate cannot be written down: it says so once, repairs all the same, and goes on by itself."""
    (site.home.root / "gate.json.new").symlink_to("/dev/full")
    bell, stop = site.judging(), threading.Event()
    thread = threading.Thread(target=Tick(site.home).run, args=(stop,))
    thread.start()
    until(lambda: bell.job_id in site.queued() and caplog.records)
    time.sleep(1.2)
    told = [record.getMessage() for record in caplog.records]
    (site.home.root / "gate.json.new").unlink()
    until((site.home.root / "gate.json").exists)
    stop.set()
    thread.join()

    assert len(told) == 1
    assert "The disk is full." in told[0]


@pytest.mark.parametrize("limit", [0, 2000])
def test_a_promotion_waits_for_a_full_disk(site: Any, limit: int) -> None:
    """Neither template nor configuration is torn, the promotion is not refused, and it goes on when there is room."""
    bell = promoting(site)
    before = site.home.config.read_bytes()
    with no_file_grows_but_the_database(site, limit):
        outcome = site.work(bell)
    row = site.step(bell)

    assert outcome.words == "waiting: a server, a model or a file cannot be used"
    assert (row.state, row.crashes) == (StepState.READY, 0)
    assert "disk is full" in row.waiting_for
    assert site.home.config.read_bytes() == before
    site.work(replace(bell, attempt=row.attempt))
    assert site.run(bell).ending == Ending.PROMOTED
    assert "-v2.md" in site.home.config.read_text(encoding="utf-8")


@contextlib.contextmanager
def no_file_grows_but_the_database(site: Any, limit: int) -> Iterator[None]:
    """Limit the size of files only while the configuration is written."""
    original = host_publish._publish

    def limited(*args: Any) -> Any:
        with no_file_grows(limit):
            return original(*args)

    host_publish._publish = limited
    try:
        yield
    finally:
        host_publish._publish = original


def promoting(site: Any) -> Any:
    """Start a promotion by a person: a variant of a run that was made by hand."""
    words = read_template(site.home.config, site.rules.skill.template)
    at = datetime.now(UTC)
    with site.opened.write() as session:
        bell = checks.start_manual(session, site.rules, words, ("Name the file in kebab-case.",), at, "a test")
        variant = session.execute(text("SELECT max(variant_id) FROM prompt_variants")).scalar_one()
        assert bell.run
        return checks.start_promotion(session, site.rules, words, variant, at, forced=False, reason="a test")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("SQLITE_FULL", "The disk is full."),
        ("SQLITE_IOERR_WRITE", "The disk cannot be written; it may be full."),
        ("SQLITE_READONLY", "The database cannot be written."),
        ("SQLITE_READONLY_DIRECTORY", "The database cannot be written."),
        ("SQLITE_BUSY", "The database is locked."),
        ("SQLITE_CANTOPEN", "The database does not answer."),
    ],
)
def test_the_database_s_complaint_is_told_in_plain_words(name: str, words: str) -> None:
    """Each kind has its own sentence."""
    complaint = sqlite3.OperationalError("said by the driver")
    complaint.sqlite_errorname = name

    assert of_database(complaint).what == words


def test_only_what_passes_is_taken_for_passing() -> None:
    """A full disk and a missing right may pass; a missing file is a failure."""
    found = [of_file(OSError(number, os.strerror(number), "f")) for number in (errno.ENOSPC, errno.EROFS, errno.ENOENT)]

    assert [one.what if one else None for one in found] == ["The disk is full.", "f cannot be written.", None]


def test_patience_ends() -> None:
    """What never works is told after the time, and was tried before that."""
    tries: list[float] = []

    def never() -> None:
        tries.append(time.monotonic())
        raise Unreachable("no")

    with pytest.raises(Unreachable):
        patiently(never, seconds=0.0)
    assert len(tries) == 1


# --- a locked database ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def locked(site: Any, seconds: float, kind: str = "IMMEDIATE") -> Iterator[None]:
    """Hold the database in another connection for some seconds."""
    taken = threading.Event()

    def hold() -> None:
        with contextlib.closing(sqlite3.connect(site.home.root / "evolution.db", isolation_level=None)) as other:
            other.execute(f"BEGIN {kind}")
            taken.set()
            time.sleep(seconds)
            other.execute("ROLLBACK")

    thread = threading.Thread(target=hold)
    thread.start()
    assert taken.wait(10)
    yield
    thread.join()


@pytest.mark.parametrize("kind", ["IMMEDIATE", "EXCLUSIVE"])
def test_a_job_that_meets_a_locked_database_is_no_failure(
    site: Any, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It ends in plain words, without a failed job in Redis; once the lock is gone the step is rung and done."""
    monkeypatch.setattr("models.base.BUSY_TIMEOUT_S", 0.3)
    site.change(judging={"pass_mark": 100.0})
    bell = site.judging(1)
    site.relay(bell)
    with locked(site, 2.0, kind):
        site.burst()
        result = site.job(bell).return_value()
    failed = site.redis.zcard("rq:failed:evolution")
    while site.step(bell).state != StepState.DONE:
        site.reconcile()
        site.burst()

    assert result == "waiting: the database cannot be used"
    assert (failed, site.step(bell).crashes, site.paid()) == (0, 0, 1)


def test_a_database_locked_for_long_in_the_middle_costs_nothing(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Writers wait a second each; the lock lasts for eight: nothing fails, and nothing is paid twice."""
    lock_in_the_middle(site, monkeypatch, LOCKED_S, busy_s=1.0)


@pytest.mark.chaos
@pytest.mark.timeout(200)
def test_a_database_locked_for_a_minute_in_the_middle_costs_nothing(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole minute, with the wait of every day."""
    lock_in_the_middle(site, monkeypatch, 60.0, busy_s=10.0)


def lock_in_the_middle(site: Any, monkeypatch: pytest.MonkeyPatch, seconds: float, *, busy_s: float) -> None:
    """Lock the database while a judge works, and look at everything afterwards."""
    monkeypatch.setattr("models.base.BUSY_TIMEOUT_S", busy_s)
    site.server.turn({"tokens_per_second": 150.0})
    bell, outcomes = site.judging(3), []
    thread = threading.Thread(target=lambda: outcomes.append(site.work(bell)))
    thread.start()
    while site.paid() < 2:
        time.sleep(0.002)
    began = time.monotonic()
    with locked(site, seconds):
        pass
    held_s = time.monotonic() - began
    thread.join()

    assert held_s >= seconds
    assert [outcome.words for outcome in outcomes] == ["done: judge visit 1"]
    assert (site.paid(), site.spent(bell).calls, site.server.counts().paid_twice) == (3, 3, {})
    assert (site.step(bell).crashes, site.step(bell).attempt) == (0, 1)


# --- a read-only configuration ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("what", ["file", "folder"])
def test_a_promotion_waits_for_a_read_only_configuration(site: Any, what: str) -> None:
    """The step says which `chmod` helps; after it the promotion goes on by itself, once."""
    bell, config = promoting(site), site.home.config
    place = config if what == "file" else config.parent
    before, mode = config.read_bytes(), place.stat().st_mode
    place.chmod(0o444 if what == "file" else 0o555)
    try:
        first = site.work(bell)
        row = site.step(bell)
    finally:
        place.chmod(mode)

    assert first.words == "waiting: a server, a model or a file cannot be used"
    assert config.read_bytes() == before
    assert (row.state, row.crashes) == (StepState.READY, 0)
    assert f"{place} is read-only. chmod u+w" in row.waiting_for
    assert 0 < (row.due_at - datetime.now(UTC)).total_seconds() <= site.rules.settings.work.unreachable_retry_s
    assert site.work(replace(bell, attempt=row.attempt)).words == "done: promote visit 1"
    assert (site.run(bell).ending, config.read_bytes().count(b"-v2.md")) == (
        Ending.PROMOTED,
        before.count(b"-v2.md") + 1,
    )


def test_a_lock_on_the_configuration_is_waited_for(site: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another program holds it for longer than a publication waits: no crash is counted, and it goes on afterwards."""
    monkeypatch.setitem(host_publish.publish.__kwdefaults__, "lock_wait_s", 0.1)
    bell = promoting(site)
    with FileLock(site.home.config.with_name("config.yaml.lock")):
        assert "waiting" in site.work(bell).words
    row = site.step(bell)

    assert (row.crashes, "Another process is changing" in row.waiting_for) == (0, True)
    assert site.work(replace(bell, attempt=row.attempt)).words == "done: promote visit 1"


def test_a_person_is_told_what_their_promotion_waits_for(site: Any) -> None:
    """`promote` on a read-only configuration changes nothing, names the `chmod`, and leaves nothing to happen later."""
    bell = promoting(site)
    with site.opened.write() as session:
        run = session.get_one(RunRow, bell.run)
        variant, run.ended_at, run.ending = run.target_variant_id, datetime.now(UTC), Ending.CANCELLED
    site.home.config.chmod(0o444)
    with Evolution(site.home) as evolution:
        with pytest.raises(Refused, match=r"Nothing was changed: .* is read-only. chmod u"):
            evolution.promote("file-naming", variant)
        site.home.config.chmod(0o644)
        open_before = [step.run_id for step in site.steps() if step.state == StepState.READY]
        said = evolution.promote("file-naming", variant)

    assert site.steps()[-2].run_id not in open_before
    assert said == Ending.PROMOTED


# --- another release --------------------------------------------------------------------------------------------------


def at_revision(site: Any, revision: str) -> None:
    """Let the database be of another release."""
    with site.opened.write() as session:
        session.execute(text("UPDATE alembic_version SET version_num = :to"), {"to": revision})


@pytest.mark.parametrize(("revision", "hint"), [("9999", "Use the newer program"), ("0001", "evoctl migrate")])
def test_another_release_s_database_is_refused_by_jobs(site: Any, revision: str, hint: str) -> None:
    """A job says so and ends; attempts, crashes and everything else stay; it is done once the release fits again."""
    site.change(judging={"pass_mark": 100.0})
    bell = site.judging(1)
    site.relay(bell)
    at_revision(site, revision)
    before = dump(site)
    site.burst()
    result = site.job(bell).return_value()
    after, failed = dump(site), site.redis.zcard("rq:failed:evolution")
    at_revision(site, SCHEMA)
    while site.step(bell).state != StepState.DONE:
        site.reconcile()
        site.burst()

    assert result == "not done: the database is of another release of this program"
    assert (after, failed) == (before, 0)
    assert (site.step(bell).crashes, site.paid()) == (0, 1)
    at_revision(site, revision)
    with pytest.raises(OtherRelease, match=hint), database(site.home):
        pass


def test_tick_stops_writing_when_the_database_becomes_another_release_s(
    site: Any, caplog: pytest.LogCaptureFixture, until: Callable[..., None]
) -> None:
    """A newer program migrates under a tick that runs: it says so once, writes nothing, and goes on when it may."""
    stop = threading.Event()
    thread = threading.Thread(target=Tick(site.home).run, args=(stop,))
    thread.start()
    until((site.home.root / "gate.json").exists)
    at_revision(site, "9999")
    until(lambda: caplog.records)
    bell = site.judging()
    before = dump(site)
    time.sleep(1.2)
    quiet, queued, told = dump(site) == before, site.queued(), [r.getMessage() for r in caplog.records]
    at_revision(site, SCHEMA)
    until(lambda: bell.job_id in site.queued())
    stop.set()
    thread.join()

    assert (quiet, queued, len(told)) == (True, [], 1)
    assert "newer than this program" in told[0]


def dump(site: Any) -> list[str]:
    """Return everything that stands in the database."""
    with contextlib.closing(sqlite3.connect(site.home.root / "evolution.db")) as connection:
        return list(connection.iterdump())


# --- two of everything ------------------------------------------------------------------------------------------------


def test_two_ticks_revive_and_ring_once(site: Any, until: Callable[..., None]) -> None:
    """Two reconcilers at once: each dead step is buried once, each lost bell rung anew once, under one new attempt."""
    bells = [site.judging() for _ in range(6)]
    with site.opened.write() as session:
        for bell in bells[:3]:
            steps.claim(session, bell.step, 1, datetime.now(UTC))
    site.relay(*bells[3:])
    for bell in bells[3:]:
        site.job(bell).set_status("failed")
    site.redis.delete("rq:queue:evolution")
    stop = threading.Event()
    threads = [threading.Thread(target=Tick(site.home).run, args=(stop,)) for _ in range(2)]
    for thread in threads:
        thread.start()
    until(lambda: len(site.queued()) >= 6)
    time.sleep(1.0)
    stop.set()
    for thread in threads:
        thread.join()

    assert [site.step(bell).attempt for bell in bells] == [2] * 6
    assert [site.step(bell).crashes for bell in bells] == [1] * 3 + [0] * 3
    own = [job for job in site.queued() if "-judge-" in job]  # the ticks ring drift checks as well
    assert sorted(own) == sorted(replace(bell, attempt=2).job_id for bell in bells)
    assert not held(site.home.locks / LOCK)


def test_two_jobs_of_one_step_in_two_processes_do_it_once(site: Any) -> None:
    """The same bell delivered to two workers at once: one works, the other finds nothing to do."""
    site.server.turn({"tokens_per_second": 200.0})
    bell, said = site.judging(2), []
    threads = [
        threading.Thread(target=lambda: said.append(take_turn(Stage.JUDGE, bell.step, 1, site.home))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert sorted(said) == ["done: judge visit 1", "stale: nothing to do"]
    assert (site.paid(), site.server.counts().paid_twice) == (2, {})
