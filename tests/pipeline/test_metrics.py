"""The figures that tell how well evolution works, against scipy, and where an alert begins."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, t

from pipeline.breeding import BY_HAND
from pipeline.domain import MutationType
from pipeline.metrics import (
    ALERT_LEAST,
    GOALS,
    MODEL_WROTE,
    Figures,
    Metric,
    Name,
    Spending,
    State,
    Written,
    mean_interval,
    report,
)
from pipeline.settings import Settings

GAINS = st.lists(st.floats(-1, 1), min_size=2, max_size=30)


def metric(figures: Figures, name: Name) -> Metric:
    """Return one figure."""
    return next(one for one in report(figures).metrics if one.name is name)


def written(useful: int, of: int) -> Figures:
    """Return figures of *of* variants, of which all but *useful* were refused."""
    return Figures(written=Written(variants=of, refused=of - useful))


def spent(**given: float) -> Figures:
    """Return figures of evolutions."""
    return Figures(spending=Spending(**given))  # type: ignore[arg-type]  # keyword tables of tests


def test_every_operator_is_either_written_by_a_model_or_named_as_not() -> None:
    """A new operator is counted unless it needs no model, joins what others wrote, or a person wrote the text."""
    assert frozenset(MutationType) - BY_HAND - MODEL_WROTE == {
        MutationType.SEED,
        MutationType.MANUAL,
        MutationType.UNION,
    }
    assert not MODEL_WROTE & BY_HAND


def test_a_variant_is_useful_when_no_gate_took_it_away() -> None:
    """What was refused, rejected or redundant is not; everything else is, whether it won or not."""
    figures = Figures(written=Written(variants=50, refused=7, rejected=4, redundant=3))

    assert metric(figures, Name.USEFUL).value == 36 / 50


@given(st.integers(0, 60), st.integers(1, 60))
@settings(deadline=None)
def test_rates_have_the_exact_interval(k: int, n: int) -> None:
    """Clopper and Pearson's, as scipy computes it, for variants and for evolutions alike."""
    assume(k <= n)
    expected = binomtest(k, n).proportion_ci(0.95, method="exact")

    useful, cloud = metric(written(k, n), Name.USEFUL), metric(spent(evolutions=n, cloud=k), Name.CLOUD)

    for one in (useful, cloud):
        assert (one.value, one.n) == (k / n, n)
        assert (one.low, one.high) == pytest.approx((expected.low, expected.high), abs=1e-9)


@given(GAINS)
@settings(deadline=None)
def test_the_mean_has_students_interval(gains: list[float]) -> None:
    """With one degree of freedom less than there are promotions, cut where no accuracy can be."""
    assume(max(gains) - min(gains) > 1e-6)
    mean = sum(gains) / len(gains)
    error = (sum((gain - mean) ** 2 for gain in gains) / (len(gains) - 1) / len(gains)) ** 0.5
    low, high = t.interval(0.95, len(gains) - 1, loc=mean, scale=error)

    found = mean_interval(gains)

    assert found is not None
    assert found == pytest.approx((max(-1.0, low), min(1.0, high)), abs=1e-9)


@pytest.mark.parametrize("gains", [(), (0.1,), (0.1, 0.1), (0.83 - 0.8, 0.23 - 0.2)])
def test_without_a_spread_that_was_seen_there_is_no_interval(gains: tuple[float, ...]) -> None:
    """One promotion has none, and two that are equal up to rounding say nothing of how far others would be."""
    assert mean_interval(gains) is None
    assert metric(Figures(gains=gains), Name.GAIN).low is None


@pytest.mark.parametrize(
    ("useful", "of", "state"),
    [
        (0, 0, State.UNKNOWN),
        (0, ALERT_LEAST - 1, State.MISSED),  # too few to raise an alert, however bad
        (0, 5, State.LIKELY),  # 0 to 0.52
        (0, 6, State.SURE),  # 0 to 0.46
        (5, 10, State.MISSED),  # at the mark is not beyond it
        (59, 100, State.MISSED),
        (60, 100, State.MET),
        (49, 100, State.LIKELY),
        (30, 100, State.SURE),
    ],
)
def test_useful_variants_should_be_six_in_ten_and_not_below_five(useful: int, of: int, state: State) -> None:
    """Below the target it is missed, below the mark an alert; sure when the whole interval is."""
    assert metric(written(useful, of), Name.USEFUL).state is state


@pytest.mark.parametrize(
    ("cloud", "of", "state"),
    [
        (0, 0, State.UNKNOWN),
        (0, 3, State.MET),
        (1, 5, State.MISSED),  # at the target is not below it
        (3, 10, State.MISSED),
        (4, 4, State.MISSED),  # too few
        (31, 100, State.LIKELY),
        (50, 100, State.SURE),
    ],
)
def test_the_cloud_should_be_asked_in_fewer_than_one_of_five(cloud: int, of: int, state: State) -> None:
    """More than three in ten raise an alert."""
    assert metric(spent(evolutions=of, cloud=cloud), Name.CLOUD).state is state


@pytest.mark.parametrize(
    ("gains", "state"),
    [
        ((), State.UNKNOWN),
        ((0.83 - 0.80,) * 3, State.MET),  # 0.03 up to rounding
        ((0.02,), State.MISSED),
        ((-0.5, 0.0, 0.0, 0.0), State.MISSED),  # four are too few
        ((0.02,) * 5, State.LIKELY),  # no spread seen, so never sure
        ((-0.1, 0.1, 0.05, 0.0, 0.05), State.LIKELY),
        ((-0.1, -0.11, -0.09, -0.1, -0.12), State.SURE),
    ],
)
def test_promotions_should_gain_three_points(gains: tuple[float, ...], state: State) -> None:
    """Less raises an alert from five measured promotions on."""
    assert metric(Figures(gains=gains), Name.GAIN).state is state


def test_what_is_paid_is_told_in_whole_microdollars_and_never_too_low() -> None:
    """It is rounded up, is below the target up to the last micro-dollar, and raises no alert."""
    cheap, dear = spent(evolutions=3, microdollars=149_997), spent(evolutions=3, microdollars=149_998)

    assert (metric(cheap, Name.COST).value, metric(cheap, Name.COST).state) == (49_999, State.MET)
    assert (metric(dear, Name.COST).value, metric(dear, Name.COST).state) == (50_000, State.MISSED)
    assert metric(spent(evolutions=9, microdollars=10**9), Name.COST).state is State.MISSED
    assert metric(spent(evolutions=2), Name.COST).value == 0


def test_time_and_calls_are_means_without_a_target() -> None:
    """They stand beside the cost, which says nothing as long as all models are local."""
    figures = spent(evolutions=4, calls=1210, minutes=90.0)

    assert (metric(figures, Name.MINUTES).value, metric(figures, Name.CALLS).value) == (22.5, 302.5)
    assert {metric(figures, name).state for name in (Name.MINUTES, Name.CALLS)} == {State.NO_TARGET}


def test_every_alert_offers_its_action() -> None:
    """Each names a setting that exists, or the command with the skill in it; without an alert there is none."""
    figures = replace(
        written(0, 20), spending=Spending(evolutions=20, cloud=20), promotions=5, gains=(-0.1, -0.2, -0.1, -0.2, -0.1)
    )

    alerts = {one.metric: one for one in report(figures, "file-naming").alerts}

    assert list(alerts) == [Name.USEFUL, Name.CLOUD, Name.GAIN]
    assert all(one.sure for one in alerts.values())
    assert "models.generator" in alerts[Name.USEFUL].action
    assert "models.generator" in alerts[Name.CLOUD].action
    assert hasattr(Settings().models, "generator")
    assert alerts[Name.GAIN].action.endswith("evoctl feedback list file-naming --only bad")
    assert report(written(20, 20)).alerts == ()


def test_every_figure_is_there_in_its_order_even_without_data() -> None:
    """A program finds them all; those that have a target are those of the mission."""
    found = report(Figures())

    assert [one.name for one in found.metrics] == list(Name)
    assert all((one.value, one.state) == (None, State.UNKNOWN) for one in found.metrics)
    assert set(GOALS) == {Name.USEFUL, Name.CLOUD, Name.COST, Name.GAIN}


def test_nothing_to_compute_costs_no_scipy() -> None:
    """A home that has not evolved yet need not wait for a third of a second."""
    code = "import sys; from pipeline.metrics import Figures, report; report(Figures()); print('scipy' in sys.modules)"

    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert said.stdout == "False\n"
