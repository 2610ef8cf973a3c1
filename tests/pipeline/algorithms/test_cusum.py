"""The CUSUM counts as published, and what is computed of it is what its chain does."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.algorithms.cusum import (
    HIGHEST,
    Chart,
    average_run_length,
    known_limits,
    least,
    reference,
    run_length,
    step,
    weight,
)

ACCURACY = st.floats(0.05, 0.99)
TABLE = [  # drift study, B3: healthy, m, warn limit, alarm limit, run length, mean delays after each of FALLS
    (0.95, 10, 20, 29, 1122, (73, 45, 30, 17)),
    (0.92, 8, 22, 31, 1084, (91, 57, 37, 22)),
    (0.90, 7, 22, 31, 1044, (100, 63, 42, 25)),
    (0.88, 6, 20, 29, 1138, (113, 71, 46, 27)),
    (0.85, 5, 18, 26, 1067, (124, 78, 51, 29)),
    (0.80, 4, 17, 24, 1060, (140, 89, 58, 34)),
]
FALLS = (0.07, 0.10, 0.14, 0.22)


@st.composite
def charts(draw: st.DrawFn) -> Chart:
    """Return a chart with any weights and a limit of at most 60."""
    m = draw(st.integers(2, 16))
    return Chart(m=m, k=draw(st.integers(1, m - 1)), limit=draw(st.integers(1, 60)))


def test_a_success_takes_one_a_failure_adds_the_rest_and_a_signal_begins_again() -> None:
    """With m = 8 and limit 15 the labels bad, ok, bad, bad, ok leave 7, 6, 13, a signal and 0."""
    chart, seen = Chart(m=8, limit=15), []

    for ok in (False, True, False, False, True):
        chart, signal = step(chart, ok)
        seen.append((chart.total, signal))

    assert seen == [(7, False), (6, False), (13, False), (0, True), (0, False)]


def test_a_chart_without_a_limit_is_off() -> None:
    """No failure moves it."""
    assert step(Chart(), ok=False) == (Chart(), False)


@given(charts(), st.lists(st.booleans(), max_size=200))
def test_the_sum_stays_between_zero_and_its_limit(chart: Chart, labels: list[bool]) -> None:
    """Whatever comes, the sum is at least 0 and below the limit, and only a failure signals."""
    for ok in labels:
        chart, signal = step(chart, ok)

        assert 0 <= chart.total < chart.limit
        assert not (signal and ok)


@pytest.mark.parametrize(("healthy", "m", "warn", "alarm", "run", "delays"), TABLE)
def test_weights_limits_and_delays_are_the_published_ones(
    healthy: float, m: int, warn: int, alarm: int, run: int, delays: tuple[int, ...]
) -> None:
    """The drift study's table comes out to the last digit that it prints."""
    limits = known_limits(healthy)
    found = tuple(round(average_run_length(healthy - fall, m, alarm)) for fall in FALLS)

    assert (limits.m, limits.warn, limits.alarm, limits.healthy) == (m, warn, alarm, healthy)
    assert round(average_run_length(healthy, m, alarm)) == run
    assert found == delays


def test_the_published_run_lengths_at_nine_two() -> None:
    """At 0.92 the alarm runs 1084 labels and the warning 332, on average."""
    assert [round(average_run_length(0.92, 8, h)) for h in (31, 22)] == [1084, 332]


@pytest.mark.parametrize("healthy", [row[0] for row in TABLE])
def test_known_limits_are_the_least_that_keep_the_goal(healthy: float) -> None:
    """At the limit the run is long enough, one below it is not."""
    limits = known_limits(healthy)

    for limit, goal in ((limits.alarm, 1000), (limits.warn, 300)):
        assert average_run_length(healthy, limits.m, limit) >= goal > average_run_length(healthy, limits.m, limit - 1)


@settings(deadline=None)
@given(charts(), ACCURACY)
def test_the_run_length_solves_the_chains_equations(chart: Chart, p: float) -> None:
    """It is what numpy's solver gives for the same chain, as far as that solver is exact."""
    sums = np.arange(chart.limit)
    equations = np.eye(chart.limit)
    np.subtract.at(equations, (sums, np.maximum(sums - chart.k, 0)), p)
    up = sums[sums + chart.m - chart.k < chart.limit]
    np.subtract.at(equations, (up, up + chart.m - chart.k), 1 - p)
    solved = np.linalg.solve(equations, np.ones(chart.limit))[0]

    found = average_run_length(p, chart.m, chart.limit, chart.k)

    if found < 1e9:  # beyond it the solver's own equations are too near to singular
        assert found == pytest.approx(solved, rel=1e-5)


@given(st.integers(1, 200))
def test_a_fair_walk_has_its_closed_form(h: int) -> None:
    """Steps of one up and down at 1/2, held at 0, take h (h + 1) labels on average."""
    assert average_run_length(0.5, 2, h) == pytest.approx(h * (h + 1), rel=1e-9)


def test_rare_failures_lose_no_digits() -> None:
    """Where one failure signals the run is 1/(1-p), where none happens it is infinite, and 1e33 is no trouble."""
    assert average_run_length(1 - 1e-9, 12, 11) == pytest.approx(1e9, rel=1e-6)
    assert average_run_length(1.0, 8, 31) == math.inf
    assert average_run_length(1 - 1e-6, 12, 60) == pytest.approx(2.16409638e33, rel=1e-6)


@pytest.mark.parametrize(("p", "chart"), [(0.78, Chart(m=8, limit=31)), (0.6, Chart(m=7, k=3, limit=30))])
def test_the_mean_of_the_distribution_is_the_average_run_length(p: float, chart: Chart) -> None:
    """Adding up the chances that it still runs gives the solution of the equations: exact against exact."""
    within = run_length(p, chart.m, chart.limit, 5000, chart.k)

    assert within[-1] == pytest.approx(1, abs=1e-12)
    mean = 1 + float(np.sum(1 - within))
    assert mean == pytest.approx(average_run_length(p, chart.m, chart.limit, chart.k), rel=1e-9)


@pytest.mark.parametrize("chart", [Chart(m=4, limit=7), Chart(m=5, k=3, limit=4)])
def test_the_distribution_is_that_of_all_sequences_of_labels(chart: Chart) -> None:
    """Stepping the chart through each of the 4096 sequences of twelve labels gives the same chances."""
    labels, p = 12, 0.7
    first: list[float] = [0.0] * labels
    for sequence in itertools.product((True, False), repeat=labels):
        now = chart
        for place, ok in enumerate(sequence):
            now, signal = step(now, ok)
            if signal:
                first[place] += p ** sum(sequence) * (1 - p) ** (labels - sum(sequence))
                break

    assert run_length(p, chart.m, chart.limit, labels, chart.k) == pytest.approx(np.cumsum(first), abs=1e-12)


def test_half_of_the_falls_to_78_are_found_within_32_labels() -> None:
    """With 0.92 known and the sum at 0 when it happens, the median delay is 32 labels and the mean 37."""
    within = run_length(0.78, 8, 31, 100)

    assert int(np.searchsorted(within, 0.5)) + 1 == 32


@given(charts(), st.floats(0.3, 0.95), st.floats(0.005, 0.04))
def test_a_run_grows_with_accuracy_and_limit(chart: Chart, p: float, better: float) -> None:
    """A better stream and a higher limit never signal sooner."""
    here = average_run_length(p, chart.m, chart.limit, chart.k)

    assert average_run_length(p + better, chart.m, chart.limit, chart.k) >= here * (1 - 1e-12)
    assert average_run_length(p, chart.m, chart.limit + 1, chart.k) >= here * (1 - 1e-12)


@given(st.floats(0.1, 0.99), st.floats(0.01, 0.99))
def test_a_label_speaks_for_neither_at_the_reference(healthy: float, share: float) -> None:
    """At that failure rate the log-likelihood ratio is zero on average, and it lies between the two rates."""
    drifted = healthy * share
    rate = reference(healthy, drifted)

    ratio = rate * math.log((1 - drifted) / (1 - healthy)) - (1 - rate) * math.log(healthy / drifted)
    assert ratio == pytest.approx(0, abs=1e-9)
    assert 1 - healthy < rate < 1 - drifted


def test_the_least_weight_is_two() -> None:
    """Where more than every second label fails, a failure still adds one."""
    assert weight(0.3) == weight(0.5) == 2


def test_a_goal_that_no_limit_reaches_ends_at_the_highest() -> None:
    """A stream that is always bad signals at any limit, and the search ends."""
    assert least(4, 1, ((0.0, 1.0),), 1e6) == HIGHEST


def test_impossible_charts_are_refused() -> None:
    """No probability, weights that never fall or rise, no limit, and accuracies in the wrong order raise."""
    for p, m, h, k in ((1.5, 8, 31, 1), (0.9, 8, 31, 8), (0.9, 8, 31, 0), (0.9, 8, 0, 1)):
        with pytest.raises(ValueError, match="weights"):
            average_run_length(p, m, h, k)
        with pytest.raises(ValueError, match="weights"):
            run_length(p, m, h, 10, k)
    with pytest.raises(ValueError, match="drifted"):
        reference(0.8, 0.9)
