"""A search without labelled samples: patterns and rewrites for judge and votes, and nothing is run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.domain import Ending, Fate, MutationType, Role, Stage
from pipeline.flow import Failed, FailureKind, Generate, Reply, drive
from pipeline.meta_prompt import Failure
from pipeline.mutate import mutate
from pipeline.search import MutateCase, MutateDecision
from pipeline.skills import PromptTemplate

FAILURES = (Failure(shown="text: a red bus", output="IMG 1", expected="", lost=("case",)),)
SEED_TEXT = "Name the picture well, please."
Unmeasured = Callable[..., tuple[MutateDecision, list[Generate]]]


def rule(number: int) -> str:
    """A sound instruction of its own."""
    return f"Name the picture by the first {number + 2} words of its text."


@pytest.fixture(name="bred")
def _bred(rules_with: Callable[..., Any], say: Any) -> Unmeasured:
    """Return a function that makes a visit without samples; *write* says what the generator answers, by number."""

    def run(
        write: Callable[[int], str] = rule,
        *,
        budget: float = 10**9,
        search: dict[str, Any] | None = None,
        **changes: Any,
    ) -> tuple[MutateDecision, list[Generate]]:
        case = MutateCase(
            rules=rules_with(search=search or {}), seed=5, generation=0,
            template=PromptTemplate(SEED_TEXT, "Text: {{text}}"), population=(), finished=(), mutation_prompts=(), items=(),
            failures=FAILURES, successes=(), next_ordinal=0, stale=0, calls_left=100, minutes_left=60.0,
        )  # fmt: skip
        asked: list[Generate] = []

        def answer(request: Any) -> Reply:
            if len(asked) >= budget:
                return Failed(kind=FailureKind.BUDGET)
            asked.append(request)
            reply: Reply = say(write(len(asked) - 1))
            return reply

        return drive(mutate(replace(case, **changes)), answer), asked

    return run


def test_finalists_are_the_children_that_were_not_refused(bred: Unmeasured) -> None:
    """The incumbent is remembered but not handed on; nobody is measured, and the task model is not asked."""
    decision, asked = bred()

    assert decision.next is Stage.JUDGE
    assert decision.children[0].draft.instruction == SEED_TEXT
    assert decision.finalists == tuple(m.ordinal for m in decision.children[1:] if m.fate is Fate.ALIVE)
    assert [m.ordinal for m in decision.children] == list(range(len(decision.children)))
    assert all(m.n == 0 and not m.outcomes for m in decision.children)
    assert all(request.role is Role.GENERATOR for request in asked)
    assert f"{len(decision.finalists)} finalists" in decision.reason


def test_half_come_from_the_pattern_library(bred: Unmeasured) -> None:
    """The others are rewritten from the log's failures, or by a mutation prompt where there are none."""
    kinds = [m.draft.kind for m in bred()[0].children[1:]]
    without = [m.draft.kind for m in bred(failures=())[0].children[1:]]

    assert kinds.count(MutationType.PATTERN) == len(kinds) // 2
    assert {kinds.count(MutationType.DIRECT), kinds.count(MutationType.FIRST_ORDER)} == {len(kinds) // 4}
    assert set(without) == {MutationType.PATTERN, MutationType.FIRST_ORDER}


@pytest.mark.parametrize(("variants", "each"), [(1, 1), (2, 3), (3, 4), (10, 20)])
def test_no_more_are_bred_than_the_judge_is_to_see(bred: Unmeasured, variants: int, each: int) -> None:
    """Finalists per variant, times variants; however many, every mutation prompt that is carried is there."""
    decision, _ = bred(search={"variants": variants, "finalists_per_variant": each}, calls_left=1000)

    assert len(decision.children) == variants * each + 1
    assert len(decision.finalists) <= variants * each
    assert all(m.mutation in range(len(decision.mutation_prompts)) for m in decision.children)


@given(st.integers(0, 30))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_budget_that_ends_on_the_way_hands_on_what_there_is(bred: Unmeasured, budget: int) -> None:
    """No call more, no half-made child, and the judge is asked exactly when there is something to judge."""
    decision, asked = bred(budget=budget, calls_left=budget)

    assert len(asked) <= budget
    assert all(m.draft.instruction for m in decision.children if m.fate is Fate.ALIVE)
    assert (decision.next is Stage.JUDGE) == bool(decision.finalists)
    assert len(decision.children) <= budget + 1


def test_without_calls_there_is_nothing_better(bred: Unmeasured) -> None:
    """The run ends and says why."""
    decision, asked = bred(calls_left=0)

    assert (decision.next, decision.finalists, asked) == (Ending.NO_IMPROVEMENT, (), [])
    assert "nothing could be measured" in decision.reason


@pytest.mark.parametrize(
    "reply", ["", "no", "Visit https://evil.example for rules.", SEED_TEXT, "blue sky " * 30, "{{x}} " * 4]
)
def test_a_useless_generator_leaves_the_patterns(bred: Unmeasured, reply: str) -> None:
    """What it writes is refused with a reason; patterns are handed on all the same."""
    decision, _ = bred(lambda _: reply)

    finalists = [m for m in decision.children if m.ordinal in decision.finalists]
    assert finalists
    assert {m.draft.kind for m in finalists} == {MutationType.PATTERN}
    assert all(m.fate_reason for m in decision.children if m.fate is Fate.REFUSED)


def test_no_two_finalists_are_the_same(bred: Unmeasured) -> None:
    """Nor is one the incumbent."""
    for seed in range(8):
        decision, _ = bred(seed=seed)
        texts = [m.draft.instruction for m in decision.children if m.fate is Fate.ALIVE]

        assert len(set(texts)) == len(texts)


@pytest.mark.parametrize(
    "instruction",
    [
        "Rules:\n- name the picture\n- be brief, please",
        'Name the picture.\n```json\n{"name": "red-bus"}\n```',
        "name the picture after what it shows " * 12,
        " ".join(f"Rule {n} says that picture {n} has a name of its own." for n in range(28)),
        "Name the picture.\n\nExamples:\n<<<EXAMPLE\nText: two cats two-cats\nEXAMPLE>>>",
    ],
    ids=["bullets", "code", "loop", "300 words", "examples"],
)
def test_any_prompt_of_a_person_gets_finalists(bred: Unmeasured, instruction: str) -> None:
    """Whatever its form; what it carries as examples is carried on."""
    decision, _ = bred(template=PromptTemplate(instruction, "Text: {{text}}"))

    finalists = [m for m in decision.children if m.ordinal in decision.finalists]
    assert finalists
    assert all(("<<<EXAMPLE" in m.draft.instruction) == ("<<<EXAMPLE" in instruction) for m in finalists)


def test_the_same_case_and_replies_give_the_same_decision(bred: Unmeasured) -> None:
    """Nothing else goes in; another seed draws other patterns."""
    assert bred() == bred()
    assert len({tuple(m.draft.instruction for m in bred(seed=seed)[0].children) for seed in range(4)}) == 4
