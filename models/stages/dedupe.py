"""Load and save for stage 4, dedupe."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import prompts
from models.embeddings import kit, remember, remembered
from models.judge_tables import JudgementRow
from models.search_tables import EvaluationRow
from models.steps import Claim
from models.tables import VariantRow
from models.work_tables import RunRow
from pipeline.dedupe import Contender, DedupeCase, DedupeDecision, Earlier
from pipeline.domain import Fate, MutationType, VariantId, arm_name

EARLIER = 20_000  # variants of the skill that are compared with at most; the newest count
VERDICTS = {  # fates that a person's votes have decided, and what a hit on one of them brings back
    Fate.LOSER: "lost its votes in r{run}",
    Fate.WINNER: "won its votes in r{run} and is not in use any more",
}


def load_dedupe(session: Session, mine: Claim, _now: datetime) -> DedupeCase:
    """Read the variants the judge passed with their outputs, the incumbent, what was decided before, and known vectors."""
    run = session.get_one(RunRow, mine.run)
    rows = session.scalars(
        select(VariantRow)
        .where(VariantRow.run_id == mine.run, VariantRow.fate == Fate.PASSED)
        .order_by(VariantRow.finalist_rank.nulls_last(), VariantRow.ordinal)
    ).all()
    seed = session.scalar(
        select(VariantRow.variant_id).where(
            VariantRow.run_id == mine.run, VariantRow.mutation_type == MutationType.SEED
        )
    )
    outputs = _outputs(session, [*(row.variant_id for row in rows), *([seed] if seed is not None else [])])
    scores = _scores(session, [row.variant_id for row in rows])
    incumbent, earlier, pairs = (
        prompts.template_of(session, mine.skill, run.version).instruction,
        _earlier(session, mine),
        kit(),
    )
    known = [*(one.instruction for one in earlier), *(text for pair in pairs for text in (pair.a, pair.b))]
    return DedupeCase(
        rules=mine.rules,
        contenders=tuple(
            Contender(
                variant=VariantId(row.variant_id), instruction=row.prompt_text, fitness=row.fitness_score or 0.0,
                score=scores.get(row.variant_id), outputs=outputs.get(row.variant_id, {}),
            )
            for row in rows
        ),
        incumbent=incumbent,
        incumbent_outputs=outputs.get(seed or 0, {}),
        earlier=tuple(one for one in earlier if one.instruction != incumbent),
        pairs=pairs,
        remembered=remembered(session, known),
    )  # fmt: skip


def save_dedupe(session: Session, _mine: Claim, decision: DedupeDecision, now: datetime) -> None:
    """Write fates, the arms' names, and the vectors under their profile."""
    for sorted_ in decision.fates:
        row = session.get_one(VariantRow, sorted_.variant)
        row.fate, row.fate_reason = sorted_.fate, sorted_.reason
    for index, variant in enumerate(decision.arms):
        session.get_one(VariantRow, variant).name = arm_name(index)
    remember(session, decision.profile, decision.texts, decision.vectors, now)


def _earlier(session: Session, mine: Claim) -> tuple[Earlier, ...]:
    rows = session.execute(
        select(VariantRow.prompt_text, VariantRow.fate, VariantRow.run_id)
        .where(VariantRow.skill_name == mine.skill, VariantRow.run_id < mine.run, VariantRow.fate.in_(VERDICTS))
        .order_by(VariantRow.variant_id.desc())
        .limit(EARLIER)
    )
    return tuple(Earlier(text, VERDICTS[Fate(fate)].format(run=run)) for text, fate, run in rows)


def _outputs(session: Session, variants: Sequence[int]) -> dict[int, dict[int, str]]:
    found: dict[int, dict[int, str]] = {}
    rows = session.execute(
        select(EvaluationRow.variant_id, EvaluationRow.sample_id, EvaluationRow.output).where(
            EvaluationRow.variant_id.in_(variants)
        )
    )
    for variant, sample, output in rows:
        found.setdefault(variant, {})[sample] = output
    return found


def _scores(session: Session, variants: Sequence[int]) -> dict[int, float]:
    rows = session.execute(
        select(JudgementRow.variant_id, JudgementRow.overall).where(
            JudgementRow.variant_id.in_(variants),
            JudgementRow.counted.is_(True),
            JudgementRow.advisory.is_(False),
            JudgementRow.void.is_(False),
            JudgementRow.overall.is_not(None),
        )
    )
    return {variant: float(overall) for variant, overall in rows if overall is not None}
