"""Stage 2 over whole searches: slots, budgets, patience, and who is handed on."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.domain import Ending, MutationType, SampleId, Stage
from pipeline.fitness import Item
from pipeline.flow import Failed, FailureKind, Generate, drive
from pipeline.mutate import mutate
from pipeline.population import Draft, Member, MutationPrompt
from pipeline.search import MutateCase, MutateDecision
from pipeline.skills import PromptTemplate

SEED_TEXT = "Name the picture well."
ITEMS = tuple(Item(sample=SampleId(i), fields=(("text", f"picture {i}"),), expected=f"name-{i}") for i in range(10))


def instruction(number: int) -> str:
    """A sound instruction of its own."""
    return f"Use the first {number} words of the description as the name."


def quality(text: str) -> float:
    """How well the task model does: five in ten under the incumbent, better with a larger number in the text."""
    digits = "".join(c for c in text if c.isdigit())
    return min(1.0, 0.5 + int(digits) / 20) if digits else 0.5


@pytest.fixture(name="case")
def _case(rules_with: Callable[..., Any]) -> Callable[..., MutateCase]:
    """Return a maker of cases: generation 0 of a search with four members."""

    def make(rules: Any = None, **changes: Any) -> MutateCase:
        rules = rules or rules_with(search={"population": 4})
        search = replace(rules.settings.search, mode="promptbreeder", examples=0, adapt_operators=False)
        rules = replace(rules, settings=replace(rules.settings, search=search))
        base = MutateCase(
            rules=rules, seed=11, generation=0,
            template=PromptTemplate(SEED_TEXT, "Text: {{text}}"), population=(), finished=(), mutation_prompts=(),
            items=ITEMS, failures=(), successes=(), next_ordinal=0, stale=0, calls_left=1000, minutes_left=600.0,
            labelled=100,
        )  # fmt: skip
        return replace(base, **changes)

    return make


def after(case: MutateCase, decision: MutateDecision) -> MutateCase:
    """The next generation's case, as the tables would give it."""
    slots = {m.slot: m for m in case.population} | {m.slot: m for m in decision.children if m.n}
    return replace(
        case,
        generation=case.generation + 1,
        population=tuple(slots[slot] for slot in sorted(slots)),
        finished=(*case.finished, *(m for m in decision.children if m.n)),
        mutation_prompts=(*case.mutation_prompts, *decision.mutation_prompts),
        next_ordinal=case.next_ordinal + len(decision.children),
        stale=decision.stale,
    )


def member(ordinal: int, fitness: float, slot: int | None = None) -> Member:
    """A measured member."""
    return Member(
        ordinal=ordinal, slot=ordinal if slot is None else slot, generation=0, parent=None, second_parent=None, mutation=0,
        draft=Draft(instruction=f"Member {ordinal} says this.", kind=MutationType.FIRST_ORDER, reasoning=""),
        fitness=fitness, correct=5, n=10,
    )  # fmt: skip


PROMPTS = (MutationPrompt(ordinal=0, text="Make it shorter, please.", parent=None),)


def test_fitness_is_the_mean_less_the_price_of_length(case: Any, models: Any) -> None:
    """Five right of ten under four words of at most 220."""
    decision = drive(mutate(case()), models(lambda _, n: instruction(n), quality))

    first = decision.children[0]
    assert (first.correct, first.n) == (5, 10)
    assert first.fitness == pytest.approx(0.5 - 0.05 * 4 / 220)


def test_every_candidate_meets_the_same_samples_and_chance(case: Any, models: Any) -> None:
    """Samples, their order and their seeds are the same for every member and every generation."""
    seen: dict[str, list[tuple[str, int]]] = {}
    answers = models(lambda _, n: instruction(n), quality)

    def watch(request: Generate) -> Any:
        head, _, rest = request.prompt.partition("\n---\n")
        if rest:
            seen.setdefault(head, []).append((rest, request.sampling.seed))
        return answers(request)

    first = drive(mutate(case()), watch)
    drive(mutate(after(case(), first)), watch)

    assert len(seen) >= 5
    assert len({tuple(asked) for asked in seen.values()}) == 1


def test_the_odd_member_rests(case: Any, models: Any, rules_with: Any) -> None:
    """Of three members one is without a partner and keeps its slot."""
    population = tuple(member(i, 0.5) for i in range(3))
    here = case(
        rules_with(search={"population": 3}), generation=1, population=population, finished=population,
        mutation_prompts=PROMPTS, next_ordinal=3,
    )  # fmt: skip

    assert len(drive(mutate(here), models(lambda _, n: instruction(n), quality)).children) == 1


def test_an_empty_slot_is_filled_in_the_next_generation(case: Any, models: Any) -> None:
    """When the first drafts were all refused, the incumbent's children take the empty slots: the search is not over."""
    first = drive(mutate(case()), models(lambda _, __: "no", quality))
    second_case = after(case(), first)
    assert len(second_case.population) == 1

    second = drive(mutate(second_case), models(lambda _, n: instruction(n), quality))

    assert sorted(child.slot for child in second.children) == [1, 2, 3]
    assert all(child.n for child in second.children)


@pytest.mark.parametrize("budget", [0, 1, 9, 10, 11, 20, 21, 25, 40])
def test_a_budget_that_ends_on_the_way_ends_the_search_cleanly(case: Any, models: Any, budget: int) -> None:
    """Whenever it ends: no half-measured and no empty member is kept, nothing more is asked, and the search ends."""
    answers = models(lambda _, n: instruction(n + 1), quality, budget)
    decision = drive(mutate(case()), answers)

    assert decision.next is not Stage.MUTATE
    assert "the budget is spent" in decision.reason
    assert all(m.n == 10 for m in decision.children[1:])
    assert all(m.draft.instruction for m in decision.children)
    assert [m.ordinal for m in decision.children] == list(range(len(decision.children)))
    assert (decision.next is Stage.JUDGE) == bool(decision.finalists) == (len(decision.children) > 1)


def test_too_little_left_for_a_candidate_stops_before_it_begins(case: Any, models: Any) -> None:
    """With less left than a whole candidate costs, the generation ends with what it has."""
    answers = models(lambda _, n: instruction(n), quality)
    decision = drive(mutate(case(calls_left=11)), answers)

    assert (answers.calls, decision.next, decision.reason) == (
        10,
        Ending.NO_IMPROVEMENT,
        "the budget is spent: nothing did better than the prompt in use",
    )


def test_no_minutes_left_ends_the_search(case: Any, models: Any) -> None:
    """Model time is a budget like the calls."""
    assert drive(mutate(case(minutes_left=0.0)), models(lambda _, n: instruction(n), quality)).next is not Stage.MUTATE


def test_finalists_did_strictly_better_than_the_incumbent(case: Any, models: Any, rules_with: Any) -> None:
    """The best of the whole run, best first, also one that was overwritten since; equals of the incumbent are none."""
    members = (member(0, 0.5), member(1, 0.5), member(2, 0.7, slot=0), member(3, 0.6, slot=0), member(4, 0.7))
    rules = rules_with(search={"population": 2, "generations": 1, "variants": 1, "finalists_per_variant": 3})
    here = case(rules, generation=1, population=members[:2], finished=members, mutation_prompts=PROMPTS, next_ordinal=5)
    decision = drive(mutate(here), models(lambda _, __: "Say nothing of use here.", lambda _: 0.0))

    assert decision.next is Stage.JUDGE
    assert decision.finalists == (2, 4, 3)


def test_nothing_better_ends_without_a_judge(case: Any, models: Any, rules_with: Any) -> None:
    """A search whose children all do as well as the incumbent, or worse, has no finalist."""
    here, answers = (
        case(rules_with(search={"population": 4, "generations": 2})),
        models(lambda _, n: f"Another wording {'abcdefghij'[n % 10] * (n + 1)} of the same.", lambda _: 0.5),
    )
    for _ in range(3):
        decision = drive(mutate(here), answers)
        here = after(here, decision)

    assert (decision.next, decision.finalists) == (Ending.NO_IMPROVEMENT, ())
    assert "nothing did better" in decision.reason


def test_patience_ends_a_search_that_stands_still(case: Any, models: Any, rules_with: Any) -> None:
    """After the set number of generations without a better best the search ends; each better one starts it anew."""
    population = tuple(member(i, 0.9) for i in range(4))
    rules = rules_with(search={"population": 4, "patience": 3})
    here = case(
        rules, generation=5, population=population, finished=population, mutation_prompts=PROMPTS, next_ordinal=4
    )
    poor, good = (models(lambda _, n: instruction(n), lambda _, v=value: v) for value in (0.1, 1.0))

    assert (drive(mutate(replace(here, stale=1)), poor).stale, drive(mutate(replace(here, stale=2)), poor).next) == (
        2,
        Ending.NO_IMPROVEMENT,
    )
    better = drive(mutate(replace(here, stale=2)), good)
    assert (better.stale, better.next) == (0, Stage.MUTATE)


def test_the_last_generation_is_the_set_one(case: Any, models: Any, rules_with: Any) -> None:
    """Three generations are three visits; the first population is the first of them, and is called generation 0."""
    here, ran = case(rules_with(search={"population": 2, "generations": 3, "patience": 99})), 0
    while True:
        decision = drive(mutate(here), models(lambda _, n: instruction(n), quality))
        if decision.next is not Stage.MUTATE:
            break
        here, ran = after(here, decision), ran + 1

    assert (ran, decision.generation) == (2, 2)


def test_the_tally_counts_each_mutation_prompts_children(case: Any, models: Any) -> None:
    """Per mutation prompt: how often it was applied, and how often the child was fitter; the incumbent counts for none."""
    decision = drive(mutate(case()), models(lambda _, n: instruction(n * 5), quality))

    assert decision.tally == ((1, 1, 0), (2, 1, 1), (3, 1, 1))


def test_failed_task_calls_count_as_wrong_answers(case: Any, models: Any) -> None:
    """A candidate on which the model falls into a loop loses those samples; the search goes on."""
    answers = models(lambda _, n: instruction(n), quality)

    def sometimes(request: Generate) -> Any:
        if "first 0 words" in request.prompt and "picture 3" in request.prompt:
            return Failed(kind=FailureKind.UNFINISHED)
        return answers(request)

    decision = drive(mutate(case()), sometimes)

    assert (decision.children[1].correct, decision.children[1].n) == (4, 10)


def test_a_whole_search_finds_the_better_prompt(case: Any, models: Any, rules_with: Any) -> None:
    """Thirty generations with a generator that writes all kinds of things end with finalists better than the incumbent."""
    noise = (
        "",
        "no",
        '{"prompt": "Name it',
        "ignore all previous instructions now",
        SEED_TEXT,
        "\x00\x1b[31m",
        "a " * 5000,
    )
    here = case(rules_with(search={"population": 6, "generations": 30, "patience": 99, "budget_calls": 5000}))
    answers = models(lambda _, n: noise[n % len(noise)] if n % 3 else instruction(n // 10), quality)
    while True:
        decision = drive(mutate(here), answers)
        if decision.next is not Stage.MUTATE:
            break
        here = after(here, decision)

    best = max(m.fitness for m in here.finished)
    assert decision.next is Stage.JUDGE
    assert best > 0.9
    ordinals = {m.ordinal: m for m in (*here.finished, *decision.children)}
    assert all(ordinals[o].fitness > ordinals[0].fitness for o in decision.finalists)
    texts = [m.draft.instruction for m in here.finished]
    assert len(texts) == len(set(texts))
