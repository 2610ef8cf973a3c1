"""Load and save for stage 1, detect."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import prompts, samples
from models.runs import become_evolution
from models.steps import Claim
from models.tables import PromptVersionRow, SkillRow
from models.work_tables import RunRow
from pipeline.detect import DetectCase, DetectDecision, Judged, SincePromotion
from pipeline.domain import RunKind, Stage
from pipeline.rules import Rules


def load_detect(session: Session, mine: Claim, now: datetime) -> DetectCase:
    """Read the judged window of the version in use."""
    run = session.get_one(RunRow, mine.run)
    return detect_case(session, mine.rules, now, forced=run.forced, run=mine.run)


def detect_case(
    session: Session, rules: Rules, now: datetime, *, forced: bool = False, run: int | None = None
) -> DetectCase:
    """Build the case of a drift check, for a run or to see whether one is worth starting."""
    skill = rules.skill.name
    in_use = prompts.active(session, skill)
    evolutions = select(RunRow).where(
        RunRow.skill_name == skill, RunRow.kind == RunKind.EVOLUTION, RunRow.id != (run or 0)
    )
    last = session.scalar(evolutions.order_by(RunRow.created_at.desc()).limit(1))
    return DetectCase(
        rules=rules,
        now=now,
        window=_window(session, rules, in_use, rules.settings.triggers.sample_size),
        last_evolution=last.created_at if last else None,
        evolving=session.scalar(evolutions.where(RunRow.ended_at.is_(None)).limit(1)) is not None,
        usable=samples.usable(session, skill),
        known=samples.known(session, skill),
        since_promotion=_since_promotion(session, rules, in_use),
        forced=forced,
    )


def save_detect(session: Session, mine: Claim, decision: DetectDecision, now: datetime) -> None:
    """Remember the finding; drift turns the check into an evolution, a disappointment into a rollback."""
    run = session.get_one(RunRow, mine.run)
    row = session.get_one(SkillRow, mine.skill)
    row.checked_at, row.check_reason, run.reason = now, decision.reason, decision.reason
    if decision.next is Stage.MUTATE:
        become_evolution(session, run, now, decision.accuracy, samples.horizon(session, mine.skill))
    elif decision.next is Stage.PROMOTE:
        run.kind = RunKind.ROLLBACK


def _window(
    session: Session, rules: Rules, in_use: PromptVersionRow | None, size: int, *, since: datetime | None = None
) -> tuple[Judged, ...]:
    if in_use is None:
        return ()
    found = samples.judged(session, rules, in_use.version, size, since=since)
    return tuple(Judged(ok=ok, source=source) for ok, source in found)


def _since_promotion(session: Session, rules: Rules, in_use: PromptVersionRow | None) -> SincePromotion | None:
    if in_use is None:
        return None
    before = prompts.previous(session, rules.skill.name, in_use.version)
    if before is None:
        return None
    window = _window(
        session, rules, in_use, 10_000, since=in_use.activated_at
    )  # an earlier spell in use is another story
    ok = sum(sample.ok for sample in window)
    return SincePromotion(back_to=before.version, ok=ok, bad=len(window) - ok)
