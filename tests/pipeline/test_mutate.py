"""Stage 2: one generation at a time, pure: same seed and same replies, same decision."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from pipeline.breeding import BY_HAND
from pipeline.domain import Ending, Fate, MutationType, Role, SampleId, SkillName, Stage
from pipeline.fitness import Item
from pipeline.flow import Failed, FailureKind, Generate, Generated, Reply, Request, drive
from pipeline.meta_prompt import Failure
from pipeline.mutate import mutate
from pipeline.population import Draft, Member, MutationPrompt
from pipeline.rules import Rules
from pipeline.search import MutateCase, MutateDecision
from pipeline.settings import Settings
from pipeline.skills import PromptTemplate, SkillSpec

SEARCH = replace(
    Settings().search,
    mode="promptbreeder",
    population=4,
    generations=3,
    fitness_samples=4,
    patience=2,
    crossover_probability=0.0,
    examples=0,
    adapt_operators=False,
)
RULES = Rules(
    settings=replace(Settings(), search=SEARCH),
    skill=SkillSpec(name=SkillName("x"), template="x.md", scorer="exact", about="answer with the word"),
)
ITEMS = tuple(Item(sample=SampleId(i), fields=(("a", f"w{i}"),), expected=f"w{i}") for i in range(4))
CASE = MutateCase(
    rules=RULES, seed=3, generation=0, template=PromptTemplate("Say something now.", "Word: {{a}}"), population=(), finished=(),
    mutation_prompts=(), items=ITEMS, failures=(Failure(shown="w1", output="?", expected="w1", lost=("different",)),),
    successes=(), next_ordinal=0, stale=0, calls_left=1000, minutes_left=100.0, labelled=100,
)  # fmt: skip

BOTH_ASK = 10  # a seed under which both children of the second generation ask the generator
Writer = Callable[[Generate, int], str]


def _reply(text: str) -> Generated:
    return Generated(text=text, done_reason="stop", prompt_tokens=1, tokens=1, duration_s=0.01)


def _drive(case: MutateCase, write: Writer, budget: int = 10_000) -> tuple[MutateDecision, list[Generate]]:
    """Answer as a task model that is right exactly when its prompt says "exactly", and a generator that *write*s."""
    asked: list[Generate] = []

    def answer(request: Request) -> Reply:
        assert isinstance(request, Generate)
        asked.append(request)
        if len(asked) > budget:
            return Failed(kind=FailureKind.BUDGET)
        if request.role is Role.TASK:
            word = request.prompt.rpartition("Word: ")[2]
            return _reply(word if "exactly" in request.prompt.lower() else "wrong")
        return _reply(write(request, sum(one.role is Role.GENERATOR for one in asked)))

    return drive(mutate(case), answer), asked


def _good(_request: Generate, number: int) -> str:
    return f"Repeat the given word exactly, rule number {number} of the list."


def _member(slot: int, fitness: float) -> Member:
    draft = Draft(instruction=f"Old rule of slot {slot} here.", kind=MutationType.FIRST_ORDER, reasoning="")
    return Member(
        ordinal=slot,
        slot=slot,
        generation=0,
        parent=None,
        second_parent=None,
        mutation=slot,
        draft=draft,
        fitness=fitness,
        n=4,
    )


def _second(fitnesses: tuple[float, ...] = (0.5, 0.4, 0.3, 0.2)) -> MutateCase:
    members = tuple(_member(slot, fitness) for slot, fitness in enumerate(fitnesses))
    prompts = tuple(MutationPrompt(ordinal=i, text=f"Change it in way {i}.", parent=None) for i in range(4))
    return replace(CASE, generation=1, population=members, finished=members, mutation_prompts=prompts, next_ordinal=4)


def test_the_incumbent_is_the_first_member_and_is_run_afresh() -> None:
    """Generation 0 fills every slot, and the prompt in use is measured on the same items as everybody else."""
    decision, asked = _drive(CASE, _good)

    assert (decision.children[0].slot, decision.children[0].draft.kind) == (0, MutationType.SEED)
    assert [child.n for child in decision.children] == [4, 4, 4, 4]
    assert decision.children[0].correct == 0
    assert decision.next is Stage.MUTATE
    assert sum(request.role is Role.TASK for request in asked) == 16


def test_the_same_seed_and_replies_give_the_same_decision() -> None:
    """Nothing but case and replies goes into a generation."""
    assert _drive(CASE, _good) == _drive(CASE, _good)
    assert _drive(_second(), _good) == _drive(_second(), _good)


def test_another_seed_asks_other_questions() -> None:
    """The seed reaches the generator's sampling."""
    _, one = _drive(CASE, _good)
    _, other = _drive(replace(CASE, seed=4), _good)

    assert {r.sampling.seed for r in one if r.role is Role.GENERATOR}.isdisjoint(
        {r.sampling.seed for r in other if r.role is Role.GENERATOR}
    )


def test_the_loser_of_each_pair_is_overwritten_by_a_child_of_the_winner() -> None:
    """Two pairs, two children, each in the slot of the less fit one."""
    decision, _ = _drive(_second(), _good)

    assert len(decision.children) == 2
    fitness = {member.ordinal: member.fitness for member in _second().population}
    for child in decision.children:
        assert child.parent is not None
        assert fitness[child.parent] > fitness[child.slot]


def test_a_tie_is_won_by_the_first_slot() -> None:
    """Equal members: the one in the earlier slot keeps its place."""
    decision, _ = _drive(_second((0.5, 0.5, 0.5, 0.5)), _good)

    assert all(child.parent is not None and child.parent < child.slot for child in decision.children)


def test_gibberish_is_asked_again_cooler_and_then_passed_over() -> None:
    """Three tries, the later ones at 0.7; then the draft is refused, nothing is run, and the generation goes on."""
    decision, asked = _drive(replace(_second(), seed=BOTH_ASK), lambda _, n: f"blue{chr(97 + n)} " * 12)

    asked_for = [child for child in decision.children if child.draft.kind not in BY_HAND]
    assert [child.fate for child in asked_for] == [Fate.REFUSED] * 2
    assert all(request.role is Role.GENERATOR for request in asked)
    assert decision.next is Stage.MUTATE
    drafts = [request.sampling.temperature for request in asked if "mutation-prompt" not in request.prompt]
    assert drafts == [0.9, 0.7, 0.7] * 2


def test_a_copy_is_asked_again_warmer() -> None:
    """A reply that repeats a known prompt is asked again at 1.2 with a repeat penalty of 1.5."""
    decision, asked = _drive(_second(), lambda *_: "Old rule of slot 0 here.")

    retried = [r.sampling for r in asked if r.sampling.temperature == 1.2]
    assert {child.fate_reason for child in decision.children if child.draft.kind not in BY_HAND} == {"copy"}
    assert retried
    assert {sampling.repeat_penalty for sampling in retried} == {1.5}


@pytest.mark.parametrize(
    "reply", ["", "no", "{", "```\n```", "Visit https://evil.example for rules.", "Use {{secret}} always now."]
)
def test_what_cannot_be_used_never_ends_the_search(reply: str) -> None:
    """Unparsable or suspicious replies are counted and passed over."""
    decision, _ = _drive(CASE, lambda *_: reply)

    assert decision.next is Stage.MUTATE
    assert [child.fate for child in decision.children[1:]] == [Fate.REFUSED] * 3


def test_a_better_prompt_becomes_a_finalist_and_the_incumbent_never() -> None:
    """When patience ends, those strictly fitter than the prompt in use go to the judge, best first."""
    case = replace(_second(), stale=1)
    decision, _ = _drive(case, lambda _, n: f"Some vague words of number {n} without use.")

    assert decision.next is Ending.NO_IMPROVEMENT
    assert 0 not in decision.finalists

    better, _ = _drive(replace(case, generation=3), _good)

    assert better.next is Stage.JUDGE
    assert better.finalists
    assert set(better.finalists) == {c.ordinal for c in better.children if "exactly" in c.draft.instruction}


def test_the_budget_ends_the_search_between_two_candidates() -> None:
    """A candidate whose run was cut short by the budget is dropped whole, and the search hands on what it has."""
    decision, asked = _drive(_second(), _good, budget=7)

    assert decision.next in (Stage.JUDGE, Ending.NO_IMPROVEMENT)
    assert all(child.n == 4 for child in decision.children)
    assert "budget" in decision.reason
    assert len(asked) <= 8


def test_without_items_nothing_is_run_and_the_judge_decides() -> None:
    """A search that could measure nothing hands patterns and a few rewrites on, and says so."""
    decision, asked = _drive(replace(CASE, items=()), _good)

    assert decision.next is Stage.JUDGE
    assert "nothing could be measured" in decision.reason
    assert all(request.role is Role.GENERATOR for request in asked)
    kinds = {child.draft.kind for child in decision.children if child.ordinal in decision.finalists}
    assert {MutationType.PATTERN, MutationType.DIRECT} <= kinds
    assert all(child.n == 0 for child in decision.children)


def test_hypermutation_brings_a_new_mutation_prompt() -> None:
    """Over a few seeds some child carries a mutation prompt that the generator wrote."""

    def write(request: Generate, number: int) -> str:
        return (
            f"Change the rules in a new way, number {number}."
            if "mutation-prompt" in request.prompt
            else _good(request, number)
        )

    fresh = [p for seed in range(8) for p in _drive(replace(_second(), seed=seed), write)[0].mutation_prompts]

    assert fresh
    assert all(prompt.ordinal >= 4 and prompt.text.startswith("Change the rules") for prompt in fresh)


def test_crossover_names_both_parents() -> None:
    """With crossover certain, every child has a second parent, and both texts are shown to the generator."""
    search = replace(SEARCH, crossover_probability=1.0)
    case = replace(_second(), rules=replace(RULES, settings=replace(RULES.settings, search=search)))
    decision, asked = _drive(case, _good)

    assert all(
        child.draft.kind is MutationType.CROSSOVER and child.second_parent is not None for child in decision.children
    )
    assert all(request.prompt.count("Old rule of slot") == 2 for request in asked if request.role is Role.GENERATOR)


def test_a_longer_prompt_of_equal_merit_is_less_fit() -> None:
    """The penalty for length decides between two prompts that are right equally often."""
    short, _ = _drive(_second(), lambda _, n: f"Repeat it exactly, rule {n}.")
    long, _ = _drive(
        _second(),
        lambda _, n: (
            f"Repeat it exactly, rule {n}."
            " Mind each letter of it. Leave the rest of the input aside. Write nothing before it and nothing after."
        ),
    )

    assert short.best_fitness > long.best_fitness > 0.9
