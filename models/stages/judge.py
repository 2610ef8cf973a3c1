"""Load and save for stage 3, judge."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.steps import Claim
from models.tables import JudgementRow, VariantRow
from pipeline.domain import Fate, Role, VariantId
from pipeline.judge import Candidate, JudgeCase, JudgeDecision


def load_judge(session: Session, mine: Claim, _now: datetime) -> JudgeCase:
    """Read the finalists, fittest first."""
    rows = session.scalars(
        select(VariantRow)
        .where(VariantRow.run_id == mine.run, VariantRow.fate == Fate.FINALIST)
        .order_by(VariantRow.finalist_rank.nulls_last(), VariantRow.ordinal)
    )
    return JudgeCase(
        rules=mine.rules,
        seed=mine.seed,
        candidates=tuple(Candidate(variant=VariantId(row.variant_id), instruction=row.prompt_text) for row in rows),
    )


def save_judge(session: Session, mine: Claim, decision: JudgeDecision, now: datetime) -> None:
    """Write one judgement per finalist, and what it means for it."""
    for verdict in decision.verdicts:
        row = session.get_one(VariantRow, verdict.variant)
        row.fate_reason = verdict.reason
        if verdict.scores is None:
            row.fate = Fate.UNPARSABLE
        else:
            row.fate = Fate.PASSED if verdict.passed else Fate.REJECTED
        scores = verdict.scores or (None, None, None, None)
        session.add(
            JudgementRow(
                variant_id=verdict.variant,
                judge_tag=mine.rules.tag(Role.JUDGE),
                coherence=scores[0],
                actionability=scores[1],
                specificity=scores[2],
                overall=scores[3],
                passed=verdict.passed,
                reason=verdict.reason,
                at=now,
            )
        )
