"""What a search costs: never more than its budget, and enough for three proposals or a sentence that says so."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.costs import (
    ASSUMED_S,
    FEWEST_RACED,
    Labelled,
    fresh_size,
    kept_for_confirmation,
    least_minutes,
    model_time,
    plan,
    plan_in_time,
    race_size,
    replay_calls,
    too_short,
    too_small,
)
from pipeline.domain import Role
from pipeline.settings import BUDGETS, Search, Voting

SEARCHES = st.builds(
    Search,
    mode=st.sampled_from(("race", "promptbreeder")),
    budget_calls=st.integers(10, 5000),
    budget_min=st.floats(0.1, 2000),
    variants=st.integers(1, 10),
    finalists_per_variant=st.integers(1, 20),
    generations=st.integers(1, 200),
    population=st.integers(2, 100),
    fitness_samples=st.integers(2, 1000),
    children=st.integers(1, 50),
    race_samples=st.integers(4, 1000),
    screen_samples=st.integers(2, 100),
    block_samples=st.integers(1, 100),
    confirm_samples=st.integers(0, 1000),
    confirm_finalists=st.integers(1, 20),
    retries=st.integers(0, 5),
)
COUNTS = st.integers(0, 2000)
LABELLED = st.builds(Labelled, search=COUNTS, select=COUNTS, confirm=COUNTS, report=COUNTS)
SECONDS = st.fixed_dictionaries(dict.fromkeys(Role, st.floats(0.01, 100)))
MANY = Labelled(search=10_000, select=10_000, confirm=10_000, report=10_000)
SOME = Labelled(search=70, select=40, confirm=70, report=20)
NONE = Labelled(search=0, select=30, confirm=40, report=10)


@given(SEARCHES, LABELLED)
def test_a_plan_never_exceeds_its_budget(search: Search, labelled: Labelled) -> None:
    """All calls of the search together fit, and no figure is below zero."""
    found = plan(search, labelled)

    assert found.generator + found.task <= found.calls <= search.budget_calls
    assert min(found.calls, found.proposals, found.generator, found.task, found.judge, found.embedder) >= 0
    assert found.judge <= min(found.proposals, search.finalists_per_variant * search.variants)
    assert found.embedder == min(found.judge, 1)


@given(SEARCHES, LABELLED)
def test_a_budget_tests_what_it_must_exactly_from_the_least_on(search: Search, labelled: Labelled) -> None:
    """Below the least fewer proposals than wanted are tested and a sentence says so, from it on as many and none does."""
    found = plan(search, labelled)

    enough = search.budget_calls >= found.least
    assert (found.proposals >= found.wanted) is enough
    assert (too_small(found, search.budget_calls) == "") is enough


@given(SEARCHES, LABELLED)
def test_the_least_is_a_budget_that_is_enough(search: Search, labelled: Labelled) -> None:
    """Who is told a number of calls and gives it is not told another one."""
    least = plan(search, labelled).least

    assert too_small(plan(replace(search, budget_calls=least), labelled), least) == ""


@given(SEARCHES, LABELLED, st.sampled_from(("search", "select")), st.integers(1, 500))
def test_more_samples_never_lower_the_least(search: Search, labelled: Labelled, split: str, more: int) -> None:
    """Where there is more to run a prompt on, a look at it does not get cheaper."""
    richer = replace(labelled, **{split: getattr(labelled, split) + more})

    assert plan(search, labelled).least <= plan(search, richer).least


@given(SEARCHES, LABELLED, st.sampled_from(("screen_samples", "block_samples", "confirm_samples", "fitness_samples")))
def test_a_longer_look_never_lowers_the_least(search: Search, labelled: Labelled, name: str) -> None:
    """Settings that make every proposal dearer make the least dearer, or leave it."""
    longer = replace(search, **{name: getattr(search, name) + 10})  # type: ignore[arg-type]  # a setting by its name

    assert plan(search, labelled).least <= plan(longer, labelled).least


@given(SEARCHES, LABELLED)
def test_samples_that_no_search_sees_cost_nothing(search: Search, labelled: Labelled) -> None:
    """The splits for ballots and for the report are not part of a search's plan."""
    assert plan(search, labelled) == plan(search, replace(labelled, confirm=0, report=0))


@given(SEARCHES, COUNTS)
def test_without_samples_to_search_on_nothing_is_run(search: Search, others: int) -> None:
    """The generator writes every other proposal, and the judge reads them all."""
    found = plan(search, Labelled(search=0, select=others, confirm=others, report=others))

    assert (found.task, found.measured) == (0, False)
    assert found.judge == found.proposals == min(search.budget_calls, search.finalists_per_variant * search.variants)
    assert found.proposals <= 2 * found.generator <= found.proposals + 1


def test_a_race_by_hand() -> None:
    """63 samples for the prompt in use (7 of 70 are examples), 12 + 51/3 and a call per proposal, 3 x 40 to confirm."""
    found = plan(Search(), SOME)

    assert (found.calls, found.proposals, found.generator) == (1000, int((1000 - 63 - 120) / (1 + 12 + 51 / 3)), 27)
    assert found.task == 63 + round(27 * (12 + 51 / 3)) + 120
    assert (found.judge, found.embedder) == (12, 1)


def test_the_least_of_a_race_by_hand() -> None:
    """20 samples for the prompt in use, a call and 20 for each of three, 2 to spare, and 3 x 6 for the confirmation."""
    assert plan(Search(), SOME).least == FEWEST_RACED + 3 * (1 + 20) + 2 + 3 * 6


def test_promptbreeder_by_hand() -> None:
    """20 samples for the prompt in use and for each proposal, and 3 x 40 for the confirmation."""
    found = plan(Search(mode="promptbreeder"), SOME)

    assert (found.calls, found.proposals) == (1000, (1000 - 20 - 120) // 21)
    assert found.task == 20 + 20 * found.proposals + 120


def test_few_generations_cannot_use_a_budget_up() -> None:
    """The most is then what every proposal may cost: retries, a mutation prompt, the screen, and two races a round."""
    found = plan(Search(generations=1), SOME)

    assert found.calls == 63 + (4 * (2 + 2 + 12) + 2 * 63) + 13 * 40
    assert found.proposals == 4


def test_who_asks_for_a_single_proposal_gets_it() -> None:
    """Where the generations hold fewer than three, as many are enough."""
    found = plan(Search(generations=1, children=1, budget_calls=20), SOME)

    assert found.wanted == 1
    assert too_small(found, 20) == "The budget of 20 calls cannot test one proposal."


@pytest.mark.parametrize("mode", ["race", "promptbreeder"])
@pytest.mark.parametrize("name", BUDGETS)
def test_every_named_budget_tests_three_proposals(name: str, mode: str) -> None:
    """`light` too, however many samples there are."""
    calls, _ = BUDGETS[name]

    assert too_small(plan(Search(mode=mode, budget_calls=calls), MANY), calls) == ""


@given(SEARCHES, LABELLED, SECONDS)
def test_a_plan_in_time_fits_its_minutes(search: Search, labelled: Labelled, seconds: dict[Role, float]) -> None:
    """What the minutes leave of a plan costs no more calls, and no more than those minutes."""
    whole, found = plan(search, labelled), plan_in_time(search, labelled, seconds)

    assert found.calls <= whole.calls
    assert found.least == whole.least
    assert model_time(found, float("inf"), seconds).search_min <= search.budget_min


@given(SEARCHES, LABELLED, SECONDS)
def test_model_time_is_held_to_its_budget(search: Search, labelled: Labelled, seconds: dict[Role, float]) -> None:
    """The search never takes longer than its minutes; judge and embedder come on top."""
    found = plan(search, labelled)
    time = model_time(found, search.budget_min, seconds)

    assert 0 <= time.search_min <= search.budget_min
    assert time.after_min == pytest.approx(
        (found.judge * seconds[Role.JUDGE] + found.embedder * seconds[Role.EMBEDDER]) / 60
    )


def test_model_time_by_hand() -> None:
    """25 generator and 973 task calls at 2.5 s, 12 judge calls at 1.5 s and one embedder call at 0.3 s."""
    found = plan(Search(), SOME)

    time = model_time(found, 600.0, ASSUMED_S)

    assert time.search_min == pytest.approx((found.generator + found.task) * 2.5 / 60)
    assert time.after_min == pytest.approx((12 * 1.5 + 0.3) / 60)


def test_minutes_that_are_too_short_say_so() -> None:
    """103 calls at 2.5 s are 4.3 minutes."""
    found = plan(Search(), SOME)

    assert least_minutes(found, ASSUMED_S) == pytest.approx(103 * 2.5 / 60)
    assert too_short(found, 4.2, ASSUMED_S) == "The budget of 4.2 min of model time cannot test three proposals."
    assert too_short(found, 4.3, ASSUMED_S) == ""


def test_labelled_samples_add_up() -> None:
    """The total is that of all splits."""
    assert (SOME.total, NONE.total) == (200, 80)


@pytest.mark.parametrize("budget", [10, 60, 159, 160, 161, 300, 1000, 3000])
@pytest.mark.parametrize("changes", [{}, {"race_samples": 30, "confirm_samples": 7, "confirm_finalists": 1}])
def test_the_sizes_are_the_searchs_own(budget: int, changes: dict[str, Any]) -> None:
    """A race, a confirmation and what is kept for it are as large as the plan says."""
    from pipeline.confirm import confirm_items, reserve  # noqa: PLC0415 - this test alone looks at the search itself
    from pipeline.domain import SampleId, SkillName  # noqa: PLC0415 - same
    from pipeline.fitness import Item  # noqa: PLC0415 - same
    from pipeline.race import race_items  # noqa: PLC0415 - same
    from pipeline.rules import Rules  # noqa: PLC0415 - same
    from pipeline.search import MutateCase  # noqa: PLC0415 - same
    from pipeline.settings import Settings  # noqa: PLC0415 - same
    from pipeline.skills import PromptTemplate, SkillSpec  # noqa: PLC0415 - same

    search = Search(budget_calls=budget, **changes)
    items = tuple(Item(sample=SampleId(i), fields=(), expected="x") for i in range(2000))
    case = MutateCase(
        rules=Rules(settings=Settings(search=search), skill=SkillSpec(name=SkillName("s"), template="s.md")), seed=1,
        generation=0, template=PromptTemplate("Do it.", "{{x}}"), population=(), finished=(), mutation_prompts=(),
        items=items, confirm_items=items, failures=(), successes=(), next_ordinal=0, stale=0, calls_left=budget,
        minutes_left=600.0,
    )  # fmt: skip

    assert len(race_items(case)) == race_size(search)
    assert len(confirm_items(case)) == fresh_size(search)
    assert reserve(case) == kept_for_confirmation(search, fresh_size(search))


def test_the_replay_runs_the_prompt_in_use_and_those_that_go_on() -> None:
    """Held-out tasks up to the goal, and the report's, for each of them; it takes its time after the search."""
    many, few = (
        Labelled(search=400, select=90, confirm=260, report=30),
        Labelled(search=20, select=9, confirm=12, report=3),
    )

    assert replay_calls(Voting(), many) == 2 * (200 + 30)
    assert replay_calls(Voting(challengers=3), few) == 4 * 15
    planned = plan(Search(), many)
    seconds = {Role.GENERATOR: 1.0, Role.TASK: 3.0, Role.JUDGE: 0.0, Role.EMBEDDER: 0.0}
    assert model_time(planned, 600.0, seconds, replay=460).after_min == pytest.approx(23)
