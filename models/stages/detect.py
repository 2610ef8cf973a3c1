"""Load and save for stage 1, detect."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import golden, monitors, prompts, samples
from models.runs import become_evolution
from models.steps import Claim
from models.tables import PromptVersionRow, SkillRow
from models.work_tables import RunRow
from pipeline.detect import MIN_KNOWN, MIN_USABLE, DetectCase, DetectDecision, Judged, SincePromotion
from pipeline.domain import RunKind, Stage
from pipeline.fitness import Item
from pipeline.monitor import Monitor
from pipeline.rules import Rules


def load_detect(session: Session, mine: Claim, now: datetime) -> DetectCase:
    """Read the label stream of the version in use, and its golden set or what one could be made of."""
    run = session.get_one(RunRow, mine.run)
    return detect_case(session, mine.rules, now, forced=run.forced, run=mine.run, seed=mine.seed)


def detect_case(
    session: Session,
    rules: Rules,
    now: datetime,
    *,
    forced: bool = False,
    run: int | None = None,
    seed: int = 0,
    without: Sequence[int] = (),
) -> DetectCase:
    """Build the case of a drift check, for a run or to see whether one is worth starting if those *without* were not there.

    Its cost does not grow with the history: counts end where they decide nothing more.
    """
    skill = rules.skill.name
    in_use = prompts.active(session, skill)
    evolutions = select(RunRow).where(
        RunRow.skill_name == skill, RunRow.kind == RunKind.EVOLUTION, RunRow.id.not_in((run or 0, *without))
    )
    last = session.scalar(evolutions.order_by(RunRow.created_at.desc()).limit(1))
    monitor = monitors.current(session, rules)
    known = golden.load_golden(session, skill, in_use.version) if in_use else None
    return DetectCase(
        rules=rules,
        seed=seed,
        now=now,
        version=in_use.version if in_use else 0,
        template=prompts.template_of(session, skill, in_use.version) if in_use else None,
        window=_window(session, rules, in_use, rules.settings.triggers.sample_size),
        monitor=monitor,
        golden=known,
        candidates=_candidates(session, rules, seed) if run is not None and known is None else (),
        audit=samples.audited(session, skill, in_use.version, now) if in_use else (0, 0),
        last_evolution=last.created_at if last else None,
        evolving=session.scalar(evolutions.where(RunRow.ended_at.is_(None)).limit(1)) is not None,
        usable=samples.usable(session, skill, most=MIN_USABLE),
        known=samples.known(session, skill, most=MIN_KNOWN),
        since_promotion=_since_promotion(session, rules, in_use, monitor),
        forced=forced,
    )


def save_detect(session: Session, mine: Claim, decision: DetectDecision, now: datetime) -> None:
    """Remember the finding; drift turns the check into an evolution, a disappointment into a rollback."""
    run = session.get_one(RunRow, mine.run)
    row = session.get_one(SkillRow, mine.skill)
    row.checked_at, row.check_reason, run.reason = now, decision.reason, decision.reason
    _watch(session, mine, decision, now)
    if decision.next is Stage.MUTATE:
        run.version = decision.version or run.version
        become_evolution(session, run, now, decision.accuracy, samples.horizon(session, mine.skill))
    elif decision.next is Stage.PROMOTE:
        run.kind = RunKind.ROLLBACK


def _watch(session: Session, mine: Claim, decision: DetectDecision, now: datetime) -> None:
    """Write what the golden set said, and begin the sums anew where a finding was acted on or refuted."""
    in_use = prompts.active(session, mine.skill)
    if in_use is None or in_use.version != decision.version:
        return  # another prompt came into use while the check waited for a quiet moment
    if decision.recorded is not None:
        golden.keep(session, mine.skill, in_use.version, decision.recorded, now)
    if decision.canary is not None:
        golden.note_check(session, mine.skill, in_use.version, decision.canary, now)
    if decision.moved:
        golden.forget(session, mine.skill, in_use.version)  # the next healthy check records tasks of now
    if decision.acknowledged or decision.refuted:
        monitors.acknowledge(session, mine.rules, now, warning_only=decision.refuted)


def _candidates(session: Session, rules: Rules, seed: int) -> tuple[Item, ...]:
    """Draw what a golden set may be made of, unless its recording is switched off."""
    limit = rules.settings.triggers.canary_samples
    return golden.candidates(session, rules.skill.name, limit, seed) if limit else ()


def _window(session: Session, rules: Rules, in_use: PromptVersionRow | None, size: int) -> tuple[Judged, ...]:
    if in_use is None:
        return ()
    found = samples.judged(session, rules, in_use.version, size)
    return tuple(Judged(ok=ok, source=source) for ok, source in found)


def _since_promotion(
    session: Session, rules: Rules, in_use: PromptVersionRow | None, monitor: Monitor | None
) -> SincePromotion | None:
    if in_use is None:
        return None
    before = prompts.previous(session, rules.skill.name, in_use.version)
    if before is None:
        return None
    if monitor is None:
        return SincePromotion(back_to=before.version, ok=0, bad=0)
    first = min(monitor.labels, monitor.thresholds.baseline_labels)
    return SincePromotion(back_to=before.version, ok=monitor.ok, bad=first - monitor.ok)
