"""What the arithmetic of costs goes by: labelled samples, and what a run has spent and waited so far."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import contents
from models.journal import MODEL_ROLES, spent
from models.work_tables import CancelledCallRow, GateEventRow, ModelCallRow, RunRow
from pipeline import costs
from pipeline.costs import Labelled, Plan
from pipeline.domain import Split
from pipeline.progress import Progress, progress_of, waited_s
from pipeline.rules import Rules


def labelled(session: Session, skill: str) -> Labelled:
    """Count the samples of *skill*, each content once, whose right answer is known, by split."""
    found = contents.by_part(session, skill)
    return Labelled(
        search=found[Split.SEARCH], select=found[Split.SELECT], confirm=found[Split.CONFIRM], report=found[Split.REPORT]
    )


def plan(session: Session, rules: Rules) -> Plan:
    """Say what a search under *rules* may spend on the samples that there are now."""
    return costs.plan(rules.settings.search, labelled(session, rules.skill.name))


def progress(session: Session, run: RunRow, rules: Rules) -> Progress:
    """Say how far the search of *run* is; its rules are the frozen ones."""
    cost = spent(session, run.id)
    return progress_of(
        plan(session, rules),
        rules.settings.search.budget_min,
        calls=cost.calls,
        model_min=cost.minutes,
        waited_min=_waited_s(session, run.id) / 60,
    )


def _waited_s(session: Session, run: int) -> float:
    """Return for how long *run* waited; a pause is written down at its end, and a call at its own."""
    pauses = [
        (at.timestamp() - seconds, at.timestamp())
        for at, seconds in session.execute(
            select(GateEventRow.at, GateEventRow.waited_s).where(GateEventRow.run_id == run)
        )
    ]
    if not pauses:
        return 0.0
    made = session.execute(
        select(ModelCallRow.at, ModelCallRow.duration_ms).where(
            ModelCallRow.run_id == run, ModelCallRow.role.in_(MODEL_ROLES)
        )
    )
    cut = session.execute(
        select(CancelledCallRow.at, CancelledCallRow.duration_ms).where(CancelledCallRow.run_id == run)
    )
    starts = sorted(at.timestamp() - ms / 1000 for rows in (made, cut) for at, ms in rows)
    return waited_s(pauses, starts)
