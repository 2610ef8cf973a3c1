"""What the ledger's counts have taught about the tokens of a model."""

from __future__ import annotations

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.speeds import LOOKED_AT, RECENT
from models.steps import Claim
from models.work_tables import ModelCallRow
from pipeline.algorithms.tokens import Gauge, calibrated
from pipeline.domain import Role
from pipeline.room import most_counted


def generator_gauge(session: Session, mine: Claim) -> Gauge:
    """Return the gauge of the generator: of its newest calls with the digest that answered last.

    Calls of the visit itself are left out, so that a visit that is made again asks the same questions.
    """
    tag = mine.rules.tag(Role.GENERATOR)
    newest = select(func.max(ModelCallRow.id)).scalar_subquery()
    visit = select(func.min(ModelCallRow.id)).where(
        ModelCallRow.run_id == mine.run, ModelCallRow.stage == mine.stage, ModelCallRow.visit == mine.visit
    )
    begun = session.scalar(visit)
    query = select(ModelCallRow.digest, ModelCallRow.estimate, ModelCallRow.prompt_tokens).where(
        ModelCallRow.id > newest - LOOKED_AT,
        ModelCallRow.role == Role.GENERATOR,
        ModelCallRow.tag == tag,
        ModelCallRow.estimate > 0,
        ModelCallRow.prompt_tokens > 0,
    )
    if begun is not None:
        query = query.where(ModelCallRow.id < begun)
    rows = session.execute(query.order_by(ModelCallRow.id.desc()).limit(RECENT)).all()
    calls = [(guess, count) for digest, guess, count in rows if digest == rows[0].digest]
    return calibrated(reversed(calls), most_counted(mine.rules))
