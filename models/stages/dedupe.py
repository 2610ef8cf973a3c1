"""Load and save for stage 4, dedupe."""

from __future__ import annotations

from array import array
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import prompts
from models.prompts import text_sha
from models.steps import Claim
from models.tables import EmbeddingRow, VariantRow
from models.work_tables import RunRow
from pipeline.dedupe import Contender, DedupeCase, DedupeDecision
from pipeline.domain import Fate, VariantId, arm_name

_EARLIER = 200  # earlier losers compared with; older ones are forgotten by then


def load_dedupe(session: Session, mine: Claim, _now: datetime) -> DedupeCase:
    """Read the variants the judge passed, the incumbent and earlier losers."""
    run = session.get_one(RunRow, mine.run)
    rows = session.scalars(
        select(VariantRow)
        .where(VariantRow.run_id == mine.run, VariantRow.fate == Fate.PASSED)
        .order_by(VariantRow.finalist_rank.nulls_last(), VariantRow.ordinal)
    )
    earlier = session.scalars(
        select(VariantRow.prompt_text)
        .where(VariantRow.skill_name == mine.skill, VariantRow.run_id < mine.run, VariantRow.fate == Fate.LOSER)
        .order_by(VariantRow.variant_id.desc())
        .limit(_EARLIER)
    )
    return DedupeCase(
        rules=mine.rules,
        contenders=tuple(
            Contender(variant=VariantId(r.variant_id), instruction=r.prompt_text, fitness=r.fitness_score or 0.0)
            for r in rows
        ),
        incumbent=prompts.template_of(session, mine.skill, run.version).instruction,
        earlier=tuple(earlier),
    )


def save_dedupe(session: Session, _mine: Claim, decision: DedupeDecision, now: datetime) -> None:
    """Write fates, the arms' names, and the vectors under their profile."""
    for sorted_ in decision.fates:
        row = session.get_one(VariantRow, sorted_.variant)
        row.fate, row.fate_reason = sorted_.fate, sorted_.reason
    for index, variant in enumerate(decision.arms):
        session.get_one(VariantRow, variant).name = arm_name(index)
    for text, vector in zip(decision.texts, decision.vectors, strict=True):
        key = (text_sha(text), decision.profile)
        if session.get(EmbeddingRow, key) is None:
            packed = array("f", vector).tobytes()
            session.add(EmbeddingRow(text_sha=key[0], profile=key[1], vector=packed, created_at=now))
            session.flush()
