"""A search over the tables is the search in memory: nothing it goes by is lost between two visits."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select

from models import prompts, searches, steps
from models.runs import become_evolution
from models.search_tables import OperatorTallyRow
from models.stages.mutate import load_mutate, save_mutate
from models.tables import PromptVersionRow, VariantRow
from models.work_tables import RunRow
from ops.simulator.worlds.records import RecordsWorld
from pipeline.domain import Fate, MutationType, RunKind, SkillName, Stage
from pipeline.flow import drive
from pipeline.mutate import mutate
from pipeline.population import PARTLY, Draft, Member
from pipeline.search import MutateCase, MutateDecision, Tally, total
from tests.searching import SKILL, Answering, after, rules_for

WORLD = RecordsWorld(seed=3)
SAMPLES = WORLD.samples(160, seed=3)


@pytest.fixture(name="search")
def _search(memory: Any) -> Any:
    """Return a claim on the first visit of a search over the samples of a known world."""
    memory.rules = rules_for(WORLD, replace(memory.rules.settings.search, budget_calls=500))
    with memory.write() as session:
        prompts.note_version(session, memory.rules.skill, WORLD.template(), memory.now)
    for number, sample in enumerate(SAMPLES):
        fields = (*sample.fields.items(), ("sample", str(number)))
        memory.tell(sample.id, fields=fields, expected=sample.expected)
    bell = memory.run(Stage.MUTATE)
    with memory.write() as session:
        become_evolution(session, session.get_one(RunRow, bell.run), memory.now, 0.5, len(SAMPLES))
    return memory.claim(bell)


def stored(member: Member) -> Member:
    """The member as the tables keep it: a partial mean is no fitness."""
    return replace(
        member,
        draft=replace(member.draft, refused=""),
        fitness=0.0 if member.fate in PARTLY else member.fitness,
    )


def normal(case: MutateCase) -> MutateCase:
    """The case without what the ledger says, which this test does not write."""
    return replace(
        case,
        population=tuple(map(stored, case.population)),
        finished=tuple(map(stored, case.finished)),
        tallies=total(case.tallies),
        calls_left=0,
    )


def visit(memory: Any, mine: Any, case: MutateCase, answering: Answering) -> tuple[Any, Any]:
    """Make one visit and save it; return the decision and the claim on the next step, if there is one."""
    decision = drive(mutate(case), answering)
    with memory.write() as session:
        save_mutate(session, mine, decision, memory.now)
        bells = steps.advance(session, mine, decision.next, memory.now)
    return decision, memory.claim(bells[0]) if bells else None


def load(memory: Any, mine: Any) -> MutateCase:
    """Load a visit's case."""
    with memory.write() as session:
        return load_mutate(session, mine, memory.now)


@pytest.mark.parametrize("mode", ["race", "promptbreeder"])
def test_what_is_loaded_is_what_memory_would_give(memory: Any, search: Any, mode: str) -> None:
    """Over four visits members, outcomes, fates, mutation prompts and tallies come back as they were decided."""
    rules = replace(search.rules.settings.search, mode=mode, crossover_probability=0.5)
    search = replace(search, rules=replace(search.rules, settings=replace(search.rules.settings, search=rules)))
    answering = Answering(WORLD, dict(enumerate(SAMPLES)), "what", 500)
    expected = load(memory, search)
    mine = search

    for _ in range(4):
        case = load(memory, mine)
        assert normal(case) == normal(expected)
        decision, mine = visit(memory, mine, case, answering)
        expected = after(case, decision, 0)
        if decision.next is not Stage.MUTATE:
            break
        mine = replace(mine, rules=search.rules)

    assert any(member.outcomes for member in expected.finished[1:])


def test_a_whole_search_leaves_ranked_finalists_with_fresh_samples(memory: Any, search: Any) -> None:
    """The best stands first, was run on fresh samples beside the incumbent, and no sample was run twice."""
    answering, mine = Answering(WORLD, dict(enumerate(SAMPLES)), "what", 500), search
    while True:
        case = load(memory, mine)
        case = replace(case, calls_left=500 - answering.calls)
        decision, following = visit(memory, mine, case, answering)
        if decision.next is not Stage.MUTATE:
            break
        mine = following

    assert decision.next is Stage.JUDGE
    with memory.maker() as session:
        ranked = list(
            session.scalars(
                select(VariantRow).where(VariantRow.finalist_rank.is_not(None)).order_by(VariantRow.finalist_rank)
            )
        )
        incumbent = session.scalars(select(VariantRow).where(VariantRow.ordinal == 0)).one()
        members = searches.members(session, mine.run)
    assert [row.ordinal for row in ranked] == list(decision.finalists)
    assert ranked[0].confirm_n == incumbent.confirm_n > 0
    assert ranked[0].confirm_correct > incumbent.confirm_correct
    assert {row.fate for row in ranked} == {Fate.FINALIST}
    for member in members:
        seen = [outcome.sample for outcome in member.outcomes]
        assert len(seen) == len(set(seen))


def test_earlier_runs_of_the_skill_count_half(memory: Any, search: Any) -> None:
    """The choice of operators starts from half of what the last runs saw, and other skills' runs do not count."""
    with memory.write() as session:
        searches.add_tallies(session, search.run, [Tally(name="edit", applied=9, improved=3)])
        searches.add_tallies(session, search.run, [Tally(name="edit", applied=1, improved=1)])
        session.get_one(RunRow, search.run).ended_at = memory.now
    later = memory.run(Stage.MUTATE)
    with memory.write() as session:
        searches.add_tallies(session, later.run, [Tally(name="edit", applied=2, improved=1)])
        tallies = searches.tallies(session, session.get_one(RunRow, later.run))
        kept = session.get_one(OperatorTallyRow, (search.run, "edit"))

    assert tallies == (Tally(name="edit", applied=7, improved=3),)
    assert (kept.applied, kept.improved) == (10, 4)


def test_a_rule_that_won_for_another_skill_is_known_from_the_next_run_on(memory: Any, search: Any) -> None:
    """Only the sentences that the winner has beyond the prompt it replaced, and only once its run has ended."""
    other = replace(memory.rules.skill, name=SkillName("other"))
    with memory.write() as session:
        prompts.note_version(session, other, "Name it.\n---\n{{a}}\n", memory.now)
        session.add(
            RunRow(
                skill_name="other", kind=RunKind.EVOLUTION, trigger="test", seed=1, rules="{}", version=1, created_at=memory.now,
                ended_at=memory.now,
            )
        )  # fmt: skip
        session.flush()
        won = session.scalars(select(RunRow).where(RunRow.skill_name == "other")).one()
        session.add(
            VariantRow(
                run_id=won.id, ordinal=1, skill_name="other", prompt_text="Name it. Answer with one word only. See https://x.example now.",
                text_sha="x", generation=1, mutation_type=MutationType.DIRECT, fate=Fate.WINNER, created_at=memory.now,
            )
        )  # fmt: skip
        session.flush()
        version = session.scalars(select(PromptVersionRow).where(PromptVersionRow.skill_name == "other")).one()
        session.add(
            PromptVersionRow(
                skill_name="other", version=2, template="other.md", text="x", sha="x", created_at=memory.now, active=True,
                variant_id=session.scalars(select(VariantRow.variant_id).where(VariantRow.run_id == won.id)).one(),
            )
        )  # fmt: skip
        version.active = False
        session.flush()
        mine = session.get_one(RunRow, search.run)
        known = searches.foreign_rules(session, mine)
        own = searches.foreign_rules(session, won)
        won.ended_at = None
        session.flush()
        open_yet = searches.foreign_rules(session, mine)
        won.ended_at = memory.now
        for row in session.scalars(select(PromptVersionRow).where(PromptVersionRow.skill_name == "other")):
            row.active = row.version == 1
        session.flush()
        rolled_back = searches.foreign_rules(session, mine)

    assert known == ("Answer with one word only.",)
    assert own == open_yet == rolled_back == ()
    assert mine.skill_name == SKILL


def test_what_is_odd_about_a_draft_stays_with_it(memory: Any, search: Any) -> None:
    """Its writer's certainty and its flags come back as they were saved."""
    odd = Draft(
        instruction="Name it. I hope this helps.", kind=MutationType.DIRECT, reasoning="why", mean_logprob=-0.5,
        min_logprob=-6.25, flags=("chatter (a closing)", "relevance (0.01 like its parent; at least 0.06)"),
    )  # fmt: skip
    child = Member(ordinal=0, slot=0, generation=0, parent=None, second_parent=None, mutation=None, draft=odd)
    decision = MutateDecision(
        next=Stage.MUTATE, generation=0, children=(child,), mutation_prompts=(), tally=(), stale=0, best_fitness=0.0,
        finalists=(), reason="",
    )  # fmt: skip
    with memory.write() as session:
        save_mutate(session, search, decision, memory.now)
    with memory.maker() as session:
        (found,) = searches.members(session, search.run)

    assert found.draft == odd
