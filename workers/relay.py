"""Ringing what the step table says: after a job, from a command, and in `evoctl tick`."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy.orm import Session

from models import journal, steps
from models.runs import Bell, bell_of
from models.work_tables import RunRow, StepRow
from pipeline.domain import Stage, StepState
from pipeline.gate import SEARCH, Wish, is_asked, wish_of
from pipeline.rules import Rules
from pipeline.setting import to_data
from workers.clock import now
from workers.home import Home
from workers.llm.gate import is_night
from workers.lock import LOCK, WAITING, held
from workers.queues import Bells, BellState, Ring
from workers.sessions import Database, database


@dataclass(frozen=True, slots=True)
class _Open:
    """A step that may want a bell, as it was read."""

    bell: Bell
    state: StepState
    epoch: int
    rules: Rules
    wish: Wish  # what the step's next request wants of the gate


@dataclass(slots=True)
class Seen:
    """Since when a bell has looked dead, on the monotonic clock; kept between reconciliations."""

    since: dict[str, float] = field(default_factory=dict)

    def for_s(self, job_id: str) -> float:
        """Return for how many seconds *job_id* has looked dead."""
        since = self.since.setdefault(job_id, time.monotonic())
        return time.monotonic() - since


def relay(home: Home, bells: Bells, wanted: Iterable[Bell]) -> None:
    """Ring *wanted* and every ready step that Redis knows nothing of.

    Raises:
        Unreachable: Redis does not answer.
    """
    with database(home, check=False) as opened:
        reconcile(home, opened, bells, Seen(), first=tuple(wanted), repair=False)


def reconcile(
    home: Home, opened: Database, bells: Bells, seen: Seen, *, first: tuple[Bell, ...] = (), repair: bool = True
) -> int:
    """Make Redis agree with the step table. Rings lost bells, revives dead steps, wakes timers.

    Args:
        home: where the kernel lock lies.
        opened: the database.
        bells: the doorbell.
        seen: since when bells have looked dead; a fresh one never finds any dead.
        first: bells to ring before all others.
        repair: also treat dead jobs; needs a lasting *seen*.

    Returns:
        How many bells were rung.

    Raises:
        Unreachable: Redis does not answer; steps whose process died are ready again all the same.
    """
    found = _open_steps(opened)
    free = repair and not held(home.locks / LOCK)
    waiting = free and held(home.locks / WAITING)
    ringing = list(first)
    if repair:
        ringing += _buried(opened, [one for one in found if one.state is StepState.RUNNING], free=free)
        ringing += _woken(opened, [one for one in found if one.state is StepState.WAITING])
    ready = [one for one in found if one.state is StepState.READY and one.bell not in first]
    states = bells.states([one.bell.job_id for one in ready]) if ready else {}
    for one in ready:
        bell = _ready_bell(opened, one, states[one.bell.job_id], seen, free=free, waiting=waiting)
        if bell is not None:
            ringing.append(bell)
    known = {one.bell.run: one for one in found}
    bells.ring(_ring_of(bell, known.get(bell.run)) for bell in ringing)
    return len(ringing)


def _open_steps(opened: Database) -> list[_Open]:
    with opened.read() as session:
        rows: list[tuple[StepRow, RunRow]] = [(step, run) for step, run in session.execute(steps.due_steps(now()))]
        return [
            _Open(bell_of(step, run), StepState(step.state), step.epoch, rules, _wish(session, step, run, rules))
            for step, run in rows
            for rules in (Rules.from_json(run.rules),)
        ]


def _wish(session: Session, step: StepRow, run: RunRow, rules: Rules) -> Wish:
    """Return what `LiveModels` will ask of the gate; a step that does not wait wants nothing of it yet."""
    if not step.waiting_for:
        return Wish()
    gate = rules.settings.gate
    return wish_of(
        gate,
        begun=bool(journal.spent(session, run.id).calls),
        asked=is_asked(run.trigger, Stage(step.stage)),
        search=Stage(step.stage) in SEARCH,
        night=is_night(gate),
    )


def _buried(opened: Database, running: list[_Open], *, free: bool) -> list[Bell]:
    """A running step whose lock is free is dead at once: the kernel let the lock go with the process."""
    if not free:
        return []
    bells: list[Bell] = []
    for one in running:
        with opened.write() as session:
            bell = steps.bury(session, one.bell.step, one.epoch, now())
        if bell is not None:
            bells.append(bell)
    return bells


def _woken(opened: Database, waiting: list[_Open]) -> list[Bell]:
    bells: list[Bell] = []
    for one in waiting:
        with opened.write() as session:
            bell = steps.wake(session, one.bell.run, one.bell.stage, now())
        if bell is not None:
            bells.append(bell)
    return bells


def _ready_bell(
    opened: Database, one: _Open, state: BellState, seen: Seen, *, free: bool, waiting: bool
) -> Bell | None:
    """Return the bell to ring for a ready step: its own when Redis knows none, a fresh one when the old one is dead."""
    if state is BellState.MISSING:
        seen.since.pop(one.bell.job_id, None)
        return one.bell
    # While another job holds the lock, a job that ended only made room; a taken one may still be starting up.
    alive = state is BellState.QUEUED or not free or (state is BellState.TAKEN and waiting)
    patience_s = one.rules.settings.work.ring_grace_s if state is BellState.TAKEN else 0.0
    if alive or seen.for_s(one.bell.job_id) < patience_s:
        if alive:
            seen.since.pop(one.bell.job_id, None)
        return None
    seen.since.pop(one.bell.job_id, None)
    with opened.write() as session:
        return steps.ring_again(session, one.bell.step, one.bell.attempt, now())


def _ring_of(bell: Bell, known: _Open | None) -> Ring:
    meta: dict[str, Any] = {"skill": bell.skill}
    if bell.waiting_for and known is not None and bell.stage is not Stage.PROMOTE:
        settings = known.rules.settings
        meta["waiting_for"] = "a quiet moment"  # our word: a server's own must not reach Redis
        meta["hold"] = {
            "settings": to_data(settings.gate),
            "wish": to_data(known.wish),
            "own": known.rules.own_tags,
            "tag": settings.foreground.model,
        }
    return Ring(
        stage=bell.stage,
        step=bell.step,
        attempt=bell.attempt,
        job_id=bell.job_id,
        front=bell.front,
        words=f"{bell.skill}: {bell.stage}, run {bell.run}, visit {bell.visit}, attempt {bell.attempt}",
        meta=meta,
    )
