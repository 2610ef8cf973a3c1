"""What a visit spends and what a member is worth: the arithmetic that both modes share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.domain import MutationType, Role, SampleId
from pipeline.flow import (
    Embed,
    Embedded,
    Failed,
    FailureKind,
    Flow,
    Generate,
    Generated,
    Reply,
    Request,
    Sampling,
    Scored,
    ScoreOutside,
    drive,
)
from pipeline.population import Draft, Member, Outcome
from pipeline.search import Brood, Meter, Tally, fitness, measured, total

ASK = Generate(role=Role.TASK, prompt="x", sampling=Sampling(temperature=0, seed=1, num_predict=1))
SCORE = ScoreOutside(scorer="python:a:b", output="x", expected="x", fields=())
EMBED = Embed(texts=("x",))
REPLIES: dict[type, Reply] = {
    Generate: Generated(text="x", done_reason="stop", prompt_tokens=1, tokens=1, duration_s=6.0),
    ScoreOutside: Scored(value=1.0),
    Embed: Embedded(vectors=((1.0,),), profile="p", duration_s=5.0),
}
VALUES = st.lists(st.floats(0, 1), max_size=30)
TALLIES = st.lists(
    st.builds(Tally, name=st.sampled_from("abc"), applied=st.integers(0, 9), improved=st.integers(0, 9)), max_size=12
)


def asking(requests: list[Request]) -> Flow[list[Reply]]:
    """Ask for all of it, and return what was said."""
    said: list[Reply] = []
    for request in requests:
        said.append((yield request))
    return said


def outcomes(values: list[float]) -> tuple[Outcome, ...]:
    """What a member did."""
    return tuple(Outcome(sample=SampleId(i), value=v, correct=v >= 0.5) for i, v in enumerate(values))


def member(text: str = "Name it well.") -> Member:
    """A member that was not run yet."""
    draft = Draft(instruction=text, kind=MutationType.EDIT, reasoning="")
    return Member(ordinal=3, slot=1, generation=0, parent=0, second_parent=None, mutation=0, draft=draft)


@given(st.lists(st.sampled_from((ASK, SCORE, EMBED)), max_size=30))
@settings(deadline=None)
def test_the_meter_counts_the_model_calls_and_nothing_else(requests: list[Request]) -> None:
    """Each request to write is one call and its model time; scores and vectors cost none; every reply goes through."""
    meter = Meter(calls_left=10, minutes_left=1.0)

    said = drive(meter.over(asking(requests)), lambda request: REPLIES[type(request)])

    calls = sum(isinstance(request, Generate) for request in requests)
    assert meter.calls_left == 10 - calls
    assert meter.minutes_left == pytest.approx(1.0 - calls * 0.1)
    assert meter.minutes_for(7) == pytest.approx(0.7 if calls else 0.0)
    assert said == [REPLIES[type(request)] for request in requests]


def test_a_failed_call_is_counted_without_time() -> None:
    """It was asked for; how long it took is not known."""
    meter = Meter(calls_left=10, minutes_left=1.0)

    drive(meter.over(asking([ASK])), lambda _: Failed(kind=FailureKind.UNFINISHED))

    assert (meter.calls_left, meter.minutes_left) == (9, 1.0)


def test_a_flow_that_asks_nothing_costs_nothing() -> None:
    """Its value comes back at once."""
    meter = Meter(calls_left=10, minutes_left=1.0)

    assert drive(meter.over(asking([])), lambda _: Scored(value=0.0)) == []
    assert meter == Meter(calls_left=10, minutes_left=1.0)


def test_a_flow_that_is_given_up_is_closed() -> None:
    """Closing the metered flow runs the inner one's clean-up, and what it spent stays counted."""
    closed: list[bool] = []

    def inner() -> Flow[None]:
        try:
            yield ASK
            yield ASK
        finally:
            closed.append(True)

    meter = Meter(calls_left=10, minutes_left=1.0)
    flow = meter.over(inner())
    next(flow)
    flow.send(REPLIES[Generate])
    flow.close()

    assert (closed, meter.calls_left) == ([True], 9)


@given(TALLIES, TALLIES)
@settings(deadline=None)
def test_tallies_add_up_in_any_grouping(one: list[Tally], other: list[Tally]) -> None:
    """Sums of sums are sums; names come sorted, each once."""
    whole = total((*one, *other))

    assert total((*total(one), *total(other))) == whole == total((*other, *one))
    assert [tally.name for tally in whole] == sorted({tally.name for tally in (*one, *other)})
    assert sum(tally.applied for tally in whole) == sum(tally.applied for tally in (*one, *other))
    assert sum(tally.improved for tally in whole) == sum(tally.improved for tally in (*one, *other))


@given(VALUES, st.integers(1, 300))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_fitness_is_the_mean_less_the_price_of_length(
    rules_with: Callable[..., Any], values: list[float], words: int
) -> None:
    """Never below 0 nor above the mean; a longer instruction is never fitter; without samples it is 0."""
    rules = rules_with()
    mean = sum(values) / len(values) if values else 0.0
    found, longer = (fitness(rules, "word " * n, outcomes(values)) for n in (words, words + 10))

    assert found == pytest.approx(max(0.0, mean - 0.05 * words / 220) if values else 0.0)
    assert 0 <= longer <= found <= mean


@given(VALUES)
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_measured_member_holds_what_it_did(rules_with: Callable[..., Any], values: list[float]) -> None:
    """Counts, fitness and scores by sample come from the outcomes; everything else stays."""
    before = member()

    after = measured(rules_with(), before, outcomes(values))

    assert (after.n, after.correct) == (len(values), sum(v >= 0.5 for v in values))
    assert list(after.values.values()) == values
    assert replace(after, outcomes=(), n=0, correct=0, fitness=0.0) == before


def test_a_brood_keeps_one_state_of_each_member() -> None:
    """A later state takes the place of the earlier one, where that stood."""
    brood, first, second = Brood(), member(), replace(member(), ordinal=4)

    for one in (first, second, replace(first, n=5)):
        brood.put(one)
    brood.count(("edit", "reply:graft"), improved=True)
    brood.count(("edit",), improved=False)

    assert [(m.ordinal, m.n) for m in brood.children] == [(3, 5), (4, 0)]
    assert total(brood.operators) == (
        Tally(name="edit", applied=2, improved=1),
        Tally(name="reply:graft", applied=1, improved=1),
    )
