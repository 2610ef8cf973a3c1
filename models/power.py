"""What a skill's own history says of how much its tests can show."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, select
from sqlalchemy.orm import Session, aliased

from models import reports, samples
from models.report_values import Accuracy
from models.search_tables import EvaluationRow
from models.tables import VariantRow
from models.work_tables import RunRow
from pipeline.domain import MutationType, Split
from pipeline.rules import Rules

RUNS = 5  # newest runs that the discordance is measured on; ours
LEAST_PAIRS = 20  # pairs of results below which a share says too little: its standard error is about 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class SkillNumbers:
    """What the tests of a skill begin with.

    Attributes:
        choosing: samples with a known right answer on which a challenger is chosen.
        confirming: those on which it is then set against the prompt in use.
        accuracy: of the prompt in use, over the samples that the drift check looks at.
        discordance: share of samples on which a variant was right and the prompt in use wrong, or the other way round,
            over all variants of the newest runs; None with fewer than 20 pairs.
        pairs: results that were compared for it.
        runs: runs that they come from.
        simulated: a simulated run is among them.
    """

    choosing: int
    confirming: int
    accuracy: Accuracy
    discordance: float | None
    pairs: int
    runs: int
    simulated: bool


def skill_numbers(session: Session, rules: Rules) -> SkillNumbers:
    """Return what the tests of a skill begin with; nothing is written."""
    skill = rules.skill.name
    runs, pairs, differing, simulated = _compared(session, skill)
    return SkillNumbers(
        choosing=samples.known(session, skill, Split.SELECT),
        confirming=samples.known(session, skill, Split.CONFIRM),
        accuracy=reports.window(session, rules, rules.skill.version, rules.settings.triggers.sample_size),
        discordance=differing / pairs if pairs >= LEAST_PAIRS else None,
        pairs=pairs,
        runs=runs,
        simulated=simulated,
    )


def _compared(session: Session, skill: str) -> tuple[int, int, int, bool]:
    """Return runs, pairs of results, how many of them differ, and whether a run was simulated.

    Only samples of the select split count: the search's own favour variants that do well on just these. The prompt in use
    is the run's seed variant and was run afresh on the same samples.
    """
    seed, base = aliased(VariantRow), aliased(EvaluationRow)
    rows = session.execute(
        select(
            VariantRow.run_id,
            RunRow.simulated,
            func.count(),
            func.sum(case((EvaluationRow.correct != base.correct, 1), else_=0)),
        )
        .select_from(EvaluationRow)
        .join(VariantRow, VariantRow.variant_id == EvaluationRow.variant_id)
        .join(RunRow, RunRow.id == VariantRow.run_id)
        .join(seed, (seed.run_id == VariantRow.run_id) & (seed.variant_id != VariantRow.variant_id))
        .join(base, (base.variant_id == seed.variant_id) & (base.sample_id == EvaluationRow.sample_id))
        .where(
            VariantRow.skill_name == skill,
            seed.mutation_type == MutationType.SEED,
            EvaluationRow.split == Split.SELECT,
            base.split == Split.SELECT,
        )
        .group_by(VariantRow.run_id, RunRow.simulated)
        .order_by(VariantRow.run_id.desc())
        .limit(RUNS)
    ).all()
    return (
        len(rows),
        sum(pairs for _, _, pairs, _ in rows),
        sum(int(differing) for _, _, _, differing in rows),
        any(simulated for _, simulated, _, _ in rows),
    )
