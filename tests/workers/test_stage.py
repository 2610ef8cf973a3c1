"""The engine: a step is done once, paid once, and whatever is missing makes it wait and not fail."""

from __future__ import annotations

import signal
import sqlite3
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from models import checks, judge_checks, reports, steps
from models.runs import cancel, start_run
from models.work_tables import CancelledCallRow, RunRow, StepRow
from pipeline.domain import Ending, RunKind, Stage, StepState
from pipeline.errors import EvolutionError, Unreachable
from workers.clock import now
from workers.home import Home
from workers.host_templates import read_template
from workers.lease import foreground
from workers.sessions import database
from workers.stepping import StepFailed


def test_a_step_is_worked_on_and_handed_over(site: Any) -> None:
    """The judge asks once for each finalist; the next stage's step is ready, and its bell is returned."""
    bell = site.judging(3)

    outcome = site.work(bell)

    assert outcome.words == "done: judge visit 1"
    assert [(b.stage, b.attempt) for b in outcome.bells] == [(Stage.DEDUPE, 1)]
    assert (site.step(bell).state, site.paid(), site.spent(bell).calls) == (StepState.DONE, 3, 3)
    assert site.run(bell).simulated


def test_a_stale_duplicate_does_nothing(site: Any) -> None:
    """A bell that is delivered a second time finds the step done: no request, no row, no bell."""
    bell = site.judging(2)
    site.work(bell)

    again = site.work(bell)

    assert (again.words, again.bells) == ("stale: nothing to do", ())
    assert (site.paid(), len(site.steps())) == (2, 2)


def test_a_slice_that_is_over_goes_on_in_a_fresh_attempt(site: Any) -> None:
    """Each slice ends normally after some model time; the next replays the journal and pays for nothing twice."""
    site.change(work={"slice_s": 0.0001})
    bell, attempts = site.judging(3), []
    while site.step(bell).state != StepState.DONE:
        outcome = site.work(bell)
        attempts.append(outcome.words)
        bell = outcome.bells[0]
        if bell.stage is not Stage.JUDGE:
            break

    assert attempts == ["made room: slice"] * 2 + ["done: judge visit 1"]
    assert (site.paid(), site.server.counts().paid_twice) == (3, {})
    assert site.steps()[0].slices == 2
    assert site.gate_events() == []


class Killed(BaseException):
    """What a test raises in the place of a death; no code of ours catches it."""


@contextmanager
def killed_in_call(site: Any, number: int) -> Iterator[None]:
    """Let this process's work die while the server works on the call of that number."""

    def die(*_: object) -> None:
        raise Killed

    def strike() -> None:
        while site.paid() < number:
            time.sleep(0.002)
        signal.pthread_kill(main, signal.SIGUSR2)

    main, old, thread = threading.get_ident(), signal.signal(signal.SIGUSR2, die), threading.Thread(target=strike)
    thread.start()
    try:
        with pytest.raises(Killed):
            yield
    finally:
        thread.join()
        signal.signal(signal.SIGUSR2, old)


@pytest.mark.parametrize("number", [1, 2, 3])
def test_a_killed_step_pays_again_only_for_the_call_in_flight(site: Any, number: int) -> None:
    """Whichever call it dies in: the step is revived, replays the calls before, and asks once more for that one only."""
    site.server.turn({"tokens_per_second": 150.0})
    bell = site.judging(3)
    with killed_in_call(site, number):
        site.work(bell)
    site.server.turn({"tokens_per_second": 0.0})

    assert (site.step(bell).state, site.spent(bell).calls) == (StepState.RUNNING, number - 1)
    assert site.reconcile() == 1
    assert site.queued() == ["r1-judge-1-a2"]
    assert site.work(replace(bell, attempt=2)).words == "done: judge visit 1"
    assert (site.paid(), site.spent(bell).calls, site.step(bell).crashes) == (4, 3, 0)


def test_a_shut_gate_ends_the_job_and_says_why(site: Any) -> None:
    """While the user works no request is made; the job waits its time, ends normally, and the step says what for."""
    bell = site.judging()
    began = time.monotonic()
    with foreground(site.home.root):
        outcome = site.work(bell)
    took = time.monotonic() - began

    row = site.step(bell)
    assert outcome.words == "made room: lease"
    assert (row.state, row.attempt, row.crashes, row.waiting_for) == (
        StepState.READY,
        2,
        0,
        "A foreground command runs.",
    )
    assert 0.3 <= took < 5  # the first job of a process loads its libraries too
    assert site.paid() == 0
    (event,) = site.gate_events()
    assert (event.reason, event.preempted) == ("lease", False)
    assert event.waited_s >= 0.3


def test_a_job_that_has_waited_before_does_not_wait_again(site: Any) -> None:
    """The wait without anything heavy in memory has come first; a gate that is still shut ends the job at once."""
    site.change(gate={"wait_s": 60.0})
    bell = site.judging()
    with foreground(site.home.root):
        outcome = site.work(bell, waited=True)

    assert outcome.words == "made room: lease"
    assert [event.waited_s < 1 for event in site.gate_events()] in ([], [True])


def test_a_gate_that_opens_in_time_is_waited_for(site: Any) -> None:
    """The user is done within the wait: the same job goes on, and the wait is written down."""
    site.change(gate={"wait_s": 20})
    bell, busy = site.judging(1), threading.Event()

    def user() -> None:
        with foreground(site.home.root):
            busy.set()
            while not site.server.requests():  # the job has looked which models there are, and asks the gate next
                time.sleep(0.005)
            time.sleep(0.3)

    thread = threading.Thread(target=user)
    thread.start()
    busy.wait()
    outcome = site.work(bell)
    thread.join()

    assert outcome.words == "done: judge visit 1"
    assert [event.reason for event in site.gate_events()] == ["lease"]


def test_a_job_that_waits_for_the_gate_says_so_while_it_waits(site: Any, until: Any) -> None:
    """Reports call the step waiting, with the reason, although a job holds it; one write says so, and one that it is over."""
    site.change(gate={"wait_s": 30.0})
    bell, written = site.judging(1), []

    def seen() -> Any:
        with site.opened.read() as session:
            return reports.queue(session)[0]

    with foreground(site.home.root):
        thread = threading.Thread(target=lambda: written.append(site.work(bell)))
        thread.start()
        until(lambda: site.step(bell).waiting_for, 20)
        row, item = site.step(bell), seen()
        looking = sqlite3.connect(site.home.root / "evolution.db")
        before = looking.execute("PRAGMA data_version").fetchone()
        time.sleep(0.5)
        after = looking.execute("PRAGMA data_version").fetchone()
        looking.close()
    thread.join()

    assert (row.state, item.state, item.waiting_for) == (StepState.RUNNING, "waiting", "A foreground command runs.")
    assert item.waiting_since == row.created_at
    assert before == after
    assert written[0].words == "done: judge visit 1"
    done = site.step(bell)
    assert (done.waiting_for, done.crashes) == ("", 0)


def test_a_held_job_goes_on_saying_what_it_waits_for(site: Any) -> None:
    """Between two slices nobody is told that the step runs; an open gate ends the wait in words too."""
    bell = site.judging(1)
    with foreground(site.home.root):
        (bell,) = site.work(bell, waited=True).bells
    with site.opened.write() as session:
        claimed = steps.claim(session, bell.step, bell.attempt, now(), waits=True)
        waiting = session.get_one(StepRow, bell.step).waiting_for
        bell = steps.release(session, claimed, now(), waiting_for=waiting)

    assert waiting == "A foreground command runs."
    assert site.work(bell, waited=True).words == "done: judge visit 1"
    assert site.step(bell).waiting_for == ""


def test_a_call_that_is_cut_off_enters_the_ledger(site: Any) -> None:
    """The user comes during a request: it is given up, costs what it took, and is asked again later."""
    site.server.turn({"tokens_per_second": 20.0})
    bell, came = site.judging(2), threading.Event()

    def user() -> None:
        while site.paid() == 0:
            time.sleep(0.002)
        with foreground(site.home.root):
            came.wait(20)

    thread = threading.Thread(target=user)
    thread.start()
    outcome = site.work(bell)
    came.set()
    thread.join()

    with site.opened.read() as session:
        (cut,) = session.query(CancelledCallRow).all()
    spent = site.spent(bell)
    assert outcome.words == "made room: lease"
    assert (cut.role, spent.calls, cut.duration_ms > 0) == ("judge", 1, True)
    assert spent.minutes == pytest.approx(cut.duration_ms / 60_000)
    (event,) = site.gate_events()
    assert event.preempted
    site.server.turn({"tokens_per_second": 0.0})
    assert site.work(outcome.bells[0]).words == "done: judge visit 1"
    assert site.spent(bell).calls == 3


def test_a_queued_run_follows_the_configuration_to_another_server(site: Any) -> None:
    """A server that has moved is named in config.yaml alone: a run that began before asks it at its new place."""
    here = site.rules.settings.models.ollama_url
    site.change(models={"ollama_url": "http://127.0.0.1:9"})
    bell = site.judging(1)

    assert site.rules.settings.models.ollama_url != here
    assert site.work(bell).words == "done: judge visit 1"
    assert site.paid() == 1


def test_a_configuration_that_cannot_be_read_makes_a_run_wait(site: Any) -> None:
    """Nobody says whom to ask, so nobody is asked; when the file is whole again the run goes on."""
    bell, text = site.judging(1), site.home.config.read_text("utf-8")
    site.home.config.write_text("skills: [", "utf-8")

    outcome = site.work(bell)
    waits = site.step(bell).waiting_for
    site.home.config.write_text(text, "utf-8")

    assert outcome.words.startswith("waiting")
    assert waits.startswith("The configuration cannot be read")
    assert (site.paid(), site.step(bell).crashes) == (0, 0)
    assert site.work(replace(bell, attempt=2)).words == "done: judge visit 1"


def test_without_ollama_the_step_waits_with_words(site: Any) -> None:
    """A server that is down fails nothing: the step waits some seconds, and says for what."""
    site.configure(site.rules.settings.models.ollama_url, "http://127.0.0.1:9")
    bell = site.judging()

    outcome = site.work(bell)

    row = site.step(bell)
    assert (outcome.words, outcome.bells) == ("waiting: a server, a model or a file cannot be used", ())
    assert (row.state, row.crashes) == (StepState.READY, 0)
    assert "did not answer" in row.waiting_for
    assert 3 < (row.due_at - datetime.now(UTC)).total_seconds() <= 5
    assert site.run(bell).ended_at is None


def test_a_missing_model_is_named_with_its_pull_line(build: Any) -> None:
    """The wait says what to type; once the model is there the step goes on by itself."""
    site = build(absent=("qwen2.5-coder:3b",))
    bell = site.judging(1)

    site.work(bell)

    row = site.step(bell)
    assert (row.state, row.crashes) == (StepState.READY, 0)
    assert "ollama pull qwen2.5-coder:3b" in row.waiting_for


def test_a_locked_database_is_waited_for(site: Any) -> None:
    """Another program holds the database for three seconds: the step is done afterwards, nothing fails."""
    bell, locked = site.judging(1), threading.Event()

    def hold() -> None:
        with sqlite3.connect(site.home.root / "evolution.db", isolation_level=None) as other:
            other.execute("BEGIN IMMEDIATE")
            locked.set()
            time.sleep(3)
            other.execute("COMMIT")
        other.close()

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait()
    outcome = site.work(bell)
    thread.join()

    assert outcome.words == "done: judge visit 1"
    assert site.step(bell).crashes == 0


def broken(site: Any) -> Any:
    """Start a promotion whose code cannot but fail: it is to replace a version that nobody knows."""
    with site.opened.write() as session:
        return start_run(
            session, rules=site.rules, kind=RunKind.ROLLBACK, trigger="person", stage=Stage.PROMOTE, version=99, seed=1,
            now=datetime.now(UTC),
        )  # fmt: skip


def test_an_error_of_the_stage_ends_as_failed_after_its_tries(site: Any) -> None:
    """A step whose code always fails is tried `max_crashes` times more; then its run fails, with the reason in its row."""
    bell, tries = broken(site), 0
    while site.run(bell).ended_at is None:
        tries += 1
        with pytest.raises(StepFailed):
            site.work(replace(bell, attempt=tries))

    run = site.run(bell)
    assert (tries, run.ending, site.step(bell).state) == (3, Ending.FAILED, StepState.FAILED)
    assert "99" in run.ending_reason


def test_a_failure_shows_no_text_of_others(site: Any) -> None:
    """What the failing code said stays in the step's row; what the queue keeps names only the kind of error."""
    bell = broken(site)

    with pytest.raises(StepFailed) as failed:
        site.work(bell)

    assert str(failed.value) == "run 1: promote failed with NotFound"
    assert (failed.value.__cause__, failed.value.__suppress_context__) == (None, True)
    assert "99" in site.step(bell).error


def test_a_cancelled_run_writes_nothing_more(site: Any) -> None:
    """A person cancels while a model answers: the reply is dropped, and the job ends without an error."""
    site.server.turn({"tokens_per_second": 100.0})
    bell = site.judging(2)

    def person() -> None:
        while site.paid() == 0:
            time.sleep(0.002)
        with site.opened.write() as session:
            cancel(session, session.get_one(RunRow, bell.run), "no longer wanted", datetime.now(UTC))

    thread = threading.Thread(target=person)
    thread.start()
    outcome = site.work(bell)
    thread.join()

    assert outcome.words == "taken over by a newer attempt"
    assert (site.spent(bell).calls, site.run(bell).ending) == (0, Ending.CANCELLED)


def test_a_model_request_makes_room_for_a_decision(site: Any) -> None:
    """A promotion that becomes ready during a search ends the search's job after the running call."""
    bell = site.judging(3)
    site.server.turn({"tokens_per_second": 150.0})

    def decide() -> None:
        while site.paid() == 0:
            time.sleep(0.002)
        broken(site)

    thread = threading.Thread(target=decide)
    thread.start()
    outcome = site.work(bell)
    thread.join()

    assert outcome.words == "made room: urgent"
    assert site.paid() < 3


def test_two_homes_on_one_ollama_never_run_at_once(build: Any) -> None:
    """The second home's job steps aside while the first one asks the same server, and says so."""
    one = build("one")
    two = build("two", one.server)
    one.server.turn({"tokens_per_second": 30.0})  # longer than the other one waits for the lock
    first, second, outcomes = one.judging(1), two.judging(1), []

    thread = threading.Thread(target=lambda: outcomes.append(one.work(first)))
    thread.start()
    while one.paid() == 0:
        time.sleep(0.002)
    aside = two.work(second)
    thread.join()
    one.server.turn({"tokens_per_second": 0.0})

    assert [o.words for o in outcomes] == ["done: judge visit 1"]
    assert aside.words == "made room: other-home"
    assert "another evolution" in two.step(second).waiting_for
    assert two.work(replace(second, attempt=2)).words == "done: judge visit 1"


def test_calls_of_a_job_are_fenced_by_its_epoch(site: Any) -> None:
    """Two processes on one step: the older one's reply is not written over the newer one's."""
    bell = site.judging(1)
    site.server.turn({"tokens_per_second": 60.0})
    outcomes: list[Any] = []
    thread = threading.Thread(target=lambda: outcomes.append(site.work(bell)))
    thread.start()
    while site.paid() == 0:
        time.sleep(0.002)

    with site.opened.write() as session:
        steps.claim(session, bell.step, bell.attempt, datetime.now(UTC))
    thread.join()

    assert outcomes[0].words == "taken over by a newer attempt"
    assert site.spent(bell).calls == 0


def test_a_database_without_tables_is_an_error_with_a_hint(tmp_path: Path) -> None:
    """A home whose database was never migrated says how to."""
    home = Home(tmp_path / "empty", tmp_path / "config.yaml").ensure()

    with pytest.raises(EvolutionError, match="evoctl migrate") as trouble, database(home):
        pass

    assert not isinstance(trouble.value, Unreachable)


def test_a_judge_check_asks_the_canaries_and_survives_a_slice(site: Any) -> None:
    """Asked for by a person, cut into slices, paid once: its figures are kept, marked as a simulated judge's."""
    site.change(judging={"protocol": "checklist"}, work={"slice_s": 1.0})
    text = read_template(site.home.config, site.rules.skill.template)
    with site.opened.write() as session:
        bell = checks.start_judge_check(session, site.rules, text, datetime.now(UTC))
    first = bell

    while bell is not None:
        bell = next(iter(site.work(bell).bells), None)

    with site.opened.read() as session:
        (line,) = judge_checks.lines(session, site.rules.settings.judging, datetime.now(UTC), run=first.run)
    assert (site.paid(), line.calls, line.simulated, line.stale) == (329, 329, True, "")
    assert (site.run(first).ending, line.report.fell_back) == (Ending.CHECKED, 0)
    assert len(line.digest) == 64
    assert line.report.tnr.n == 28
