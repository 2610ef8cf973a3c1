"""Steps: claim, fence, hand off, release. The step table is the outbox; Redis only carries its bells.

Every function works inside the caller's transaction, and none of them commits.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import cast

from sqlalchemy import ColumnElement, Select, Table, bindparam, or_, select, update
from sqlalchemy.orm import Session

from models.runs import URGENT, Bell, add_step, bell_of, end_run
from models.work_tables import RunRow, StepRow
from pipeline.domain import Ending, Next, RunId, RunKind, SkillName, Stage, StepId, StepState, Waiting
from pipeline.errors import EvolutionError
from pipeline.rules import Rules

DIED = "its process died"
SLICE_OVER, DECISION_FIRST = "its slice is over", "a decision goes first"
MADE_ROOM = (SLICE_OVER, DECISION_FIRST)  # a step that only made room for others waits for nobody
SKEW = timedelta(minutes=1)  # so far the clocks of two hosts may differ before one counts as put back


class Fenced(EvolutionError):
    """Another claim of this step is newer; this one may write nothing any more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """A step this process holds, with what its run goes by."""

    step: StepId
    run: RunId
    skill: SkillName
    kind: RunKind
    stage: Stage
    visit: int
    attempt: int
    epoch: int
    trigger: str
    seed: int
    rules: Rules


def claim(session: Session, step_id: int, attempt: int, now: datetime, *, waits: bool = False) -> Claim | None:
    """Take the step for this process, or None when this attempt is stale or the step needs no work.

    A step found running was left by a process that died (the caller holds the kernel lock): that counts as a crash, and
    one too many ends the run here. A job that *waits* for the gate still goes on saying what for.
    """
    step = session.scalar(select(StepRow).where(StepRow.id == step_id, StepRow.attempt == attempt).with_for_update())
    if step is None or step.state not in (StepState.READY, StepState.RUNNING):
        return None
    run = session.get_one(RunRow, step.run_id)
    rules = Rules.from_json(run.rules)
    if step.state == StepState.RUNNING and _is_poison(step, run, rules, DIED, now):
        return None
    step.waiting_for = step.waiting_for if waits else ""
    step.state, step.epoch, step.due_at, step.updated_at = StepState.RUNNING, step.epoch + 1, None, now
    step.dirty = False
    session.flush()
    return Claim(
        step=StepId(step.id), run=RunId(run.id), skill=SkillName(run.skill_name), kind=RunKind(run.kind),
        stage=Stage(step.stage), visit=step.visit, attempt=step.attempt, epoch=step.epoch, trigger=run.trigger,
        seed=run.seed, rules=rules,
    )  # fmt: skip


_STEPS = cast("Table", StepRow.__table__)
_PROGRESSED = (
    update(_STEPS)
    .where(
        _STEPS.c.id == bindparam("step"), _STEPS.c.epoch == bindparam("claimed"), _STEPS.c.state == StepState.RUNNING.value
    )
    .values(crashes=0, updated_at=bindparam("now"))
)  # fmt: skip
"""Built once: it runs at every model call."""


def note_waiting(session: Session, mine: Claim, words: str) -> None:
    """Say what a running step waits for, once when the wait begins; empty when it is over.

    Raises:
        Fenced: see `fence`.
    """
    fence(session, mine).waiting_for = words[:200]


def fence(session: Session, mine: Claim) -> StepRow:
    """Return the step's row, locked, if *mine* is still its newest claim.

    Raises:
        Fenced: a newer claim, a cancellation or a failure came in between.
    """
    step = session.scalar(select(StepRow).where(StepRow.id == mine.step).with_for_update())
    if step is None or step.epoch != mine.epoch or step.state != StepState.RUNNING:
        raise Fenced(f"Step {mine.step} was taken over.")
    return step


def progressed(session: Session, mine: Claim, now: datetime) -> None:
    """Note progress, which forgives earlier crashes, if *mine* is still its step's newest claim: `fence` in one statement.

    Raises:
        Fenced: a newer claim, a cancellation or a failure came in between.
    """
    found = session.execute(_PROGRESSED, {"step": mine.step, "claimed": mine.epoch, "now": now})
    if found.rowcount != 1:  # type: ignore[attr-defined]  # a CursorResult, as of every UPDATE
        raise Fenced(f"Step {mine.step} was taken over.")


def advance(
    session: Session, mine: Claim, to: Next, now: datetime, *, reason: str = "", due: datetime | None = None
) -> list[Bell]:
    """End this visit and go where the decision says, in the decision's own transaction.

    Args:
        session: open transaction that also holds the decision's rows.
        mine: the claim; it must still be the newest.
        to: the next stage, a wait, or the run's end.
        now: time of the decision.
        reason: shown beside an ending.
        due: for a wait, when a timer wakes the step.

    Returns:
        Bells to ring after the commit.
    """
    step, run = fence(session, mine), session.get_one(RunRow, mine.run)
    step.updated_at, step.crashes, step.waiting_for = now, 0, ""
    if isinstance(to, Waiting):
        if step.dirty:  # something arrived while we worked: look again at once
            return [_again(step, run)]
        step.state, step.waiting_for, step.due_at = StepState.WAITING, to.value, due
        return []
    step.state = StepState.DONE
    if isinstance(to, Stage):
        return [add_step(session, run, to, now)]
    end_run(run, to, reason, now)
    return []


def release(session: Session, mine: Claim, now: datetime, *, waiting_for: str, due: datetime | None = None) -> Bell:
    """Give the step back unfinished: a slice is over, the gate is shut, or a server is away. Costs no attempt."""
    step, run = fence(session, mine), session.get_one(RunRow, mine.run)
    bell = _again(step, run)
    step.slices, step.waiting_for, step.due_at, step.updated_at = step.slices + 1, waiting_for[:200], due, now
    return replace(bell, waiting_for=step.waiting_for)


def fail(session: Session, mine: Claim, error: str, now: datetime) -> Bell | None:
    """Record an error of the step's own code: it is tried again until `max_crashes`, then the run fails.

    Returns:
        The bell of the next try, None when the run has failed.
    """
    step, run = fence(session, mine), session.get_one(RunRow, mine.run)
    return _crashed(step, run, mine.rules, error, now)


def bury(session: Session, step_id: int, epoch: int, now: datetime) -> Bell | None:
    """Make a running step, whose process is dead, ready again.

    Returns:
        The bell to ring at once; None when the step moved on meanwhile, has now failed, or is not due yet because it
        died more than once in a row.
    """
    step = session.scalar(
        select(StepRow)
        .where(StepRow.id == step_id, StepRow.epoch == epoch, StepRow.state == StepState.RUNNING)
        .with_for_update()
    )
    if step is None:
        return None
    run, waiting = session.get_one(RunRow, step.run_id), step.waiting_for
    bell = _crashed(step, run, Rules.from_json(run.rules), DIED, now)
    if bell is None:
        return None
    step.waiting_for = waiting  # the process was killed, and what it waited for is as it was
    return replace(bell, waiting_for=waiting) if step.due_at is None else None


def ring_again(session: Session, step_id: int, attempt: int, now: datetime) -> Bell | None:
    """Give a ready step, whose bell was lost, a fresh attempt; None when it is not as it was."""
    step = session.scalar(
        select(StepRow)
        .where(StepRow.id == step_id, StepRow.attempt == attempt, StepRow.state == StepState.READY)
        .with_for_update()
    )
    if step is None:
        return None
    step.updated_at = now
    waiting = step.waiting_for
    bell = _again(step, session.get_one(RunRow, step.run_id))
    step.waiting_for = waiting
    return replace(bell, waiting_for=waiting)


def wake(session: Session, run_id: int, stage: Stage, now: datetime) -> Bell | None:
    """Make the run's waiting step of *stage* ready; a running one is marked dirty, and looks again when it is done."""
    step = session.scalar(
        select(StepRow)
        .where(
            StepRow.run_id == run_id, StepRow.stage == stage, StepRow.state.in_((StepState.WAITING, StepState.RUNNING))
        )
        .with_for_update()
    )
    if step is None:
        return None
    if step.state == StepState.RUNNING:
        step.dirty = True
        return None
    step.updated_at = now
    return _again(step, session.get_one(RunRow, step.run_id))


def due_steps(now: datetime) -> Select[StepRow, RunRow]:
    """Select every step that may be worked on now, or whose process may be dead.

    A step that was written down later than *now* is due too: the clock was put back since, and its timer, which stands
    for some seconds or days from then, would come an hour or a year too late. What is woken too early looks, and sets
    its timer anew.
    """
    return (
        select(StepRow, RunRow)
        .join(RunRow, RunRow.id == StepRow.run_id)
        .where(
            or_(
                (StepRow.state == StepState.READY) & or_(StepRow.due_at.is_(None), _is_due(now)),
                StepRow.state == StepState.RUNNING,
                (StepRow.state == StepState.WAITING) & StepRow.due_at.is_not(None) & _is_due(now),
            )
        )
        .order_by(StepRow.id)
    )


def urgent_ready(session: Session, now: datetime) -> bool:
    """Tell whether a step that needs no model could be worked on, if only somebody made room."""
    found = session.scalar(
        select(StepRow.id)
        .where(
            StepRow.state == StepState.READY,
            StepRow.stage.in_(URGENT),
            # a check whose canary waits for a quiet moment needs a model like any other
            or_(StepRow.stage == Stage.PROMOTE, StepRow.waiting_for == ""),
            or_(StepRow.due_at.is_(None), _is_due(now)),
        )
        .limit(1)
    )
    return found is not None


def _is_due(now: datetime) -> ColumnElement[bool]:
    return or_(StepRow.due_at <= now, StepRow.updated_at > now + SKEW)


def _crashed(step: StepRow, run: RunRow, rules: Rules, error: str, now: datetime) -> Bell | None:
    if _is_poison(step, run, rules, error, now):
        return None
    bell = _again(step, run)
    step.due_at = now + timedelta(seconds=min(60.0, 0.25 * 2 ** (step.crashes - 1))) if step.crashes > 1 else None
    return bell


def _is_poison(step: StepRow, run: RunRow, rules: Rules, error: str, now: datetime) -> bool:
    """Count a crash; one more than allowed without any new reply fails the step and its run."""
    step.crashes, step.error, step.updated_at = step.crashes + 1, error[:2000], now
    if step.crashes <= rules.settings.work.max_crashes:
        return False
    step.state, step.epoch = StepState.FAILED, step.epoch + 1
    end_run(run, Ending.FAILED, f"{step.stage}: {error}"[:2000], now)
    return True


def _again(step: StepRow, run: RunRow) -> Bell:
    step.state, step.attempt, step.dirty, step.waiting_for, step.due_at = (
        StepState.READY,
        step.attempt + 1,
        False,
        "",
        None,
    )
    return bell_of(step, run)


def promoting(session: Session, run: int) -> bool:
    """Tell whether a job is just now putting a prompt into the configuration for *run*."""
    found = session.scalar(
        select(StepRow.id)
        .where(StepRow.run_id == run, StepRow.stage == Stage.PROMOTE, StepRow.state == StepState.RUNNING)
        .limit(1)
    )
    return found is not None
