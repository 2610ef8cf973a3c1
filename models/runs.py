"""Runs: how they begin, become evolutions and end, and the bell that is rung for a step.

Every function works inside the caller's transaction, and none of them commits.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models.base import insert_first
from models.tables import SkillRow
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline.domain import Ending, RunId, RunKind, SkillName, Stage, StepId, StepState
from pipeline.rules import Rules

URGENT = (
    Stage.DETECT,
    Stage.PROMOTE,
)  # decide without a model, so nothing may hold them up; a canary waits like others
FRONT = (*URGENT, Stage.BANDIT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bell:
    """What is rung in Redis for a step that may be worked on: ids and words of ours only."""

    step: StepId
    run: RunId
    skill: SkillName
    stage: Stage
    visit: int
    attempt: int
    waiting_for: str = ""

    @property
    def job_id(self) -> str:
        """Name the RQ job; a new attempt is a new name, so a finished job never blocks it."""
        return f"r{self.run}-{self.stage}-{self.visit}-a{self.attempt}"

    @property
    def front(self) -> bool:
        """Whether the job goes to the head of the queue: decisions do, and ballots unless they have just made room."""
        return self.stage is Stage.PROMOTE or (self.stage in FRONT and not self.waiting_for)


def start_run(
    session: Session,
    *,
    rules: Rules,
    kind: RunKind,
    trigger: str,
    stage: Stage,
    version: int,
    seed: int,
    now: datetime,
    forced: bool = False,
    reason: str = "",
    target_variant: int | None = None,
    target_version: int | None = None,
) -> Bell:
    """Create a run and its first step, ready."""
    skill = ensure_skill(session, rules.skill.name, now)
    run = RunRow(
        skill_name=skill, kind=kind, trigger=trigger, forced=forced, reason=reason, seed=seed,
        rules=rules.to_json(), version=version, created_at=now,
        target_variant_id=target_variant, target_version=target_version,
    )  # fmt: skip
    session.add(run)
    session.flush()
    return add_step(session, run, stage, now)


def ensure_skill(session: Session, name: str, now: datetime) -> SkillName:
    """Return the skill's name after making sure that its row exists."""
    if session.get(SkillRow, name) is None:
        insert_first(session, SkillRow(name=name, created_at=now))
    return SkillName(name)


def add_step(session: Session, run: RunRow, stage: Stage, now: datetime) -> Bell:
    """Make the next visit of *run* to *stage* ready: this insert is the hand-off."""
    last = session.scalar(select(func.max(StepRow.visit)).where(StepRow.run_id == run.id, StepRow.stage == stage))
    step = StepRow(
        run_id=run.id, stage=stage, visit=(last or 0) + 1, state=StepState.READY, created_at=now, updated_at=now
    )
    session.add(step)
    session.flush()
    return bell_of(step, run)


def bell_of(step: StepRow, run: RunRow) -> Bell:
    """Return the bell of a step."""
    return Bell(
        step=StepId(step.id),
        run=RunId(run.id),
        skill=SkillName(run.skill_name),
        stage=Stage(step.stage),
        visit=step.visit,
        attempt=step.attempt,
        waiting_for=step.waiting_for,
    )


def cancel(session: Session, run: RunRow, reason: str, now: datetime) -> None:
    """Stop *run*: its steps are fenced off, whoever works on them."""
    with session.no_autoflush:  # everybody locks a run's steps before its ballots
        session.execute(
            update(StepRow)
            .where(StepRow.run_id == run.id, StepRow.state.in_((StepState.READY, StepState.RUNNING, StepState.WAITING)))
            .values(state=StepState.FAILED, epoch=StepRow.epoch + 1, error=reason, updated_at=now)
        )
    end_run(run, Ending.CANCELLED, reason, now)


def become_evolution(session: Session, run: RunRow, now: datetime, accuracy: float | None, horizon: int) -> None:
    """Turn a drift check that found drift into an evolution.

    Raises:
        sqlalchemy.exc.IntegrityError: at flush, when another evolution of the skill is open.
    """
    run.kind, run.horizon = RunKind.EVOLUTION, horizon
    session.add(EvolutionRow(run_id=run.id, started_at=now, accuracy_before=accuracy))
    session.flush()


def end_run(run: RunRow, ending: Ending, reason: str, now: datetime) -> None:
    """Close *run*."""
    run.ended_at, run.ending, run.ending_reason = now, ending, reason
