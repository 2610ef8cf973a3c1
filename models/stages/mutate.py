"""Load and save for stage 2, mutate: one visit is one generation, and a saved generation is never bred again."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from models import journal, prompts, samples
from models.prompts import text_sha
from models.steps import Claim
from models.tables import MutationPromptRow, VariantRow
from models.work_tables import EvolutionRow, RunRow
from pipeline.domain import Fate, MutationType, Split
from pipeline.meta_prompt import MAX_FAILURES, MAX_SUCCESSES
from pipeline.mutate import MutateCase, MutateDecision
from pipeline.population import Draft, Member, MutationPrompt


def load_mutate(session: Session, mine: Claim, _now: datetime) -> MutateCase:
    """Read the population as the last generation left it, and the samples it is measured on."""
    run, evolution = session.get_one(RunRow, mine.run), session.get_one(EvolutionRow, mine.run)
    search = mine.rules.settings.search
    members = _members(session, mine.run)
    finished = tuple(member for member in members if member.n)
    cost = journal.spent(session, mine.run, before_visit=(mine.stage, mine.visit))
    return MutateCase(
        rules=mine.rules,
        seed=mine.seed,
        generation=mine.visit - 1,
        template=prompts.template_of(session, mine.skill, run.version),
        population=tuple(sorted((m for m in finished if m.fate is Fate.ALIVE), key=lambda m: m.slot)),
        finished=finished,
        mutation_prompts=tuple(
            MutationPrompt(ordinal=row.ordinal, text=row.text, parent=row.parent_ordinal)
            for row in session.scalars(_mutation_rows(mine.run))
        ),
        items=samples.items(
            session, mine.skill, Split.SEARCH, horizon=run.horizon, limit=search.fitness_samples, seed=mine.seed
        ),
        failures=samples.failures(session, mine.skill, horizon=run.horizon, limit=MAX_FAILURES),
        successes=samples.successes(session, mine.skill, horizon=run.horizon, limit=MAX_SUCCESSES),
        next_ordinal=len(members),
        stale=evolution.stale_generations,
        calls_left=search.budget_calls - cost.calls,
        minutes_left=search.budget_min - cost.minutes,
    )


def save_mutate(session: Session, mine: Claim, decision: MutateDecision, now: datetime) -> None:
    """Write the generation: new mutation prompts, children in their slots, tallies, and the finalists at the end."""
    evolution = session.get_one(EvolutionRow, mine.run)
    evolution.generation, evolution.stale_generations = decision.generation, decision.stale
    evolution.best_fitness = decision.best_fitness
    for prompt in decision.mutation_prompts:
        session.add(
            MutationPromptRow(run_id=mine.run, ordinal=prompt.ordinal, text=prompt.text, parent_ordinal=prompt.parent)
        )
    ids = {row.ordinal: row for row in session.scalars(_variant_rows(mine.run))}
    for child in decision.children:
        _add_child(session, mine, child, ids, now)
    session.flush()
    tally = {ordinal: (applied, improved) for ordinal, applied, improved in decision.tally}
    for row in session.scalars(_mutation_rows(mine.run).where(MutationPromptRow.ordinal.in_(tally))):
        row.applied, row.improved = row.applied + tally[row.ordinal][0], row.improved + tally[row.ordinal][1]
    for ordinal in decision.finalists:
        ids[ordinal].fate = Fate.FINALIST


def _add_child(session: Session, mine: Claim, child: Member, known: dict[int, VariantRow], now: datetime) -> None:
    if child.n:
        for row in known.values():
            if row.slot == child.slot and row.fate == Fate.ALIVE:
                row.fate, row.fate_reason = Fate.REPLACED, "lost its tournament"
    row = VariantRow(
        run_id=mine.run, ordinal=child.ordinal, skill_name=mine.skill, prompt_text=child.draft.instruction,
        text_sha=text_sha(child.draft.instruction), generation=child.generation, slot=child.slot,
        parent_id=known[child.parent].variant_id if child.parent is not None else None,
        second_parent_id=known[child.second_parent].variant_id if child.second_parent is not None else None,
        mutation_type=child.draft.kind, mutation_ordinal=child.mutation, reasoning=child.draft.reasoning,
        fitness_score=child.fitness if child.n else None, fitness_correct=child.correct, fitness_n=child.n,
        fate=child.fate, fate_reason=child.fate_reason, created_at=now,
    )  # fmt: skip
    session.add(row)
    session.flush()
    known[child.ordinal] = row


def _members(session: Session, run: int) -> tuple[Member, ...]:
    rows = list(session.scalars(_variant_rows(run)))
    ordinals = {row.variant_id: row.ordinal for row in rows}
    return tuple(
        Member(
            ordinal=row.ordinal, slot=row.slot, generation=row.generation,
            parent=ordinals.get(row.parent_id or 0), second_parent=ordinals.get(row.second_parent_id or 0),
            mutation=row.mutation_ordinal, fitness=row.fitness_score or 0.0, correct=row.fitness_correct, n=row.fitness_n,
            fate=Fate(row.fate), fate_reason=row.fate_reason,
            draft=Draft(instruction=row.prompt_text, kind=MutationType(row.mutation_type), reasoning=row.reasoning),
        )
        for row in rows
    )  # fmt: skip


def _variant_rows(run: int) -> Select[VariantRow]:
    return select(VariantRow).where(VariantRow.run_id == run).order_by(VariantRow.ordinal)


def _mutation_rows(run: int) -> Select[MutationPromptRow]:
    return select(MutationPromptRow).where(MutationPromptRow.run_id == run).order_by(MutationPromptRow.ordinal)
