"""`promptbreeder` mode: bred first and run after, on the same samples, and confirmed at the end like a race."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from pipeline.confirm import confirm_items
from pipeline.domain import Ending, Fate, MutationType, Role, SampleId, Stage
from pipeline.examples import example, join
from pipeline.fitness import Item
from pipeline.flow import Generate, drive
from pipeline.mutate import mutate
from pipeline.population import Draft, Member, MutationPrompt, Outcome
from pipeline.search import MutateCase
from pipeline.skills import PromptTemplate

FRESH = 100
TEMPLATE = PromptTemplate("Name the picture well.", "Text: {{text}}")
ITEMS, CONFIRMING = (
    tuple(Item(sample=SampleId(i), fields=(("text", f"picture {i}"),), expected=f"name-{i}") for i in numbers)
    for numbers in (range(10), range(FRESH, FRESH + 40))
)
PROMPTS = tuple(MutationPrompt(ordinal=i, text=f"Make it shorter, please, in way {i}.", parent=None) for i in range(4))


def member(ordinal: int, right: int, text: str = "") -> Member:
    """A member that was right on the first samples."""
    outcomes = tuple(
        Outcome(sample=item.sample, value=float(i < right), correct=i < right) for i, item in enumerate(ITEMS)
    )
    draft = Draft(instruction=text or f"Member {ordinal} says this.", kind=MutationType.FIRST_ORDER, reasoning="")
    return Member(
        ordinal=ordinal, slot=ordinal, generation=0, parent=None, second_parent=None, mutation=ordinal, draft=draft,
        fitness=right / 10, correct=right, n=10, outcomes=outcomes,
    )  # fmt: skip


Make = Callable[..., MutateCase]


@pytest.fixture(name="case")
def _case(rules_with: Callable[..., Any]) -> Make:
    """Return a maker of cases: a generation of four members in `promptbreeder` mode."""

    def make(**changes: Any) -> MutateCase:
        search = {"mode": "promptbreeder", "population": 4, "budget_calls": 640} | changes.pop("search", {})
        members = (member(0, 5, TEMPLATE.instruction), member(1, 8), member(2, 4), member(3, 3))
        base = MutateCase(
            rules=rules_with(search=search), seed=11, generation=1, template=TEMPLATE, population=members, finished=members,
            mutation_prompts=PROMPTS, items=ITEMS, failures=(), successes=(), next_ordinal=4, stale=0, calls_left=600,
            minutes_left=600.0, confirm_items=CONFIRMING, labelled=200,
        )  # fmt: skip
        return replace(base, **changes)

    return make


def worker(models: Any, asked: list[Generate], fresh: dict[str, float]) -> Any:
    """A task model that is right on a share of the fresh samples, by words in the instruction; it remembers what it is asked."""

    def quality(instruction: str) -> float:
        return next((share for text, share in fresh.items() if text in instruction), 0.0)

    answers = models(lambda _, n: f"Use the first {n + 2} words of the text as its name.", quality)

    def answer(request: Any) -> Any:
        asked.append(request)
        instruction, _, rest = request.prompt.rpartition("\n---\n")
        if request.role is Role.TASK and (number := int(rest.split()[-1])) >= FRESH:
            reply = answers(request)
            right = number - FRESH < len(CONFIRMING) * quality(instruction)
            return replace(reply, text=f"name-{number}" if right else "wrong")
        return answers(request)

    return answer


@pytest.mark.parametrize("generation", [0, 1])
def test_all_children_are_bred_before_any_is_run(case: Make, models: Any, generation: int) -> None:
    """The generator is loaded once per visit; in the first one after the incumbent's run."""
    first = {"population": (), "finished": (), "mutation_prompts": (), "next_ordinal": 0}
    asked: list[Generate] = []

    drive(mutate(case(generation=generation, **({} if generation else first))), worker(models, asked, {}))

    roles = [request.role for request in asked]
    changes = [(one, other) for one, other in pairwise(roles) if one is not other]
    assert changes == [(Role.TASK, Role.GENERATOR), (Role.GENERATOR, Role.TASK)][generation:]


def test_a_visit_that_goes_on_touches_no_fresh_sample(case: Make, models: Any) -> None:
    """They are for the end alone."""
    asked: list[Generate] = []

    decision = drive(mutate(case()), worker(models, asked, {}))

    assert decision.next is Stage.MUTATE
    assert not [r for r in asked if r.role is Role.TASK and int(r.prompt.split()[-1]) >= FRESH]


def ended(case: Make, models: Any, fresh: dict[str, float]) -> Any:
    """Make the last visit, in which nothing new is better, and return its decision and what was asked."""
    asked: list[Generate] = []
    here = case(stale=5, search={"patience": 6})

    return drive(mutate(here), worker(models, asked, fresh)), asked, here


def test_the_end_confirms_on_every_fresh_sample(case: Make, models: Any) -> None:
    """One that was ahead in the search and is ahead on fresh samples is handed on, beside the incumbent's outcomes."""
    decision, asked, here = ended(case, models, {"Name the picture": 0.5, "Member 1": 1.0})

    fresh = {int(item.sample) for item in confirm_items(here)}
    assert (decision.next, decision.finalists[0]) == (Stage.JUDGE, 1)
    assert {ordinal: {int(o.sample) for o in found} for ordinal, found in decision.confirmed} == {0: fresh, 1: fresh}
    late = [r for r in asked if r.role is Role.TASK and int(r.prompt.split()[-1]) >= FRESH]
    assert late == asked[-len(late) :]


def test_the_end_refutes_what_only_looked_better(case: Make, models: Any) -> None:
    """It stays in the table as unconfirmed, with the reason, and the run ends without a judge."""
    decision, _, _ = ended(case, models, {"Name the picture": 0.5, "Member 1": 0.2})

    assert (decision.next, decision.finalists) == (Ending.NO_IMPROVEMENT, ())
    assert "held up on fresh samples" in decision.reason
    assert [(ordinal, fate) for ordinal, fate, _ in decision.changed] == [(1, Fate.UNCONFIRMED)]
    assert "worse on" in decision.changed[0][2]


def test_a_child_is_not_run_on_the_sample_that_it_carries(case: Make, models: Any) -> None:
    """A winner with an example hands it on, or another one; whichever stands in a prompt is not asked of it."""
    text = join("Name it so, please.", [example(TEMPLATE, ITEMS[3])])
    strong = replace(member(1, 9), draft=replace(member(1, 9).draft, instruction=text))
    pair = (member(0, 1, TEMPLATE.instruction), strong)
    asked: list[Generate] = []
    for seed in range(8):
        here = case(seed=seed, population=pair, finished=pair, search={"population": 2, "examples": 2})
        drive(mutate(here), worker(models, asked, {}))

    carried = [request.prompt.rpartition("\n---\n") for request in asked if "<<<EXAMPLE" in request.prompt]
    assert carried
    assert not [rest for instruction, _, rest in carried if f"{rest} name" in instruction]


def test_the_operators_are_tallied_as_in_a_race(case: Make, models: Any) -> None:
    """One use for each child that was run."""
    decision = drive(mutate(case()), worker(models, [], {}))

    ran = [child for child in decision.children if child.n]
    assert ran
    assert sum(tally.applied for tally in decision.operators) == len(ran)
    assert {tally.name for tally in decision.operators} == {str(child.draft.kind) for child in ran}
