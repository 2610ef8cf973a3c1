"""Load and save for stage 2, mutate: one visit is one generation, and a saved generation is never bred again."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import Select, select
from sqlalchemy.orm import Session

from models import gauges, journal, prompts, samples, searches
from models.prompts import text_sha
from models.search_tables import EvaluationRow, MutationPromptRow
from models.steps import Claim
from models.tables import VariantRow
from models.work_tables import EvolutionRow, RunRow
from pipeline.costs import example_size
from pipeline.domain import Fate, Split
from pipeline.fitness import Item
from pipeline.meta_prompt import MAX_FAILURES, MAX_SUCCESSES
from pipeline.population import PARTLY, Member, MutationPrompt, Outcome
from pipeline.search import MutateCase, MutateDecision
from pipeline.signatures import counts_of, signed, telling, varied

FAILURES_READ, SUCCESSES_READ = 100, 100  # of the log, of which the most telling are shown


def load_mutate(session: Session, mine: Claim, _now: datetime) -> MutateCase:
    """Read the population as the last generation left it, and the samples it is measured on."""
    run, evolution = session.get_one(RunRow, mine.run), session.get_one(EvolutionRow, mine.run)
    search = mine.rules.settings.search
    members = searches.members(session, mine.run)
    finished = tuple(member for member in members if member.n)
    cost = journal.spent(session, mine.run, before_visit=(mine.stage, mine.visit))
    search_items, fresh_items = _items(session, mine, run, evolution)
    skill = mine.rules.skill
    found = samples.failures(session, mine.skill, horizon=run.horizon, limit=FAILURES_READ)
    failures = tuple(signed(skill, failure) for failure in found)
    successes = samples.successes(session, mine.skill, horizon=run.horizon, limit=SUCCESSES_READ)
    return MutateCase(
        rules=mine.rules,
        seed=mine.seed,
        generation=mine.visit - 1,
        template=prompts.template_of(session, mine.skill, run.version),
        population=tuple(sorted((m for m in finished if m.fate is Fate.ALIVE), key=lambda m: (m.slot, m.ordinal))),
        finished=finished,
        mutation_prompts=tuple(
            MutationPrompt(ordinal=row.ordinal, text=row.text, parent=row.parent_ordinal)
            for row in session.scalars(_mutation_rows(mine.run))
        ),
        items=search_items,
        confirm_items=fresh_items,
        labelled=samples.known(session, mine.skill, horizon=run.horizon),
        failures=telling(failures, MAX_FAILURES),
        successes=varied(skill, successes, MAX_SUCCESSES),
        lost=tuple(counts_of(failures).items()),
        failed=len(failures),
        tallies=searches.tallies(session, run),
        foreign=searches.foreign_rules(session, run),
        gauge=gauges.generator_gauge(session, mine),
        next_ordinal=len(members),
        stale=evolution.stale_generations,
        calls_left=search.budget_calls - cost.calls,
        minutes_left=search.budget_min - cost.minutes,
    )


def _items(
    session: Session, mine: Claim, run: RunRow, evolution: EvolutionRow
) -> tuple[tuple[Item, ...], tuple[Item, ...]]:
    """Return the samples of the search and of its confirmation: those of the first visit, with their right answers of then."""
    if evolution.samples:
        kept = json.loads(evolution.samples)
        return samples.frozen(session, kept["search"]), samples.frozen(session, kept["select"])
    search = mine.rules.settings.search
    most = search.race_samples if search.mode == "race" else search.fitness_samples
    most += example_size(search, 10 * most)
    return (
        samples.items(session, mine.skill, Split.SEARCH, horizon=run.horizon, limit=most, seed=mine.seed),
        samples.items(
            session, mine.skill, Split.SELECT, horizon=run.horizon, limit=search.confirm_samples, seed=mine.seed
        ),
    )


def save_mutate(session: Session, mine: Claim, decision: MutateDecision, now: datetime) -> None:
    """Write the visit: new mutation prompts, children and what they did, tallies, and the finalists at the end."""
    evolution = session.get_one(EvolutionRow, mine.run)
    if not evolution.samples:
        found = _items(session, mine, session.get_one(RunRow, mine.run), evolution)
        evolution.samples = json.dumps({"search": samples.kept(found[0]), "select": samples.kept(found[1])})
    evolution.generation, evolution.stale_generations = decision.generation, decision.stale
    evolution.best_fitness = decision.best_fitness
    for prompt in decision.mutation_prompts:
        session.add(
            MutationPromptRow(run_id=mine.run, ordinal=prompt.ordinal, text=prompt.text, parent_ordinal=prompt.parent)
        )
    rows = {row.ordinal: row for row in session.scalars(_variant_rows(mine.run))}
    for child in sorted(decision.children, key=lambda one: one.ordinal):
        _add_child(session, mine, child, rows, now)
    session.flush()
    for ordinal, fate, reason in decision.changed:
        rows[ordinal].fate, rows[ordinal].fate_reason = fate, reason
    for ordinal, outcomes in decision.confirmed:
        rows[ordinal].confirm_correct = sum(outcome.correct for outcome in outcomes)
        rows[ordinal].confirm_n = len(outcomes)
        _add_outcomes(session, rows[ordinal].variant_id, Split.SELECT, outcomes)
    tally = {ordinal: (applied, improved) for ordinal, applied, improved in decision.tally}
    for row in session.scalars(_mutation_rows(mine.run).where(MutationPromptRow.ordinal.in_(tally))):
        row.applied, row.improved = row.applied + tally[row.ordinal][0], row.improved + tally[row.ordinal][1]
    searches.add_tallies(session, mine.run, decision.operators)
    for rank, ordinal in enumerate(decision.finalists, start=1):
        rows[ordinal].fate, rows[ordinal].fate_reason, rows[ordinal].finalist_rank = Fate.FINALIST, "", rank


def _add_child(session: Session, mine: Claim, child: Member, known: dict[int, VariantRow], now: datetime) -> None:
    if child.n and mine.rules.settings.search.mode == "promptbreeder":
        for row in known.values():
            if row.slot == child.slot and row.fate == Fate.ALIVE:
                row.fate, row.fate_reason = Fate.REPLACED, "lost its tournament"
    row = VariantRow(
        run_id=mine.run, ordinal=child.ordinal, skill_name=mine.skill, prompt_text=child.draft.instruction,
        text_sha=text_sha(child.draft.instruction), generation=child.generation, slot=child.slot,
        parent_id=known[child.parent].variant_id if child.parent is not None else None,
        second_parent_id=known[child.second_parent].variant_id if child.second_parent is not None else None,
        mutation_type=child.draft.kind, mutation_ordinal=child.mutation, reasoning=child.draft.reasoning,
        fitness_score=child.fitness if child.n and child.fate not in PARTLY else None, fitness_correct=child.correct, fitness_n=child.n,
        improved=child.improved, fate=child.fate, fate_reason=child.fate_reason, created_at=now,
        mean_logprob=child.draft.mean_logprob, min_logprob=child.draft.min_logprob, flags="\n".join(child.draft.flags),
    )  # fmt: skip
    session.add(row)
    session.flush()
    known[child.ordinal] = row
    _add_outcomes(session, row.variant_id, Split.SEARCH, child.outcomes)


def _add_outcomes(session: Session, variant: int, split: Split, outcomes: tuple[Outcome, ...]) -> None:
    for outcome in outcomes:
        session.add(
            EvaluationRow(
                variant_id=variant, sample_id=outcome.sample, split=split, value=outcome.value, correct=outcome.correct,
                lost=",".join(word.replace(",", ";") for word in outcome.lost), output=outcome.output,
            )
        )  # fmt: skip


def _variant_rows(run: int) -> Select[VariantRow]:
    return select(VariantRow).where(VariantRow.run_id == run).order_by(VariantRow.ordinal)


def _mutation_rows(run: int) -> Select[MutationPromptRow]:
    return select(MutationPromptRow).where(MutationPromptRow.run_id == run).order_by(MutationPromptRow.ordinal)
