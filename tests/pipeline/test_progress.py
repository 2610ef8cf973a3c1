"""How far a running search is: calls, model time left at its own speed, and waiting told apart."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.costs import MIN_CALLS, Labelled, plan
from pipeline.progress import progress_of, waited_s
from pipeline.settings import Search

PLANNED = plan(Search(), Labelled(search=70, select=40, confirm=70, report=20))
MOMENTS = st.floats(0, 1e6)
PAUSES = st.lists(st.tuples(MOMENTS, st.floats(0, 1000)).map(lambda one: (one[0], one[0] + one[1])), max_size=20)
STARTS = st.lists(MOMENTS, max_size=20).map(sorted)


def test_the_time_left_is_that_of_the_calls_left_at_the_runs_own_speed() -> None:
    """312 of 1000 calls in 10 minutes leave 688 calls and 22 minutes, however long it waited."""
    found = progress_of(PLANNED, 600.0, calls=312, model_min=10.0, waited_min=14.0)

    assert (found.calls, found.calls_most, found.model_min, found.waited_min) == (312, 1000, 10.0, 14.0)
    assert found.left_min == pytest.approx(688 * 10 / 312)


def test_the_budget_of_minutes_ends_it_earlier() -> None:
    """Of 12 minutes 10 are spent, so 2 are left."""
    assert progress_of(PLANNED, 12.0, calls=312, model_min=10.0, waited_min=0.0).left_min == pytest.approx(2.0)


def test_nothing_is_foretold_from_a_few_calls() -> None:
    """The first calls load the models and say little of those that follow."""
    few = progress_of(PLANNED, 600.0, calls=MIN_CALLS - 1, model_min=3.0, waited_min=0.0)
    enough = progress_of(PLANNED, 600.0, calls=MIN_CALLS, model_min=3.0, waited_min=0.0)

    assert (few.left_min, enough.left_min is None) == (None, False)


@given(st.integers(0, 2000), st.floats(0, 1000), st.floats(0.1, 1000))
def test_a_search_never_shows_more_calls_than_it_may_make(calls: int, model_min: float, budget_min: float) -> None:
    """What was made counts as allowed, and the time left is never negative."""
    found = progress_of(PLANNED, budget_min, calls=calls, model_min=model_min, waited_min=0.0)

    assert found.calls <= found.calls_most
    assert found.left_min is None or found.left_min >= 0


def test_a_pause_before_a_call_lasts_until_the_call() -> None:
    """What a job wrote down at once, and the next call begins."""
    assert waited_s([(10, 30)], [5, 30, 40]) == 20


def test_jobs_that_wait_one_after_the_other_wait_all_the_time() -> None:
    """A fresh job waits before it writes anything: from the first pause to the next call is one wait."""
    assert waited_s([(0, 20), (40, 40), (60, 60)], [75]) == 75


def test_a_wait_that_goes_on_counts_to_its_last_sign() -> None:
    """Without a later call the wait has lasted until the last pause was written down."""
    assert waited_s([(0, 20), (40, 40)], []) == 40


def test_calls_part_waits() -> None:
    """The time between a call and the next pause was no wait."""
    assert waited_s([(0, 10), (100, 110)], [10, 120]) == 30


def test_who_never_paused_never_waited() -> None:
    """Calls alone are no wait."""
    assert waited_s([], [1, 2, 3]) == 0


@given(PAUSES, STARTS)
def test_a_wait_is_at_least_its_longest_pause_and_at_most_all_the_time(
    pauses: list[tuple[float, float]], starts: list[float]
) -> None:
    """Whatever jobs and calls wrote down, in any order."""
    found = waited_s(pauses, starts)

    moments = [*(moment for pause in pauses for moment in pause), *starts]
    assert found >= max((end - begin for begin, end in pauses), default=0) - 1e-6
    assert not pauses or found <= (max(moments) - min(moments)) * len(pauses) + 1e-6
    assert found == waited_s(list(reversed(pauses)), starts)


@given(st.lists(st.floats(0.1, 100), min_size=2, max_size=20))
def test_pauses_and_calls_in_turns_add_up(lengths: list[float]) -> None:
    """Where each pause ends with a call, the waits are the pauses."""
    moments = [0.0]
    for length in lengths:
        moments.append(moments[-1] + length)
    pauses = list(pairwise(moments))[::2]

    assert waited_s(pauses, [end for _, end in pauses]) == pytest.approx(sum(end - begin for begin, end in pauses))
