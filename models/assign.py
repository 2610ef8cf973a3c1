"""Which prompt a host should use for a task: the one in use, or during a test one drawn by Thompson sampling."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import feedback, prompts
from models.base import insert_first
from models.tables import AssignmentRow, PromptVersionRow, VariantRow
from models.tallies import tally
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline.algorithms.streams import stream
from pipeline.decision import INCUMBENT, LIVE
from pipeline.domain import RunKind, Stage, StepState
from pipeline.errors import NotFound
from pipeline.live import draw_arm
from pipeline.policies import decide
from pipeline.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Assigned:
    """The prompt to use for one task.

    Attributes:
        text: the whole template.
        arm: `current` or the variant's name.
        ballot: the task was drawn to become a ballot; the host sends its input by `feedback`.
        audit: the task was drawn for the audit; the host should ask whether the answer was right, whatever it is.
    """

    skill: str
    task_id: str
    text: str
    version: int
    arm: str
    variant: int | None
    ballot: bool
    audit: bool


def assign(session: Session, rules: Rules, text: str, task_id: str, now: datetime) -> Assigned:
    """Choose a prompt for *task_id* and remember the choice; asking again gives the same answer.

    It is the prompt in use, except while a test in the live mode is open: then Thompson sampling draws it, so that a bad
    challenger soon meets hardly any task, and a dropped one meets none.
    """
    skill = rules.skill.name
    known = session.get(AssignmentRow, (skill, task_id))
    in_use = prompts.active(session, skill)
    if in_use is None or (in_use.version, in_use.sha) != (rules.skill.version, prompts.text_sha(text)):
        in_use = prompts.note_version(session, rules.skill, text, now)
    if known is None:
        known = _drawn(session, rules, in_use, task_id, now)
        if not insert_first(session, known):  # another process was asked for the same task at the same time
            known = session.get_one(AssignmentRow, (skill, task_id))
    return _assigned(session, rules, known, in_use)


def outcome(session: Session, skill: str, task_id: str) -> AssignmentRow:
    """Return the assignment that an outcome belongs to.

    Raises:
        NotFound: nothing was assigned for the task.
    """
    row = session.get(AssignmentRow, (skill, task_id))
    if row is None:
        raise NotFound(
            f"No prompt was assigned for task {task_id!r} of {skill}.", hint=f"evoctl assign {skill} --task-id ID"
        )
    return row


def _drawn(session: Session, rules: Rules, in_use: PromptVersionRow, task_id: str, now: datetime) -> AssignmentRow:
    run = _open_test(session, rules.skill.name)
    variant: int | None = None
    if run is not None and run.version == in_use.version:
        variant = _live_arm(session, run, task_id, now)
    return AssignmentRow(
        skill_name=rules.skill.name, task_id=task_id, run_id=run.id if run else None, variant_id=variant,
        version=in_use.version, ballot=_on_ballots(run) and feedback.ballot_drawn(rules, task_id), created_at=now,
    )  # fmt: skip


def _on_ballots(run: RunRow | None) -> bool:
    """Tell whether an open test is decided by ballots."""
    return run is not None and Rules.from_json(run.rules).settings.voting.mode != LIVE


def _live_arm(session: Session, run: RunRow, task_id: str, now: datetime) -> int | None:
    """Draw the prompt of one task in the live mode; None is the prompt in use."""
    frozen = Rules.from_json(run.rules)
    evolution = session.get_one(EvolutionRow, run.id)
    if frozen.settings.voting.mode != LIVE or evolution.voting_since is None:
        return None
    counted = tally(session, run.id, now)
    given = _given(session, run.id, evolution.voting_since)
    rng = stream(run.seed, "assign", task_id)
    arm = draw_arm(counted, decide(frozen, counted, now).dropped, given, rng)
    return None if arm == INCUMBENT else int(arm)


def _given(session: Session, run: int, since: datetime) -> dict[int, int]:
    """Count the tasks that each prompt of a test was given, answered or not."""
    rows = session.execute(
        select(AssignmentRow.variant_id, func.count())
        .where(AssignmentRow.run_id == run, AssignmentRow.created_at >= since)
        .group_by(AssignmentRow.variant_id)
    )
    return {variant or INCUMBENT: count for variant, count in rows}


def _open_test(session: Session, skill: str) -> RunRow | None:
    return session.scalar(
        select(RunRow)
        .join(StepRow, StepRow.run_id == RunRow.id)
        .where(
            RunRow.skill_name == skill,
            RunRow.kind == RunKind.EVOLUTION,
            RunRow.ended_at.is_(None),
            StepRow.stage == Stage.BANDIT,
            StepRow.state != StepState.DONE,
        )
        .limit(1)
    )


def _assigned(session: Session, rules: Rules, row: AssignmentRow, in_use: PromptVersionRow) -> Assigned:
    text, arm = in_use.text, "current"
    if row.version != in_use.version:
        text = prompts.version(session, row.skill_name, row.version).text
    if row.variant_id is not None:
        variant = session.get_one(VariantRow, row.variant_id)
        template = prompts.template_of(session, row.skill_name, row.version)
        text, arm = template.with_instruction(variant.prompt_text).text, variant.name
    return Assigned(
        skill=row.skill_name, task_id=row.task_id, text=text, version=row.version, arm=arm, variant=row.variant_id,
        ballot=row.ballot, audit=feedback.audit_drawn(rules, row.task_id),
    )  # fmt: skip
