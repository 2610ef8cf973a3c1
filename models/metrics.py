"""What the metrics of evolution are made of, counted in the tables; real and simulated runs apart."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime

from sqlalchemy import ColumnElement, and_, exists, func, or_, select
from sqlalchemy.orm import InstrumentedAttribute, Session, aliased

from models.journal import MODEL_ROLES
from models.tables import PromotionRow, VariantRow
from models.work_tables import CancelledCallRow, ModelCallRow, RunRow, StepRow
from pipeline.domain import Fate, RunKind, Stage
from pipeline.metrics import MODEL_WROTE, Figures, Spending, Written

_NO_ANSWER = "no answer"  # how the reason of a draft begins for which no model wrote anything
_REJECTED = (Fate.REJECTED, Fate.UNPARSABLE)


def figures(session: Session, *, skill: str | None = None, since: datetime | None = None) -> tuple[Figures, ...]:
    """Count what the metrics need: of real runs first, then of simulated ones, each where there is anything.

    Args:
        session: open transaction.
        skill: leave out all others; None for all skills.
        since: leave out variants written, runs begun and promotions applied before.
    """
    written = _written(session, skill, since)
    spending = _spending(session, skill, since)
    applied = _promotions(session, skill, since)
    found: list[Figures] = []
    for simulated in (False, True):
        gains = [gain for is_simulated, gain in applied if is_simulated == simulated]
        one = Figures(
            simulated=simulated,
            written=written[simulated],
            spending=spending[simulated],
            promotions=len(gains),
            gains=tuple(gain for gain in gains if gain is not None),
        )
        if one != Figures(simulated=simulated):
            found.append(one)
    return tuple(found) or (Figures(),)


def _written(session: Session, skill: str | None, since: datetime | None) -> dict[bool, Written]:
    """Count the variants that a model wrote by what became of them; a question without an answer wrote none."""
    unanswered = and_(VariantRow.fate == Fate.REFUSED, VariantRow.fate_reason.startswith(_NO_ANSWER))
    query = (
        select(RunRow.simulated, VariantRow.fate, func.count())
        .join(RunRow, RunRow.id == VariantRow.run_id)
        .where(
            VariantRow.mutation_type.in_(MODEL_WROTE),
            ~unanswered,
            *_within(VariantRow.skill_name, VariantRow.created_at, skill, since),
        )
        .group_by(RunRow.simulated, VariantRow.fate)
    )
    found = {False: Written(), True: Written()}
    for simulated, fate, n in session.execute(query):
        one = found[simulated]
        found[simulated] = replace(
            one,
            variants=one.variants + n,
            refused=one.refused + n * (fate == Fate.REFUSED),
            rejected=one.rejected + n * (fate in _REJECTED),
            redundant=one.redundant + n * (fate == Fate.REDUNDANT),
        )
    return found


def _spending(session: Session, skill: str | None, since: datetime | None) -> dict[bool, Spending]:
    """Sum up the evolutions whose search is over; one that asked no model yet, or that a person wrote, is none.

    Every role asks a local model, and the client refuses those that run in a cloud: so nothing was paid.
    """
    searched = exists().where(StepRow.run_id == RunRow.id, StepRow.stage == Stage.MUTATE)
    handed_on = exists().where(StepRow.run_id == RunRow.id, StepRow.stage == Stage.JUDGE)
    query = select(RunRow.id, RunRow.simulated).where(
        RunRow.kind == RunKind.EVOLUTION,
        searched,
        or_(RunRow.ended_at.is_not(None), handed_on),
        *_within(RunRow.skill_name, RunRow.created_at, skill, since),
    )
    chosen = select(query.subquery().c.id)
    made = _calls(session, ModelCallRow, and_(ModelCallRow.run_id.in_(chosen), ModelCallRow.role.in_(MODEL_ROLES)))
    cut = _calls(session, CancelledCallRow, CancelledCallRow.run_id.in_(chosen))
    found = {False: Spending(), True: Spending()}
    for run, simulated in session.execute(query).all():
        calls, ms = made.get(run, (0, 0.0))
        cut_off, cut_ms = cut.get(run, (0, 0.0))
        one = found[simulated]
        if calls + cut_off:
            found[simulated] = replace(
                one,
                evolutions=one.evolutions + 1,
                calls=one.calls + calls + cut_off,
                minutes=one.minutes + (ms + cut_ms) / 60_000,
            )
    return found


def _calls(
    session: Session, row: type[ModelCallRow | CancelledCallRow], wanted: ColumnElement[bool]
) -> dict[int, tuple[int, float]]:
    """Return by run how many calls there are and the milliseconds they took."""
    query = select(row.run_id, func.count(), func.sum(row.duration_ms)).where(wanted).group_by(row.run_id)
    return {run: (n, float(ms)) for run, n, ms in session.execute(query)}


def _promotions(session: Session, skill: str | None, since: datetime | None) -> list[tuple[bool, float | None]]:
    """Return of each applied promotion whether it is simulated, and the change of accuracy where it was measured.

    A promotion that a person ordered asks no model itself: it is simulated when the run was that its prompt comes from.
    """
    source = aliased(RunRow)
    query = (
        select(RunRow.simulated, source.simulated, PromotionRow.accuracy_before, PromotionRow.accuracy_after)
        .join(RunRow, RunRow.id == PromotionRow.run_id)
        .outerjoin(VariantRow, VariantRow.variant_id == RunRow.target_variant_id)
        .outerjoin(source, source.id == VariantRow.run_id)
        .where(
            PromotionRow.kind == "promote",
            PromotionRow.state == "applied",
            *_within(PromotionRow.skill_name, PromotionRow.applied_at, skill, since),
        )
        .order_by(PromotionRow.id)
    )
    return [
        (here or bool(there), None if before is None or after is None else after - before)
        for here, there, before, after in session.execute(query)
    ]


def _within(
    name: InstrumentedAttribute[str],
    at: InstrumentedAttribute[datetime] | InstrumentedAttribute[datetime | None],
    skill: str | None,
    since: datetime | None,
) -> list[ColumnElement[bool]]:
    """Leave out other skills and what is older, where that is wanted."""
    return [*([name == skill] if skill is not None else []), *([at >= since] if since is not None else [])]
