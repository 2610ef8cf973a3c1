"""Read-only questions of the command line and the page: what runs, how the skills are, what was changed.

Every function works inside the caller's transaction and writes nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session, aliased

from models import ballot_inputs, ballots, costs, monitors, steps
from models.report_values import (
    Accuracy,
    PromotionLine,
    QueueItem,
    RunLine,
    SampleLine,
    SkillStatus,
    Status,
    VersionLine,
)
from models.samples import audit_open, judged
from models.tables import PromotionRow, PromptVersionRow, SampleRow, SkillRow
from models.tallies import tally
from models.work_tables import CancelledCallRow, EvolutionRow, ModelCallRow, RunRow, StepRow
from pipeline.algorithms.beta import wilson
from pipeline.decision import cap
from pipeline.domain import Ending, Label, LabelSource, RunKind, Stage, StepState
from pipeline.monitor import describe
from pipeline.rules import Rules


def status(session: Session, skills: Sequence[Rules], *, alive: bool = True) -> Status:
    """Return how every skill of *skills* is, and every step that is not done; *alive*: see `queue`."""
    found = tuple(skill_status(session, rules, alive=alive) for rules in skills)
    return Status(
        skills=found,
        queue=queue(session, alive=alive),
        simulated=any(line.simulated for one in found for line in one.open),
    )


def skill_status(session: Session, rules: Rules, *, alive: bool = True) -> SkillStatus:
    """Return how one skill is."""
    name = rules.skill.name
    row = session.get(SkillRow, name)
    open_runs = session.scalars(
        select(RunRow).where(RunRow.skill_name == name, RunRow.ended_at.is_(None)).order_by(RunRow.id)
    )
    return SkillStatus(
        skill=name,
        version=rules.skill.version,
        task_model=rules.skill.task_model,
        scorer=rules.skill.scorer,
        accuracy=window(session, rules, rules.skill.version, rules.settings.triggers.sample_size),
        threshold=rules.settings.triggers.accuracy_threshold,
        samples=session.scalar(select(func.count()).where(SampleRow.skill_name == name)) or 0,
        checked_at=row.checked_at if row else None,
        finding=row.check_reason if row else "",
        watch=_watch(session, rules),
        open=tuple(run_line(session, one, alive=alive) for one in open_runs),
        failed=_failed(session, name),
    )


def _failed(session: Session, skill: str) -> RunLine | None:
    """Return the failed run that a person should look at."""
    later = aliased(RunRow)
    otherwise = select(later.id).where(
        later.skill_name == skill, later.kind == RunRow.kind, later.id > RunRow.id, later.ended_at.is_not(None),
        later.ending.not_in((Ending.FAILED, Ending.CANCELLED)),
    )  # fmt: skip
    row = session.scalar(
        select(RunRow)
        .where(RunRow.skill_name == skill, RunRow.ending == Ending.FAILED, ~otherwise.exists())
        .order_by(RunRow.id.desc())
        .limit(1)
    )
    return run_line(session, row) if row is not None else None


def _watch(session: Session, rules: Rules) -> str:
    """Say where the label stream of the version in use stands; ADWIN's slow evidence stands behind."""
    monitor = monitors.current(session, rules)
    held, back = monitors.held_back(session, rules), monitors.came_back(session, rules)
    late = (
        f"; {held.labels} label{'s' * (held.labels > 1)} wait for older tasks without a verdict, until {held.until:%Y-%m-%d %H:%M} UTC at most"
        if held
        else ""
    )
    if back is not None and (monitor is None or not monitor.labels):
        return (
            f"none yet of the labels since v{rules.skill.version} came back into use on {back:%Y-%m-%d %H:%M} UTC{late}"
        )
    if monitor is None:
        return f"no labels of this version yet{late}"
    drifts = monitor.adwin_drifts
    slow = f"; ADWIN saw {drifts} change{'s' * (drifts > 1)}, the last at label {monitor.adwin_last}" if drifts else ""
    return f"{describe(monitor)}{slow}{late}"


def window(session: Session, rules: Rules, version: int, size: int | None) -> Accuracy:
    """Return the accuracy of a version's newest *size* judged samples, or of all, as the drift check sees them."""
    return accuracy(judged(session, rules, version, size))


def accuracy(verdicts: Iterable[tuple[bool, str | None]]) -> Accuracy:
    """Sum up samples given as (right, who judged)."""
    right, by = 0, dict.fromkeys(LabelSource, 0)
    for ok, source in verdicts:
        right += ok
        by[LabelSource(source or LabelSource.IMPLICIT)] += 1
    n = sum(by.values())
    low, high = wilson(right, n)
    return Accuracy(
        right=right, n=n, value=right / n if n else None, low=low, high=high, person=by[LabelSource.PERSON],
        scorer=by[LabelSource.SCORER], implicit=by[LabelSource.IMPLICIT],
    )  # fmt: skip


def queue(session: Session, *, alive: bool = True) -> tuple[QueueItem, ...]:
    """Return the steps that are ready, running or waiting, oldest first.

    Args:
        session: an open transaction.
        alive: some job holds the kernel lock; without one no step runs, whatever its row says.
    """
    live = (StepState.READY, StepState.RUNNING, StepState.WAITING)
    rows = session.execute(
        select(StepRow, RunRow.skill_name)
        .join(RunRow, RunRow.id == StepRow.run_id)
        .where(StepRow.state.in_(live))
        .order_by(StepRow.id)
    )
    return tuple(
        QueueItem(
            run=step.run_id, skill=skill, stage=step.stage, visit=step.visit, attempt=step.attempt,
            state=_state(step, alive=alive), waiting_for=_waiting_for(step), waiting_since=_waiting_since(session, step), due_at=step.due_at,
            crashes=step.crashes, error=step.error,
        )
        for step, skill in rows
    )  # fmt: skip


def _waiting_for(step: StepRow) -> str:
    """Return what a step waits for; one that only made room for another waits for nothing."""
    return "" if step.waiting_for in steps.MADE_ROOM else step.waiting_for


def _state(step: StepRow, *, alive: bool) -> str:
    """Return a step's state for people: who waits for a quiet moment does not run, and neither does a dead process."""
    if step.state in (StepState.READY, StepState.RUNNING) and _waiting_for(step):
        return StepState.WAITING
    return StepState.READY if step.state == StepState.RUNNING and not alive else step.state


def _waiting_since(session: Session, step: StepRow) -> datetime | None:
    """Return when a step that waits last got anywhere: its last reply, its last cut-off call, or its beginning."""
    if not _waiting_for(step):
        return None
    if step.state == StepState.WAITING:
        return step.updated_at
    moments = [step.created_at]
    for row in (ModelCallRow, CancelledCallRow):
        last = session.scalar(
            select(func.max(row.at)).where(row.run_id == step.run_id, row.stage == step.stage, row.visit == step.visit)
        )
        moments += [last] if last is not None else []
    return max(moments)


def runs(session: Session, *, skill: str | None = None, limit: int = 20, alive: bool = True) -> tuple[RunLine, ...]:
    """Return the newest runs, newest first; *alive*: see `queue`."""
    query = select(RunRow).order_by(RunRow.id.desc()).limit(limit)
    if skill is not None:
        query = query.where(RunRow.skill_name == skill)
    return tuple(run_line(session, row, alive=alive) for row in session.scalars(query).all())


def run_line(session: Session, row: RunRow, *, alive: bool = True) -> RunLine:
    """Return one run as a list shows it; *alive*: see `queue`."""
    rules = Rules.from_json(row.rules)
    step = session.scalar(select(StepRow).where(StepRow.run_id == row.id).order_by(StepRow.id.desc()).limit(1))
    evolution = session.get(EvolutionRow, row.id) if row.kind == RunKind.EVOLUTION else None
    searching = evolution is not None and evolution.best_fitness is not None
    voting = evolution is not None and (step is not None and step.stage in (Stage.BANDIT, Stage.PROMOTE))
    breeding = evolution is not None and step is not None and step.stage == Stage.MUTATE and row.ended_at is None
    return RunLine(
        run=row.id, skill=row.skill_name, kind=row.kind, trigger=row.trigger, reason=row.reason,
        stage=step.stage if step else "", state=_state(step, alive=alive) if step else "",
        waiting_for=_waiting_for(step) if step else "", waiting_since=_waiting_since(session, step) if step else None,
        due_at=step.due_at if step else None,
        generation=evolution.generation if evolution else None,
        generations=rules.settings.search.generations if evolution else None,
        best_fitness=evolution.best_fitness if evolution and searching else None,
        votes=tally(session, row.id).votes if voting else None,
        cap=cap(rules) if voting else None,
        open_ballots=ballots.open_ballots(session, row.id) if voting else 0,
        ending=row.ending, ending_reason=row.ending_reason, simulated=row.simulated, created_at=row.created_at,
        ended_at=row.ended_at, progress=costs.progress(session, row, rules) if breeding else None,
        equal=ballots.count(session, row.id, "equal") if voting else 0,
        balloted=ballots.count(session, row.id) if voting else 0,
        starved=ballot_inputs.starved(session, row) if voting and step and step.stage == Stage.BANDIT else "",
    )  # fmt: skip


def versions(session: Session, rules: Rules) -> tuple[VersionLine, ...]:
    """Return every prompt version of a skill, newest first, with the accuracy of all its judged samples."""
    rows = session.scalars(
        select(PromptVersionRow)
        .where(PromptVersionRow.skill_name == rules.skill.name)
        .order_by(PromptVersionRow.version.desc())
    ).all()
    return tuple(
        VersionLine(
            version=row.version, active=row.active, template=row.template, variant=row.variant_id,
            created_at=row.created_at, activated_at=row.activated_at,
            accuracy=window(session, rules, row.version, None), text=row.text,
        )
        for row in rows
    )  # fmt: skip


def promotions(session: Session, *, skill: str | None = None, run: int | None = None) -> tuple[PromotionLine, ...]:
    """Return what the configuration was made to point at, of a skill, of a run or of all, newest first."""
    query = select(PromotionRow, RunRow.simulated).join(RunRow, RunRow.id == PromotionRow.run_id)
    if skill is not None:
        query = query.where(PromotionRow.skill_name == skill)
    if run is not None:
        query = query.where(PromotionRow.run_id == run)
    return tuple(
        PromotionLine(
            run=row.run_id, skill=row.skill_name, kind=row.kind, from_version=row.from_version,
            to_version=row.to_version, state=row.state, e_value=row.e_value, votes=row.votes,
            accuracy_before=row.accuracy_before, accuracy_after=row.accuracy_after, reason=row.reason,
            actor=row.actor, evidence=json.loads(row.evidence) if row.evidence else {}, simulated=simulated, created_at=row.created_at, applied_at=row.applied_at,
        )
        for row, simulated in session.execute(query.order_by(PromotionRow.id.desc()))
    )  # fmt: skip


def samples(session: Session, skill: str, *, limit: int = 20, only: Label | None = None) -> tuple[SampleLine, ...]:
    """Return the newest samples of *skill*, judged or not, newest first."""
    query = select(SampleRow).where(SampleRow.skill_name == skill).order_by(SampleRow.id.desc()).limit(limit)
    if only is not None:
        query = query.where(SampleRow.label == only)
    return tuple(_sample_line(row) for row in session.scalars(query))


def audit_tasks(session: Session, skill: str, now: datetime, *, limit: int) -> tuple[SampleLine, ...]:
    """Return tasks that were drawn for the audit and that nobody has judged, newest first."""
    return tuple(_sample_line(row) for row in audit_open(session, skill, now, limit))


def _sample_line(row: SampleRow) -> SampleLine:
    return SampleLine(
        sample=row.id, task_id=row.task_id, input=json.loads(row.fields), output=row.output, expected=row.expected,
        label=row.label, source=row.label_source, lost=row.lost, version=row.version, split=row.split,
        batch=row.batch, judged_at=row.judged_at,
    )  # fmt: skip


def known_tasks(session: Session, skill: str, task_ids: Sequence[str]) -> frozenset[str]:
    """Return those of *task_ids* that the history has."""
    known: set[str] = set()
    for start in range(0, len(task_ids), 500):
        part = task_ids[start : start + 500]
        known.update(
            session.scalars(select(SampleRow.task_id).where(SampleRow.skill_name == skill, SampleRow.task_id.in_(part)))
        )
    return frozenset(known)
