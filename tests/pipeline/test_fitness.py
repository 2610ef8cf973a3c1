"""Running a prompt on labelled samples: the same chance for everybody, and nothing that breaks ends the search."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from pipeline.domain import SampleId
from pipeline.fitness import Item, evaluate, task_request
from pipeline.flow import Failed, FailureKind, Generate, Scored, ScoreOutside, drive
from pipeline.skills import PromptTemplate

TEMPLATE = PromptTemplate("Name it.", "Text: {{text}}")
ITEMS = tuple(Item(sample=SampleId(i), fields=(("text", f"{i}"),), expected=f"name-{i}") for i in range(3))


def test_each_item_is_scored_by_itself(rules_with: Callable[..., Any], say: Any) -> None:
    """Right answers are 1, others 0, and the mean is over all items."""
    replies = iter([say("name-0"), say("wrong"), say("name-2")])

    result = drive(evaluate(rules_with(), TEMPLATE, ITEMS, 1), lambda _: next(replies))

    assert (result.values, result.correct, result.spent_out) == ((1.0, 0.0, 1.0), (True, False, True), False)
    assert result.mean == pytest.approx(2 / 3)


@pytest.mark.parametrize("kind", [k for k in FailureKind if k is not FailureKind.BUDGET])
def test_a_failed_call_is_a_wrong_answer(rules_with: Callable[..., Any], say: Any, kind: FailureKind) -> None:
    """Whatever the reason, the item counts as lost and the next one is run."""
    replies = iter([Failed(kind=kind), say("name-1"), say("name-2")])

    assert drive(evaluate(rules_with(), TEMPLATE, ITEMS, 1), lambda _: next(replies)).correct == (False, True, True)


def test_the_end_of_the_budget_ends_the_evaluation(rules_with: Callable[..., Any], say: Any) -> None:
    """What was measured up to there is marked as not to be compared, and nothing more is asked."""
    replies = iter([say("name-0"), Failed(kind=FailureKind.BUDGET)])

    result = drive(evaluate(rules_with(), TEMPLATE, ITEMS, 1), lambda _: next(replies))

    assert (result.values, result.correct, result.spent_out) == ((1.0,), (True,), True)


def test_without_items_the_mean_is_zero(rules_with: Callable[..., Any]) -> None:
    """Nothing measured is nothing shown."""
    result = drive(evaluate(rules_with(), TEMPLATE, (), 1), lambda _: pytest.fail("asked"))

    assert (result.mean, result.correct) == (0.0, ())


def test_a_scorer_outside_is_asked_for_each_answer(rules_with: Callable[..., Any], say: Any) -> None:
    """The skill's own scorer gets output, expected and input; one that breaks scores 0."""
    rules, asked = rules_with(), []
    rules = replace(rules, skill=replace(rules.skill, scorer="python:mine:score"))

    def answer(request: Any) -> Any:
        if isinstance(request, Generate):
            return say("something")
        asked.append(request)
        return Failed(kind=FailureKind.REJECTED) if len(asked) == 2 else Scored(value=0.6)

    result = drive(evaluate(rules, TEMPLATE, ITEMS, 1), answer)

    assert asked[0] == ScoreOutside(
        scorer="python:mine:score", output="something", expected="name-0", fields=(("text", "0"),)
    )
    assert (result.values, result.correct) == ((0.6, 0.0, 0.6), (True, False, True))


def test_a_request_carries_the_skills_own_limits(rules_with: Callable[..., Any]) -> None:
    """Tokens, temperature and schema are the skill's; a field that the input lacks is empty."""
    rules = rules_with()
    rules = replace(rules, skill=replace(rules.skill, num_predict=7, temperature=0.3, schema='{"type":"object"}'))

    request = task_request(rules, PromptTemplate("Do.", "A: {{a}} B: {{b}}"), (("b", "x {{a}}"),), 5)

    assert (request.sampling.num_predict, request.sampling.temperature, request.sampling.seed) == (7, 0.3, 5)
    assert request.schema == '{"type":"object"}'
    assert request.prompt == "Do.\n---\nA:  B: x {{a}}"


def test_a_scorer_that_never_works_is_given_up_with_its_own_words(rules_with: Callable[..., Any], say: Any) -> None:
    """After so many first failures nothing more is asked; one answer that could be scored keeps it going."""
    rules = rules_with()
    rules = replace(rules, skill=replace(rules.skill, scorer="python:mine:score"))
    asked: list[Any] = []

    def answer(request: Any) -> Any:
        if isinstance(request, Generate):
            asked.append(request)
            return say("something")
        return Failed(kind=FailureKind.REJECTED, message="it crashed")

    result = drive(evaluate(rules, TEMPLATE, ITEMS, 1, give_up=2), answer)

    assert (result.spent_out, result.trouble, len(asked)) == (True, "it crashed", 2)
    assert not drive(evaluate(rules, TEMPLATE, ITEMS, 1), answer).trouble
