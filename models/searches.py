"""What a search remembers: its members with what they did, the operators' tallies, and rules that won elsewhere."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import prompts
from models.search_tables import EvaluationRow, OperatorTallyRow
from models.tables import PromptVersionRow, VariantRow
from models.work_tables import RunRow
from pipeline.domain import Fate, MutationType, RunKind, SampleId, Split
from pipeline.examples import rules_of
from pipeline.leaks import leaks
from pipeline.population import Draft, Member, Outcome
from pipeline.search import Tally
from pipeline.sentences import added

EARLIER_RUNS = 5  # whose tallies count, half, for the choice of operators
FOREIGN = 20  # rules of other skills that are tried at most
_WINNERS = 10  # promoted variants of other skills that are looked at


def members(session: Session, run: int) -> tuple[Member, ...]:
    """Return every variant of a run, in the order of ordinals, with what it did on each sample."""
    rows = list(session.scalars(select(VariantRow).where(VariantRow.run_id == run).order_by(VariantRow.ordinal)))
    ordinals = {row.variant_id: row.ordinal for row in rows}
    outcomes = _outcomes(session, run)
    return tuple(
        Member(
            ordinal=row.ordinal, slot=row.slot, generation=row.generation,
            parent=ordinals.get(row.parent_id or 0), second_parent=ordinals.get(row.second_parent_id or 0),
            mutation=row.mutation_ordinal, fitness=row.fitness_score or 0.0, correct=row.fitness_correct, n=row.fitness_n,
            outcomes=tuple(outcomes.get(row.variant_id, ())), improved=row.improved,
            fate=Fate(row.fate), fate_reason=row.fate_reason,
            draft=Draft(
                instruction=row.prompt_text, kind=MutationType(row.mutation_type), reasoning=row.reasoning,
                mean_logprob=row.mean_logprob, min_logprob=row.min_logprob, flags=tuple(row.flags.splitlines()),
            ),
        )
        for row in rows
    )  # fmt: skip


def tallies(session: Session, run: RunRow) -> tuple[Tally, ...]:
    """Return the operators' tallies that a search chooses by: its own, and half of those of the skill's last runs."""
    earlier = (
        select(RunRow.id)
        .where(RunRow.skill_name == run.skill_name, RunRow.kind == RunKind.EVOLUTION, RunRow.id < run.id)
        .order_by(RunRow.id.desc())
        .limit(EARLIER_RUNS)
    )
    before = session.execute(
        select(OperatorTallyRow.name, func.sum(OperatorTallyRow.applied), func.sum(OperatorTallyRow.improved))
        .where(OperatorTallyRow.run_id.in_(earlier))
        .group_by(OperatorTallyRow.name)
    )
    sums = {name: (int(applied) // 2, int(improved) // 2) for name, applied, improved in before}
    for one in of_run(session, run.id):
        applied, improved = sums.get(one.name, (0, 0))
        sums[one.name] = (applied + one.applied, improved + one.improved)
    return tuple(Tally(name=name, applied=a, improved=i) for name, (a, i) in sorted(sums.items()))


def of_run(session: Session, run: int) -> tuple[Tally, ...]:
    """Return the operators' tallies of one run, the most applied first."""
    rows = session.scalars(
        select(OperatorTallyRow)
        .where(OperatorTallyRow.run_id == run)
        .order_by(OperatorTallyRow.applied.desc(), OperatorTallyRow.name)
    )
    return tuple(Tally(name=row.name, applied=row.applied, improved=row.improved) for row in rows)


def add_tallies(session: Session, run: int, more: Sequence[Tally]) -> None:
    """Add a visit's tallies to the run's."""
    for one in more:
        row = session.get(OperatorTallyRow, (run, one.name))
        if row is None:
            session.add(OperatorTallyRow(run_id=run, name=one.name, applied=one.applied, improved=one.improved))
        else:
            row.applied, row.improved = row.applied + one.applied, row.improved + one.improved


def foreign_rules(session: Session, run: RunRow) -> tuple[str, ...]:
    """Return the rules that promoted prompts of other skills have beyond those they replaced (cross-skill learning).

    Only of prompts that are in use, so none that was rolled back, and only what was known when the run started, so that
    a resumed search sees the same.
    """
    rows = session.execute(
        select(VariantRow, RunRow)
        .join(RunRow, RunRow.id == VariantRow.run_id)
        .join(PromptVersionRow, PromptVersionRow.variant_id == VariantRow.variant_id)
        .where(
            VariantRow.fate == Fate.WINNER,
            PromptVersionRow.active.is_(True),
            VariantRow.skill_name != run.skill_name,
            RunRow.ended_at <= run.created_at,
        )
        .order_by(VariantRow.variant_id.desc())
        .limit(_WINNERS)
    )
    found: list[str] = []
    for variant, source in rows:
        before = prompts.template_of(session, source.skill_name, source.version).instruction
        found += [one for one in added(rules_of(variant.prompt_text), rules_of(before)) if not leaks(one)]
    return tuple(dict.fromkeys(found))[:FOREIGN]


def _outcomes(session: Session, run: int) -> dict[int, list[Outcome]]:
    """Return what each variant did on samples of the search, in the order in which it was run on them."""
    rows = session.scalars(
        select(EvaluationRow)
        .join(VariantRow, VariantRow.variant_id == EvaluationRow.variant_id)
        .where(VariantRow.run_id == run, EvaluationRow.split == Split.SEARCH)
        .order_by(EvaluationRow.id)
    )
    found: dict[int, list[Outcome]] = {}
    for row in rows:
        lost = tuple(word for word in row.lost.split(",") if word)
        found.setdefault(row.variant_id, []).append(
            Outcome(sample=SampleId(row.sample_id), value=row.value, correct=row.correct, lost=lost, output=row.output)
        )
    return found
