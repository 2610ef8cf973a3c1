"""Limits from an estimated accuracy keep their promise at every true one, exactly computed."""

from __future__ import annotations

import math
import re
from functools import cache
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from pipeline.algorithms import chance_limits
from pipeline.algorithms.chance_limits import (
    CAP,
    FLOOR,
    beta_points,
    estimated_limits,
    healthy_accuracy,
    shift_charts,
)
from pipeline.algorithms.cusum import Chart, Limits, average_run_length, known_limits, run_length, step

ACCURACIES = [round(0.80 + 0.005 * n, 3) for n in range(31)]  # 0.80 ... 0.95
NEGLIGIBLE = 1e-9  # chance of a count that is left out


def binomial(n: int, p: float) -> dict[int, float]:
    """Return the chance of each count of successes."""
    chances = {k: math.comb(n, k) * p**k * (1 - p) ** (n - k) for k in range(n + 1)}
    return {k: chance for k, chance in chances.items() if chance > NEGLIGIBLE}


@cache
def per_label(p: float, m: int, limit: int, k: int = 1) -> float:
    """Return the signals per label; a chart that is off gives none."""
    return 1 / average_run_length(p, m, limit, k) if limit else 0.0


def alarms(n: int, p: float) -> float:
    """Return the false alarms per 1,000 labels, on average over the *n* labels that the limits were chosen from."""
    chosen = {ok: estimated_limits(ok, n - ok) for ok in range(n + 1)}
    return sum(1000 * chance * per_label(p, chosen[ok].m, chosen[ok].alarm) for ok, chance in binomial(n, p).items())


def warnings(n: int, p: float) -> float:
    """Return the false warnings per 1,000 labels, on the same average."""
    chosen = {ok: estimated_limits(ok, n - ok) for ok in range(n + 1)}
    return sum(1000 * chance * per_label(p, chosen[ok].m, chosen[ok].warn) for ok, chance in binomial(n, p).items())


def delay(n: int, healthy: float, drifted: float) -> NDArray[np.float64]:
    """Return the chance of an alarm within 1, 2, ... labels after the fall, on average over the first *n* labels."""
    total = np.zeros(400)
    for ok, chance in binomial(n, healthy).items():
        limits = estimated_limits(ok, n - ok)
        total += chance * run_length(drifted, limits.m, limits.alarm, total.size)
    return total


def median(within: NDArray[np.float64]) -> int:
    """Return the first count of labels at which the chance is a half."""
    return int(np.searchsorted(within, 0.5)) + 1


@pytest.mark.parametrize("labels", [100, 200, 400])
@pytest.mark.parametrize("p", ACCURACIES)
def test_false_alarms_and_warnings_keep_to_their_goals_at_every_accuracy(labels: int, p: float) -> None:
    """At most one alarm in 1,000 labels and one warning in 300, whatever the true accuracy from 0.80 to 0.95."""
    assert alarms(labels, p) <= 1
    assert warnings(labels, p) <= 1000 / 300


def test_taken_as_known_the_estimate_breaks_the_promise() -> None:
    """With the limits for a known accuracy there would be more than two false alarms at 0.80 and 1.7 at 0.92."""

    def naive(p: float) -> float:
        total = 0.0
        for ok, chance in binomial(100, p).items():
            limits = known_limits(min(max(round(healthy_accuracy(ok, 100 - ok), 6), FLOOR), CAP))
            total += 1000 * chance * per_label(p, limits.m, limits.alarm)
        return total

    assert naive(0.80) == pytest.approx(2.6, abs=0.05)
    assert naive(0.92) == pytest.approx(1.7, abs=0.05)


def test_the_published_figures_are_what_is_computed() -> None:
    """The two lines of figures in the module's text, at 0.80, 0.85, 0.90, 0.92 and 0.95, come out again."""
    text = chance_limits.__doc__ or ""
    for name, count in (("alarms, goal 1", alarms), ("warnings, goal 3.3", warnings)):
        printed = re.findall(r"\d\.\d\d", text.split(name)[1].splitlines()[0])

        assert [f"{count(100, p):.2f}" for p in (0.80, 0.85, 0.90, 0.92, 0.95)] == printed


def test_the_published_table_is_what_is_chosen() -> None:
    """Every row of the module's table holds, and the rows at its ends hold beyond it."""
    rows = re.findall(r"(?m)^ +(\d\d) +(0\.\d{3}) +(\d+) +(\d+) +(\d+)$", chance_limits.__doc__ or "")
    printed = {int(row[0]): (row[1], int(row[2]), int(row[3]), int(row[4])) for row in rows}

    def chosen(ok: int) -> tuple[str, int, int, int]:
        limits = estimated_limits(ok, 100 - ok)
        return f"{limits.healthy:.3f}", limits.m, limits.warn, limits.alarm

    assert {ok: chosen(ok) for ok in printed} == printed
    assert sorted(printed) == list(range(79, 99))
    assert {chosen(ok) for ok in range(80)} == {printed[79]}
    assert {chosen(ok) for ok in (98, 99, 100)} == {printed[98]}


@pytest.mark.parametrize(("labels", "expected"), [(100, 40), (200, 36), (800, 33)])
def test_half_of_the_falls_to_78_are_found_soon(labels: int, expected: int) -> None:
    """After 100 labels at 0.92 the median delay is 40 labels, five less than promised, and more labels shorten it."""
    assert median(delay(labels, 0.92, 0.78)) == expected <= 45


@pytest.mark.parametrize("healthy", [0.82, 0.86, 0.90, 0.94])
def test_a_deeper_fall_is_found_sooner(healthy: float) -> None:
    """The median delay shrinks as the fall grows from 0.10 to 0.30."""
    delays = [median(delay(100, healthy, healthy - fall)) for fall in (0.10, 0.15, 0.20, 0.30)]

    assert all(later < sooner for sooner, later in pairwise(delays))


def test_many_labels_give_nearly_the_limits_of_a_known_accuracy() -> None:
    """After a million labels only the tenth that is left over remains: the run is 1000/0.9 to one step of the limit."""
    limits = estimated_limits(920_000, 80_000)

    assert average_run_length(0.92, limits.m, limits.alarm) >= 1000 / 0.9 * 0.999
    assert average_run_length(0.92, limits.m, limits.alarm - 1) <= 1000 / 0.9


@settings(deadline=None, max_examples=60)
@given(
    st.integers(0, 300),
    st.integers(0, 300),
    st.floats(0.5, 0.97),
    st.sampled_from([50.0, 1000.0, 10_000.0]),
    st.sampled_from([20.0, 300.0, 5000.0]),
)
def test_any_counts_and_goals_give_usable_limits(ok: int, bad: int, floor: float, alarm: float, warn: float) -> None:
    """The healthy level stays between floor and cap, the warning comes first, and one failure is no alarm."""
    limits = estimated_limits(ok, bad, floor, alarm, warn)

    assert floor <= limits.healthy <= CAP
    assert 0 < limits.warn <= limits.alarm
    assert limits.m >= 2
    if alarm >= 1000:
        assert limits.alarm > limits.m - 1


def test_what_is_below_the_floor_counts_as_the_floor() -> None:
    """Thirty right labels of 100 give the limits that the floor has."""
    assert estimated_limits(30, 70) == estimated_limits(79, 21) == Limits(healthy=0.8, m=4, warn=20, alarm=33)


def test_the_healthy_accuracy_is_the_posterior_mean() -> None:
    """Ninety-two right labels of 100 and a prior worth ten, nine of them right, make 101/110."""
    assert healthy_accuracy(92, 8) == pytest.approx(101 / 110)
    assert estimated_limits(92, 8).healthy == healthy_accuracy(92, 8)
    assert healthy_accuracy(0, 0) == 0.9


@given(st.floats(0.3, 300), st.floats(0.3, 300))
@example(0.5, 0.5)
def test_the_gauss_points_have_the_moments_of_the_beta_distribution(a: float, b: float) -> None:
    """The first five moments are exact, the weights sum to one, and all points lie between 0 and 1."""
    points = beta_points(a, b)
    moment = 1.0

    for power in range(6):
        assert sum(chance * rate**power for rate, chance in points) == pytest.approx(moment, rel=1e-7)
        moment *= (a + power) / (a + b + power)
    assert all(0 < rate < 1 for rate, _ in points)


@pytest.mark.parametrize("rate", [0.02, 0.05, 0.08, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.75, 0.9, 0.95])
def test_a_steady_rate_signals_at_most_once_in_a_thousand(rate: float) -> None:
    """Both charts together, on average over the 100 labels they were chosen from, exactly."""
    total = 0.0
    for hits, chance in binomial(100, rate).items():
        up, down = shift_charts(hits, 100 - hits, 1000)
        total += chance * (per_label(1 - rate, up.m, up.limit, up.k) + per_label(rate, down.m, down.limit, down.k))

    assert 1000 * total <= 1


@pytest.mark.parametrize(("rate", "doubled", "halved"), [(0.1, 125, 404), (0.2, 63, 162), (0.3, 40, 102)])
def test_a_doubled_and_a_halved_rate_are_found(rate: float, doubled: int, halved: int) -> None:
    """The median delays that are published for rates of 0.1, 0.2 and 0.3."""
    found = np.zeros((2, 1000))
    for hits, chance in binomial(100, rate).items():
        up, down = shift_charts(hits, 100 - hits, 1000)
        for row, chart, p in ((0, up, 1 - 2 * rate), (1, down, rate / 2)):
            if chart.limit:
                found[row] += chance * run_length(p, chart.m, chart.limit, 1000, chart.k)

    assert [median(found[0]), median(found[1])] == [doubled, halved]


@pytest.mark.parametrize("labels", [20, 100, 500])
def test_no_single_label_is_a_shift(labels: int) -> None:
    """Whatever the share was, none and all included, neither a first label of a person nor a first silence signals."""
    for hits in range(0, labels + 1, labels // 20):
        for chart in shift_charts(hits, labels - hits, 1000):
            assert not step(chart, ok=False)[1]
            assert not step(chart, ok=True)[1]


def test_a_change_that_could_not_be_seen_is_not_looked_for() -> None:
    """The fall of a rate below one in ten and the rise of one above nine in ten have no chart."""
    assert shift_charts(3, 97, 1000)[1] == shift_charts(97, 3, 1000)[0] == Chart()
    assert all(chart.limit for chart in shift_charts(50, 50, 1000))


def test_impossible_counts_and_floors_are_refused() -> None:
    """Negative counts and a floor outside its range raise."""
    for ok, bad, floor in ((-1, 3, 0.8), (3, -1, 0.8), (3, 3, 0.4), (3, 3, 0.99)):
        with pytest.raises(ValueError, match="floor"):
            estimated_limits(ok, bad, floor)
    with pytest.raises(ValueError, match="negative"):
        shift_charts(-1, 3, 1000)
