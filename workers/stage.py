"""The one engine of all stages: read a case, drive the flow, write the decision and the hand-off, ring the next bell."""

# ruff: noqa: PLC0415 - a promotion loads none of the numerics that a search needs
from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Generic, Protocol, TypeVar

from sqlalchemy.orm import Session

from models import ballots, steps
from models.runs import Bell, cancel
from models.steps import Claim, Fenced
from models.work_tables import GateEventRow, RunRow
from pipeline.domain import Next, Stage
from pipeline.errors import Blocked, OtherRelease, Unreachable
from pipeline.flow import Flow, drive
from workers.answer import Answering
from workers.clock import now
from workers.home import Home
from workers.sessions import Database, database
from workers.stepping import RunOver, StepAside, StepFailed
from workers.trouble import of_file, patiently

log = logging.getLogger("evolution.stage")


class Decision(Protocol):
    """What every stage's decision says about where to go."""

    @property
    def next(self) -> Next:
        """The next stage, a wait, or the end."""

    @property
    def reason(self) -> str:
        """Why, in words of ours."""

    @property
    def due(self) -> datetime | None:
        """When a timer wakes a wait."""


CaseT = TypeVar("CaseT")
DecisionT = TypeVar("DecisionT", bound=Decision)


@dataclass(frozen=True, slots=True)
class Wired(Generic[CaseT, DecisionT]):
    """The three pieces of one stage; the type variables refuse a piece of another stage."""

    load: Callable[[Session, Claim, datetime], CaseT]
    decide: Callable[[CaseT], Flow[DecisionT]]
    save: Callable[[Session, Claim, DecisionT, datetime], None]

    def run(self, opened: Database, mine: Claim, answering: Answering) -> list[Bell]:
        """Do the stage's work under the claim and hand off in the decision's transaction."""
        with opened.read() as session:
            case = self.load(session, mine, now())
        decision = drive(self.decide(case), answering)

        def write() -> list[Bell]:
            at = now()
            with opened.write() as session:
                steps.fence(session, mine)
                self.save(session, mine, decision, at)
                return steps.advance(session, mine, decision.next, at, reason=decision.reason, due=decision.due)

        return patiently(write)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a job did, in words of ours, and the bells to ring now that the lock is free."""

    words: str
    bells: tuple[Bell, ...] = ()


def work(home: Home, stage: Stage, step_id: int, attempt: int, *, waited: bool = False) -> Outcome:
    """Work on one step; the caller holds the kernel lock.

    A database that cannot be used now, or is of another release, is no failure: the step stays as it is, and
    reconciliation rings it again.

    Args:
        home: where things are.
        stage: the stage that the job was enqueued for.
        step_id: the step.
        attempt: another attempt than the step's makes this a stale duplicate, which does nothing.
        waited: the job has already waited for the gate; it does not wait a second time.
    """
    try:
        return _work(home, stage, step_id, attempt, waited=waited)
    except OtherRelease as other:
        log.warning("stage.refused step=%s %s", step_id, other)
        return Outcome("not done: the database is of another release of this program")
    except Unreachable as trouble:
        log.warning("stage.waiting step=%s %s", step_id, trouble)
        return Outcome("waiting: the database cannot be used")


def _work(home: Home, stage: Stage, step_id: int, attempt: int, *, waited: bool) -> Outcome:
    with database(home) as opened:
        with opened.write() as session:
            mine = steps.claim(session, step_id, attempt, now(), waits=waited)
        if mine is None or mine.stage is not stage:
            return Outcome("stale: nothing to do")
        with Answering(home, opened, mine, waited=waited) as answering:
            try:
                bells = _run(opened, mine, answering)
            except StepAside as aside:
                return _stepped_aside(opened, mine, aside)
            except Fenced:
                return Outcome("taken over by a newer attempt")
            except (RunOver, Unreachable, Blocked) as trouble:
                return (
                    _over(opened, mine, trouble)
                    if isinstance(trouble, RunOver)
                    else _unreachable(opened, mine, trouble)
                )
            except Exception as error:  # noqa: BLE001 - the job is the outermost place; whatever it is, the row says so
                passing = of_file(error) if isinstance(error, OSError) else None
                if passing is not None:
                    return _unreachable(opened, mine, passing)
                _failed(opened, mine, error)
                # RQ keeps the traceback in Redis, and the message may hold people's texts: those stay in the step's row.
                raise StepFailed(f"run {mine.run}: {mine.stage} failed with {type(error).__name__}") from None
        return Outcome(f"done: {mine.stage} visit {mine.visit}", tuple(bells))


def _run(opened: Database, mine: Claim, answering: Answering) -> list[Bell]:
    """Dispatch to the stage: spelled out so that the type checker sees each wiring, imported one by one for speed."""
    match mine.stage:
        case Stage.DETECT:
            from models.stages.detect import load_detect, save_detect
            from pipeline.detect import detect

            return Wired(load_detect, detect, save_detect).run(opened, mine, answering)
        case Stage.MUTATE:
            from models.stages.mutate import load_mutate, save_mutate
            from pipeline.mutate import mutate
            from pipeline.search import MutateCase, MutateDecision

            def counting(case: MutateCase) -> Flow[MutateDecision]:
                return mutate(replace(case, exact=answering.count))

            return Wired(load_mutate, counting, save_mutate).run(opened, mine, answering)
        case Stage.JUDGE:
            from models.stages.judge import load_judge, save_judge
            from pipeline.judge import judge

            return Wired(load_judge, judge, save_judge).run(opened, mine, answering)
        case Stage.DEDUPE:
            from models.stages.dedupe import load_dedupe, save_dedupe
            from pipeline.dedupe import dedupe

            return Wired(load_dedupe, dedupe, save_dedupe).run(opened, mine, answering)
        case Stage.BANDIT:
            from models.stages.bandit import load_bandit, save_bandit
            from pipeline.bandit import bandit

            return Wired(load_bandit, bandit, save_bandit).run(opened, mine, answering)
        case Stage.PROMOTE:
            from models.stages.promote import load_promote, save_promote
            from pipeline.promote import promote

            return Wired(load_promote, promote, save_promote).run(opened, mine, answering)


def _stepped_aside(opened: Database, mine: Claim, aside: StepAside) -> Outcome:
    """Give the step back: the slice is over, the user works, or something urgent waits."""

    def write() -> Outcome:
        with opened.write() as session:
            at = now()
            if aside.waited_s or aside.preempted:
                session.add(
                    GateEventRow(
                        run_id=mine.run, step_id=mine.step, reason=aside.reason, detail=aside.detail, at=at,
                        waited_s=aside.waited_s, preempted=aside.preempted,
                    )
                )  # fmt: skip
            due = at + timedelta(seconds=aside.again_s) if aside.again_s else None
            bell = steps.release(session, mine, at, waiting_for=aside.detail, due=due)
        return Outcome(f"made room: {aside.reason}", () if due else (bell,))

    with suppress(Fenced):
        return patiently(write)
    return Outcome("taken over by a newer attempt")


def _over(opened: Database, mine: Claim, over: RunOver) -> Outcome:
    """End the run where it stands, with its ballots: trying again would find the same."""

    def write() -> None:
        with opened.write() as session:
            steps.fence(session, mine)
            ballots.close_ballots(session, mine.run, now())
            cancel(session, session.get_one(RunRow, mine.run), str(over), now())

    with suppress(Fenced):
        patiently(write)
        return Outcome("ended: the configuration names another scorer")
    return Outcome("taken over by a newer attempt")


def _unreachable(opened: Database, mine: Claim, trouble: Unreachable | Blocked) -> Outcome:
    """Wait for a server, a model or a file that cannot be used now; this is no failure of the step."""
    words = f"{trouble.what} {trouble.hint}".strip()

    def write() -> None:
        with opened.write() as session:
            due = now() + timedelta(seconds=mine.rules.settings.work.unreachable_retry_s)
            steps.release(session, mine, now(), waiting_for=words, due=due)

    with suppress(Fenced):
        patiently(write)
    return Outcome("waiting: a server, a model or a file cannot be used")


def _failed(opened: Database, mine: Claim, error: Exception) -> None:
    def write() -> None:
        with opened.write() as session:
            steps.fail(session, mine, f"{type(error).__name__}: {error}", now())

    with suppress(Fenced):
        patiently(write)
