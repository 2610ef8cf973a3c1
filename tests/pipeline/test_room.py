"""The question's room: no question is sent that is longer, whatever is to be shown; counts stay when examples go.

The counter is simulated (`tests/vocabularies.py`): exact for its vocabulary, which no model has.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline import operators
from pipeline.algorithms.tokens import calibrated, estimate
from pipeline.breeding import breed
from pipeline.domain import MutationType
from pipeline.flow import drive
from pipeline.meta_prompt import Failure, Success, failures_text, sealed, successes_text
from pipeline.population import Draft, Member
from pipeline.questions import Mating
from pipeline.room import MARGIN, TEMPLATE, Room, Shown, fitted, most_counted, room_of
from pipeline.search import MutateCase
from pipeline.skills import PromptTemplate
from pipeline.tournament import first_prompts
from tests import vocabularies

TEXT = st.one_of(
    st.text(max_size=600), st.text("abcXYZ 019_-./", max_size=600),
    st.sampled_from(["a red bus in the old town. " * 20, "日本語の長い説明" * 50, "aGVsbG8gd29ybGQ" * 30, "{}[]();" * 80]),
)  # fmt: skip
FAILURE = st.builds(
    Failure, shown=TEXT, output=TEXT, expected=TEXT, lost=st.sampled_from([(), ("case",), ("generic", "too-long"), ("x" * 60,)])
)  # fmt: skip
SUCCESS = st.builds(Success, shown=TEXT, output=TEXT)
ASKING = (
    MutationType.DIRECT, MutationType.REFLECTIVE, MutationType.ZERO_ORDER, MutationType.FIRST_ORDER, MutationType.EDA,
    MutationType.EDA_RANK, MutationType.LINEAGE, MutationType.LAMARCKIAN,
)  # fmt: skip
ALIKE = Failure(
    shown="text: a red bus in the old town, seen from above", output="IMG 1", expected="red-bus", lost=("case",)
)


@pytest.fixture(name="count")
def _count() -> Callable[[str], int]:
    """Return the exact counter."""
    found: Callable[[str], int] = vocabularies.simulated().count
    return found


def case_of(
    rules: Any, text: str, failures: tuple[Failure, ...], successes: tuple[Success, ...], **changes: Any
) -> MutateCase:
    """Return a visit whose members all say *text*, each with a number."""
    members = tuple(
        Member(
            ordinal=i, slot=i, generation=0, parent=i - 1 if i else None, second_parent=None, mutation=0, n=10, correct=5, fitness=0.5,
            draft=Draft(instruction=f"Number {i}. {text}", kind=MutationType.SEED, reasoning=""),
        )
        for i in range(9)
    )  # fmt: skip
    base = MutateCase(
        rules=rules, seed=5, generation=3, template=PromptTemplate(f"Number 0. {text}", "Text: {{text}}"), population=members,
        finished=members, mutation_prompts=(), items=(), failures=failures, successes=successes, next_ordinal=9, stale=0,
        calls_left=100, minutes_left=60.0,
    )  # fmt: skip
    return replace(base, mutation_prompts=tuple(first_prompts(base, 3)), **changes)


@pytest.mark.parametrize("kind", ASKING)
@given(
    text=TEXT,
    failures=st.lists(FAILURE, max_size=20).map(tuple),
    successes=st.lists(SUCCESS, max_size=10).map(tuple),
    room=st.integers(300, 3000),
)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_question_is_longer_than_its_room(
    rules_with: Any, count: Callable[[str], int], say: Any, kind: MutationType, text: str,
    failures: tuple[Failure, ...], successes: tuple[Success, ...], room: int,
) -> None:  # fmt: skip
    """Of any operator, whatever there is to show: what is sent has at most the set tokens, or nothing is sent."""
    rules = rules_with(models={"generator_prompt_tokens": room, "generator_example_tokens": room // 2})
    case = case_of(rules, text * 4, failures, successes, exact=count)
    mating = Mating(
        ordinal=9, winner=case.population[8], failed=failures, lost=Counter({"case": 30}),
        mutation_prompts=case.mutation_prompts, taken=(),
    )  # fmt: skip
    asked: list[str] = []

    def answer(request: Any) -> Any:
        asked.append(request.prompt)
        return say("no")

    bred = drive(breed(case, mating, kind), answer)

    assert all(count(prompt) <= room for prompt in asked)
    assert asked or bred.draft.refused.startswith("no answer: the question has more tokens")


@given(failures=st.lists(FAILURE, max_size=20).map(tuple), successes=st.lists(SUCCESS, max_size=10).map(tuple))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_examples_have_a_room_of_their_own(
    count: Callable[[str], int], failures: tuple[Failure, ...], successes: tuple[Success, ...]
) -> None:
    """Also where the whole question would be short enough."""
    seen: list[Shown] = []
    shown = Shown(failures=failures, successes=successes)
    fitted(lambda left: seen.append(left) or "short", shown, Room(prompt=7000, examples=600, exact=count))

    (left,) = seen
    assert count(failures_text(left.failures) + successes_text(left.successes)) <= 600 or left == Shown()


def test_successes_go_before_failures_and_the_counts_stay(count: Callable[[str], int]) -> None:
    """Of twenty failures some are left out, and all are counted; no success is left when a failure is missing."""
    shown = Shown(failures=(ALIKE,) * 20, successes=(Success(shown="text: two cats", output="two-cats"),) * 10)
    lost = {"generic": 15, "case": 5}

    def build(left: Shown) -> str:
        return operators.direct("Name it.", "Name pictures.", left.failures, left.successes, lost, 20)

    whole = fitted(build, shown, Room(prompt=7000, examples=5000, exact=count))
    fewer = fitted(build, shown, Room(prompt=TEMPLATE + 700, examples=5000, exact=count))

    assert (whole.count('"wanted"'), whole.count("two-cats")) == (20, 10)
    assert 0 < fewer.count('"wanted"') < 20
    assert "two-cats" not in fewer
    assert "What was lost: 15 of 20: too generic; 5 of 20: wrong case" in fewer


def test_what_is_sent_is_counted_and_not_what_is_built(count: Callable[[str], int]) -> None:
    """The numbers of the fences are tokens too."""
    question = operators.first_order("Make it shorter.", "Name it as it is. " * 200, "Name pictures.")
    exactly = Room(prompt=count(question) + TEMPLATE, examples=10, exact=count)

    assert fitted(lambda _: question, Shown(), exactly) == question
    assert fitted(lambda _: question, Shown(), exactly, sent=lambda text: sealed(text, 3)) == ""


def test_the_vocabulary_is_looked_at_only_for_long_questions() -> None:
    """Reading it costs memory and time, so a short question does without."""
    asked: list[str] = []
    room = Room(prompt=1000, examples=500, exact=lambda text: asked.append(text) or 10)

    assert room.holds("Name it.", 1000)
    assert asked == []
    assert room.holds("word " * 900, 1000)
    assert len(asked) == 1


def test_without_a_vocabulary_the_bound_decides(count: Callable[[str], int]) -> None:
    """Learned from twenty questions, it keeps all others within their room by the exact count."""
    questions = [failures_text((replace(ALIKE, shown=f"text: {'a red bus ' * n}"),) * n) for n in range(1, 41)]
    gauge = calibrated([(estimate(q), count(q) + 30) for q in questions[::2]], 10**6)
    room = Room(prompt=900, examples=900, gauge=gauge)
    held = [q for q in questions[1::2] if room.holds(q, 900)]

    assert 0 < len(held) < 20
    assert all(count(q) + 30 <= 900 for q in held)


@pytest.mark.parametrize(
    ("models", "foreground", "prompt"),
    [
        ({}, {}, 7000),
        ({"generator_num_ctx": 4096}, {}, 4096 - 160 - MARGIN),
        ({"generator": "mine:3b"}, {"model": "mine:3b", "options": (("num_ctx", 6000),)}, 6000 - 160 - MARGIN),
        ({"generator": "mine:3b"}, {"model": "mine:3b"}, 4096 - 160 - MARGIN),
    ],
)
def test_a_smaller_context_makes_a_smaller_room(
    rules_with: Any, models: dict[str, Any], foreground: dict[str, Any], prompt: int
) -> None:
    """The reply must fit too; the foreground model's context is the host's, or the server's own."""
    rules = rules_with(models=models, foreground=foreground)

    assert room_of(rules).prompt == prompt
    assert room_of(rules).examples == min(5000, prompt)
    assert most_counted(rules) >= prompt
