"""Steps: one holder at a time, stale attempts do nothing, crashes are counted, and nothing that arrives is lost."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import select

from models import journal, steps
from models.runs import cancel
from models.steps import Fenced
from models.work_tables import RunRow, StepRow
from pipeline.domain import Ending, RunKind, Stage, StepState, Waiting
from pipeline.flow import Scored


def test_a_claim_makes_the_step_running_under_a_new_epoch(memory: Any) -> None:
    """Each claim raises the epoch, and carries the run's frozen rules."""
    bell = memory.run()

    mine = memory.claim(bell)

    assert (memory.step(bell).state, mine.epoch, mine.rules) == (StepState.RUNNING, 1, memory.rules)


def test_only_one_of_two_attempts_at_once_is_first(memory: Any) -> None:
    """Two processes that claim at the same moment get different epochs, and only the later one may still write."""
    bell = memory.run()

    first, second = memory.at_once(*[lambda s: steps.claim(s, bell.step, bell.attempt, memory.now)] * 2)

    assert sorted((first.epoch, second.epoch)) == [1, 2]
    older, newer = sorted((first, second), key=lambda claim: claim.epoch)
    with memory.write() as session:
        assert steps.fence(session, newer).id == bell.step
        with pytest.raises(Fenced):
            steps.fence(session, older)


@pytest.mark.parametrize("attempt", [0, 2, 99])
def test_another_attempt_than_the_steps_own_takes_nothing(memory: Any, attempt: int) -> None:
    """A duplicate of an earlier ring, and an attempt that was never rung, find nothing to do."""
    bell = memory.run()

    with memory.write() as session:
        assert steps.claim(session, bell.step, attempt, memory.now) is None

    assert memory.step(bell).state == StepState.READY


@pytest.mark.parametrize("state", [StepState.WAITING, StepState.DONE, StepState.FAILED])
def test_a_step_that_needs_no_work_is_not_taken(memory: Any, state: StepState) -> None:
    """Only ready steps and those of dead processes are claimed."""
    bell = memory.run()
    with memory.write() as session:
        session.get_one(StepRow, bell.step).state = state

    with memory.write() as session:
        assert steps.claim(session, bell.step, bell.attempt, memory.now) is None


def test_the_hand_off_is_in_the_decisions_transaction(memory: Any) -> None:
    """The next stage's step is there exactly when the old one is done."""
    bell = memory.run()
    mine = memory.claim(bell)

    with memory.write() as session:
        (after,) = steps.advance(session, mine, Stage.DEDUPE, memory.now)

    assert memory.step(bell).state == StepState.DONE
    assert (after.stage, after.visit, after.attempt, memory.step(after).state) == (Stage.DEDUPE, 1, 1, StepState.READY)


def test_the_same_stage_again_is_the_next_visit(memory: Any) -> None:
    """A generation after another is visit 2 of the same run, with a job id of its own."""
    mine = memory.claim(memory.run(Stage.MUTATE))

    with memory.write() as session:
        (after,) = steps.advance(session, mine, Stage.MUTATE, memory.now)

    assert (after.visit, after.job_id) == (2, f"r{mine.run}-mutate-2-a1")


def test_an_ending_closes_the_run(memory: Any) -> None:
    """An ending leaves no step open and no bell to ring."""
    bell = memory.run()
    mine = memory.claim(bell)

    with memory.write() as session:
        assert steps.advance(session, mine, Ending.NO_SURVIVOR, memory.now, reason="none passed") == []

    run = memory.run_row(bell)
    assert (run.ending, run.ending_reason, run.ended_at) == (Ending.NO_SURVIVOR, "none passed", memory.now)


def test_an_advance_under_an_old_epoch_writes_nothing(memory: Any) -> None:
    """A process that was taken for dead and comes back cannot hand off a second time."""
    bell = memory.run()
    old = memory.claim(bell)
    memory.claim(bell)

    with pytest.raises(Fenced), memory.write() as session:
        steps.advance(session, old, Stage.DEDUPE, memory.now)

    with memory.maker() as session:
        assert [row.stage for row in session.scalars(select(StepRow))] == [Stage.JUDGE]


def test_a_ring_while_the_step_runs_makes_it_look_again(memory: Any) -> None:
    """What arrives during the work marks the step dirty; going to wait then makes it ready at once."""
    bell = memory.run(Stage.BANDIT)
    mine = memory.claim(bell)
    with memory.write() as session:
        assert steps.wake(session, bell.run, Stage.BANDIT, memory.now) is None

    with memory.write() as session:
        (again,) = steps.advance(session, mine, Waiting.FOR_VOTES, memory.now)

    row = memory.step(bell)
    assert (row.state, row.attempt, row.dirty, again.attempt) == (StepState.READY, 2, False, 2)


def test_a_claim_takes_earlier_rings_with_it(memory: Any) -> None:
    """A ring before the claim is answered by the work that follows; it does not make a second round."""
    bell = memory.run(Stage.BANDIT)
    with memory.write() as session:
        session.get_one(StepRow, bell.step).dirty = True
    mine = memory.claim(bell)

    with memory.write() as session:
        assert steps.advance(session, mine, Waiting.FOR_VOTES, memory.now) == []

    assert memory.step(bell).state == StepState.WAITING


def test_a_waiting_step_is_woken_once(memory: Any) -> None:
    """The first ring gives a fresh attempt, the second finds the step ready and changes nothing."""
    bell = memory.run(Stage.BANDIT)
    mine, due = memory.claim(bell), memory.now + timedelta(days=14)
    with memory.write() as session:
        steps.advance(session, mine, Waiting.FOR_VOTES, memory.now, due=due)

    with memory.write() as session:
        woken = steps.wake(session, bell.run, Stage.BANDIT, memory.now)
    with memory.write() as session:
        again = steps.wake(session, bell.run, Stage.BANDIT, memory.now)

    row = memory.step(bell)
    assert (woken.attempt, again, row.attempt, row.due_at) == (2, None, 2, None)


def test_making_room_costs_no_crash(memory: Any) -> None:
    """A released step keeps its crash count, gets a fresh attempt, and says what it waits for."""
    bell = memory.run()
    for slice_ in range(1, 8):
        mine = memory.claim(bell)
        with memory.write() as session:
            bell = steps.release(session, mine, memory.now, waiting_for="x" * 500)

        row = memory.step(bell)
        assert (row.state, row.crashes, row.slices, row.attempt) == (StepState.READY, 0, slice_, slice_ + 1)
        assert bell.waiting_for == row.waiting_for == "x" * 200


def test_the_old_holder_is_fenced_after_a_release(memory: Any) -> None:
    """A step that was given back belongs to nobody: the process that gave it back can write no more."""
    mine = memory.claim(memory.run())
    with memory.write() as session:
        steps.release(session, mine, memory.now, waiting_for="")

    with memory.write() as session, pytest.raises(Fenced):
        steps.fence(session, mine)


def test_a_dead_holder_is_buried_once(memory: Any) -> None:
    """The first burial gives a fresh attempt; a second one of the same death changes nothing."""
    bell = memory.run()
    mine = memory.claim(bell)

    with memory.write() as session:
        fresh = steps.bury(session, bell.step, mine.epoch, memory.now)
    with memory.write() as session:
        second = steps.bury(session, bell.step, mine.epoch, memory.now)

    assert (fresh.attempt, second, memory.step(bell).crashes) == (2, None, 1)


def test_a_burial_never_hits_a_newer_holder(memory: Any) -> None:
    """A death that was read before another process took the step is not counted against that process."""
    bell = memory.run()
    dead, alive = memory.claim(bell), memory.claim(bell)

    with memory.write() as session:
        assert steps.bury(session, bell.step, dead.epoch, memory.now) is None
        assert steps.fence(session, alive).crashes == 1


def test_repeated_deaths_are_not_rung_at_once(memory: Any) -> None:
    """The first death is followed at once; after the second the step has a due time, and its bell waits for it."""
    bell = memory.run()
    first = memory.claim(bell)
    with memory.write() as session:
        bell = steps.bury(session, bell.step, first.epoch, memory.now)
    second = memory.claim(bell)

    with memory.write() as session:
        rung = steps.bury(session, bell.step, second.epoch, memory.now)

    row = memory.step(bell)
    assert (rung, row.state, row.attempt) == (None, StepState.READY, 3)
    assert memory.now < row.due_at <= memory.now + timedelta(minutes=1)


def test_a_step_that_dies_too_often_fails_its_run(memory: Any) -> None:
    """After `max_crashes` deaths without a new reply, the next one ends the run as failed, with the reason."""
    bell = memory.run()
    for _ in range(3):
        with memory.write() as session:
            row = session.get_one(StepRow, bell.step)
            mine = steps.claim(session, bell.step, row.attempt, memory.now)
        with memory.write() as session:
            steps.bury(session, bell.step, mine.epoch, memory.now)

    run = memory.run_row(bell)
    assert memory.step(bell).state == StepState.FAILED
    assert (run.ending, run.ending_reason) == (Ending.FAILED, "judge: its process died")


def test_a_job_that_is_delivered_again_and_again_fails_too(memory: Any) -> None:
    """Deaths count also where the queue itself redelivers the same attempt; the claim that is one too many gets nothing."""
    bell = memory.run()
    claims = []
    for _ in range(5):
        with memory.write() as session:
            claims.append(steps.claim(session, bell.step, bell.attempt, memory.now))

    assert [claim is not None for claim in claims] == [True, True, True, False, False]
    assert memory.run_row(bell).ending == Ending.FAILED


def test_errors_of_the_steps_own_code_count_as_crashes(memory: Any) -> None:
    """An error is kept in the step's row, and tried again until it is one too many."""
    bell, bells = memory.run(), []
    for _ in range(3):
        with memory.write() as session:
            mine = steps.claim(session, bell.step, session.get_one(StepRow, bell.step).attempt, memory.now)
        with memory.write() as session:
            bells.append(steps.fail(session, mine, "ValueError: " + "y" * 5000, memory.now))

    assert [b is not None for b in bells] == [True, True, False]
    assert memory.step(bell).error.startswith("ValueError: yyy")
    assert len(memory.step(bell).error) == 2000


def test_a_new_reply_forgives_earlier_crashes(memory: Any) -> None:
    """Progress resets the count: a long search may die often, as long as it gets on."""
    bell = memory.run()
    mine = memory.claim(bell)
    with memory.write() as session:
        steps.bury(session, bell.step, mine.epoch, memory.now)
    with memory.write() as session:
        mine = steps.claim(session, bell.step, 2, memory.now)

    with memory.write() as session:
        journal.record(session, mine, ("sha", 0), Scored(value=1), role="task", tag="", simulated=False, now=memory.now)

    assert memory.step(bell).crashes == 0


def test_cancelling_fences_a_running_job(memory: Any) -> None:
    """A person's stop takes the step from whoever works on it; nothing of that work is written any more."""
    bell = memory.run()
    mine = memory.claim(bell)
    with memory.write() as session:
        cancel(session, session.get_one(RunRow, bell.run), "no longer wanted", memory.now)

    with pytest.raises(Fenced), memory.write() as session:
        journal.record(session, mine, ("sha", 0), Scored(value=1), role="task", tag="", simulated=False, now=memory.now)

    assert (memory.step(bell).state, memory.run_row(bell).ending) == (StepState.FAILED, Ending.CANCELLED)
    with memory.write() as session:
        assert steps.claim(session, bell.step, bell.attempt, memory.now) is None


def test_a_lost_bell_is_rung_under_a_new_name(memory: Any) -> None:
    """Ringing again keeps what the step waits for; a step that moved on meanwhile is left alone."""
    bell = memory.run()
    mine = memory.claim(bell)
    with memory.write() as session:
        bell = steps.release(session, mine, memory.now, waiting_for="the user works")

    with memory.write() as session:
        again = steps.ring_again(session, bell.step, bell.attempt, memory.now)
    with memory.write() as session:
        stale = steps.ring_again(session, bell.step, bell.attempt, memory.now)

    assert (again.attempt, again.waiting_for, stale) == (3, "the user works", None)


def test_due_steps_are_those_that_somebody_could_work_on(memory: Any) -> None:
    """A ready step with a later due time and a wait with a running timer are left out."""
    ready, later, running, waiting = (memory.run(kind=RunKind.DRIFT_CHECK) for _ in range(4))
    memory.claim(running)
    with memory.write() as session:
        session.get_one(StepRow, later.step).due_at = memory.now + timedelta(seconds=1)
        row = session.get_one(StepRow, waiting.step)
        row.state, row.due_at = StepState.WAITING, memory.now + timedelta(seconds=1)

    def due(at: Any) -> list[int]:
        with memory.maker() as session:
            return [step.id for step, _ in session.execute(steps.due_steps(at))]

    assert due(memory.now) == [ready.step, running.step]
    assert due(memory.now + timedelta(seconds=1)) == [ready.step, later.step, running.step, waiting.step]


@pytest.mark.parametrize(
    ("stage", "urgent"), [(Stage.DETECT, True), (Stage.PROMOTE, True), (Stage.BANDIT, False), (Stage.MUTATE, False)]
)
def test_only_steps_that_need_no_model_are_urgent(memory: Any, stage: Stage, urgent: bool) -> None:  # noqa: FBT001 - a table
    """A search makes room for decisions and promotions, not for another search."""
    memory.run(stage)

    with memory.maker() as session:
        assert steps.urgent_ready(session, memory.now) is urgent


def test_bells_go_to_the_front_unless_they_wait_for_quiet(memory: Any) -> None:
    """Ballots are made before a search goes on, but a held one must not keep the others from the worker."""
    ballots, search = memory.run(Stage.BANDIT), memory.run(Stage.MUTATE, RunKind.DRIFT_CHECK)
    with memory.write() as session:
        held = steps.release(session, memory.claim(ballots), memory.now, waiting_for="the user works")

    assert (ballots.front, search.front, held.front) == (True, False, False)
