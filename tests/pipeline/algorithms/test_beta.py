"""Beta posteriors agree with closed forms, scipy, sampling and published intervals."""

from __future__ import annotations

import math
import subprocess
import sys
from fractions import Fraction
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import betainc, betaln, xlogy

from pipeline.algorithms.beta import (
    clopper_pearson,
    far_below,
    interval,
    probability_below,
    probability_best,
    thompson,
    wilson,
)

PARAMETER = st.one_of(st.floats(0.3, 50), st.integers(1, 2000).map(float), st.sampled_from([0.5, 1.0, 1e5]))
ARM = st.tuples(PARAMETER, PARAMETER)
COUNT = st.integers(0, 300)


@settings(max_examples=60, deadline=None)
@given(st.lists(ARM, min_size=1, max_size=5))
def test_the_chances_sum_to_one(arms: list[tuple[float, float]]) -> None:
    """Some arm is best, to ten digits, for parameters below 1 and beyond 1e5."""
    assert sum(probability_best(arms)) == pytest.approx(1, abs=1e-10)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 300), st.floats(0.5, 200), st.floats(0.5, 200))
def test_two_arms_agree_with_the_closed_form(a: int, b: int, c: float, d: float) -> None:
    """Miller's finite sum for the chance that the first of two is better, to nine digits."""
    terms = (betaln(c + i, b + d) - math.log(b + i) - betaln(1 + i, b) - betaln(c, d) for i in range(a))
    closed = sum(math.exp(term) for term in terms)

    assert probability_best([(a, b), (c, d)])[0] == pytest.approx(closed, abs=1e-9)


def split_votes(prior: float, won: tuple[int, ...], of: tuple[int, ...]) -> list[tuple[float, float]]:
    """Posteriors of arms that won so many of so many votes."""
    return [(prior + w, prior + n - w) for w, n in zip(won, of, strict=True)]


@pytest.mark.parametrize(
    ("won", "of"),
    [
        ((39, 41, 43, 45), (50, 50, 50, 50)),
        ((0, 0, 0, 0), (50, 50, 50, 50)),
        ((50, 50, 50, 50), (50, 50, 50, 50)),
        ((150, 10, 5, 0), (180, 12, 8, 0)),
        ((197, 1, 0, 1), (197, 1, 1, 1)),
        ((0, 0, 0, 0), (0, 0, 0, 0)),
        ((20, 30, 0, 60), (100, 33, 7, 60)),
    ],
)
def test_four_arms_with_jeffreys_priors_agree_with_adaptive_quadrature(
    won: tuple[int, ...], of: tuple[int, ...]
) -> None:
    """Up to 200 votes, however they are split and won, scipy's integral over the angle gives the same to 1e-10.

    With the rate as the square of a sine the density has no pole, not even without votes.
    """
    arms = split_votes(0.5, won, of)
    ends = [0.0, *np.linspace(0.01, 0.99, 40) * math.pi / 2, math.pi / 2]
    for index, (chance, (a, b)) in enumerate(zip(probability_best(arms), arms, strict=True)):
        others = [arm for other, arm in enumerate(arms) if other != index]

        def integrand(angle: float, a: float = a, b: float = b, others: list[tuple[float, float]] = others) -> float:
            rate, rest = math.sin(angle) ** 2, math.cos(angle) ** 2
            density = 2 * math.exp(xlogy(a - 0.5, rate) + xlogy(b - 0.5, rest) - betaln(a, b))
            return density * math.prod(float(betainc(c, d, rate)) for c, d in others)

        expected = sum(quad(integrand, low, high, epsabs=1e-14)[0] for low, high in pairwise(ends))
        assert chance == pytest.approx(expected, abs=1e-10)


def polynomial_best(arms: list[tuple[int, int]]) -> list[Fraction]:
    """The chances as exact fractions: for whole parameters densities and distributions are polynomials of the rate."""

    def times(one: list[int], other: list[int]) -> list[int]:
        out = [0] * (len(one) + len(other) - 1)
        for i, x in enumerate(one):
            for j, y in enumerate(other):
                out[i + j] += x * y
        return out

    def falling(power: int) -> list[int]:
        return [(-1) ** k * math.comb(power, k) for k in range(power + 1)]

    below, density = [], []
    for a, b in arms:
        n = a + b - 1
        whole = [0] * (n + 1)
        for j in range(a, n + 1):
            for k, ways in enumerate(falling(n - j)):
                whole[j + k] += math.comb(n, j) * ways
        below.append(whole)
        density.append([0] * (a - 1) + [a * math.comb(n, a) * ways for ways in falling(b - 1)])
    chances = []
    for index, first in enumerate(density):
        product = first
        for other, more in enumerate(below):
            product = times(product, more) if other != index else product
        chances.append(sum((Fraction(ways, power + 1) for power, ways in enumerate(product)), start=Fraction(0)))
    return chances


@pytest.mark.parametrize(
    ("won", "of"),
    [((39, 41, 43, 45), (50, 50, 50, 50)), ((80, 12, 8, 0), (180, 12, 8, 0)), ((0, 50, 0, 50), (50, 50, 50, 50))],
)
def test_four_arms_with_uniform_priors_equal_the_exact_fractions(won: tuple[int, ...], of: tuple[int, ...]) -> None:
    """At 200 votes the integral of the product of polynomials, in whole numbers, is met to 1e-12."""
    arms = split_votes(1, won, of)

    exact = polynomial_best([(int(a), int(b)) for a, b in arms])

    assert sum(exact) == 1
    assert probability_best(arms) == pytest.approx([float(one) for one in exact], abs=1e-12)


@given(st.floats(1e-3, 1e6), st.floats(1e-3, 1e6))
def test_beyond_the_ends_a_density_is_negligible(a: float, b: float) -> None:
    """At its end the density on the logit axis has fallen to e^-40 of its peak, for any parameters."""

    def log_density(logit: float) -> float:
        return -a * float(np.logaddexp(0, -logit)) - b * float(np.logaddexp(0, logit))

    assert log_density(far_below(a, b)) <= log_density(math.log(a / b)) - 40


@pytest.mark.parametrize(
    "arms", [[(23, 8), (25, 6), (26, 5), (28, 3)], [(1, 1)] * 5, [(0.5, 0.5), (3.5, 0.5), (900, 100)], [(2, 1)] * 2]
)
def test_sampling_agrees(arms: list[tuple[float, float]]) -> None:
    """200,000 seeded draws agree within five standard errors."""
    rng = np.random.default_rng(7)
    draws = np.stack([rng.beta(a, b, 200_000) for a, b in arms])
    shares = np.bincount(draws.argmax(axis=0), minlength=len(arms)) / 200_000

    for exact, share in zip(probability_best(arms), shares, strict=True):
        assert share == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / 200_000) + 1e-9)


def test_equal_arms_share_equally_and_one_arm_has_all() -> None:
    """Symmetry fixes the value."""
    assert probability_best([(78, 22)] * 4) == pytest.approx([0.25] * 4, abs=1e-12)
    assert probability_best([(0.5, 9)]) == pytest.approx([1.0], abs=1e-11)


def test_an_arm_far_ahead_of_huge_counts_is_certain() -> None:
    """A hundred thousand votes on each side leave no doubt and no rounding beyond 1."""
    chances = probability_best([(9e4, 1e4), (1e4, 9e4), (0.5, 1e5)])

    assert chances == pytest.approx((1.0, 0.0, 0.0), abs=1e-10)
    assert max(chances) <= 1


@pytest.mark.parametrize("arms", [[], [(0, 1)], [(1, 1), (1, -2)], [(math.nan, 1)]])
def test_impossible_posteriors_are_refused(arms: list[tuple[float, float]]) -> None:
    """No arm, or a parameter that is not positive."""
    with pytest.raises(ValueError, match="positive"):
        probability_best(arms)


@given(st.integers(1, 400), st.integers(1, 400), st.floats(0.001, 0.999))
def test_below_agrees_with_scipy(a: int, b: int, x: float) -> None:
    """The whole-number sum equals betainc, relatively to ten digits."""
    assert probability_below(a, b, x) == pytest.approx(float(betainc(a, b, x)), rel=1e-10, abs=1e-300)


def test_below_at_the_edges_and_at_huge_counts() -> None:
    """Outside (0, 1) the answer is certain; many counts go to scipy."""
    assert [probability_below(3, 4, x) for x in (-1, 0, 1, 2)] == [0.0, 0.0, 1.0, 1.0]
    assert probability_below(60_000, 40_000, 0.6) == pytest.approx(0.5, abs=0.01)
    with pytest.raises(ValueError, match="at least 1"):
        probability_below(0, 1, 0.5)


def test_the_hot_path_does_not_import_scipy() -> None:
    """Importing the module and asking for a tail or Wilson's interval leaves scipy unloaded."""
    code = (
        "import sys; from pipeline.algorithms import beta, eprocess;"
        "beta.probability_below(8, 5, 0.7); beta.wilson(3, 9); eprocess.e_value(9, 2); eprocess.e_value(9, 2, 12.5, 6);"
        "sys.exit(any(name.startswith('scipy') for name in sys.modules))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@given(st.floats(0.3, 500), st.floats(0.3, 500), st.floats(0.5, 0.999))
def test_an_interval_holds_its_level_and_equal_tails(a: float, b: float, level: float) -> None:
    """The distribution function at the ends gives the two tails."""
    low, high = interval(a, b, level)

    assert betainc(a, b, low) == pytest.approx((1 - level) / 2, abs=1e-9)
    assert betainc(b, a, 1 - high) == pytest.approx((1 - level) / 2, abs=1e-6)


@pytest.mark.parametrize(
    ("k", "n", "low", "high"), [(28, 28, 0.877, 1.0), (25, 28, 0.718, 0.977), (0, 10, 0.0, 0.308), (20, 20, 0.832, 1.0)]
)
def test_clopper_pearson_gives_published_intervals(k: int, n: int, low: float, high: float) -> None:
    """Published exact 95 % intervals."""
    assert clopper_pearson(k, n) == pytest.approx((low, high), abs=1e-3)


def test_clopper_pearson_covers() -> None:
    """Summed over all outcomes of 20 trials, the interval covers every rate with at least its level."""
    ends = [clopper_pearson(k, 20, 0.9) for k in range(21)]
    for rate in np.linspace(0.01, 0.99, 50):
        covered = sum(
            math.comb(20, k) * rate**k * (1 - rate) ** (20 - k)
            for k, (low, high) in enumerate(ends)
            if low <= rate <= high
        )

        assert covered >= 0.9


def test_wilson_gives_published_intervals() -> None:
    """Wilson's interval for 8 of 10 and for extremes; none without trials."""
    assert wilson(8, 10) == pytest.approx((0.4902, 0.9433), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0.0, 0.2775), abs=1e-4)
    assert wilson(10, 10) == pytest.approx((0.7225, 1.0), abs=1e-4)
    assert wilson(0, 0) == (0.0, 1.0)


@given(st.integers(0, 500), st.integers(0, 500))
def test_wilson_contains_the_observed_rate(ok: int, bad: int) -> None:
    """The interval lies in [0, 1] and around the share itself."""
    low, high = wilson(ok, ok + bad)

    assert 0 <= low <= high <= 1
    if ok + bad:
        assert low - 1e-12 <= ok / (ok + bad) <= high + 1e-12


@pytest.mark.parametrize("function", [wilson, clopper_pearson])
def test_more_successes_than_trials_are_refused(function: object) -> None:
    """Impossible counts raise, and so do impossible levels."""
    for k, n in ((3, 2), (-1, 2)):
        with pytest.raises(ValueError, match="trials"):
            function(k, n)  # type: ignore[operator]  # parametrised
    with pytest.raises(ValueError, match="level"):
        interval(1, 1, 1.0)


def test_thompson_draws_are_reproducible_and_follow_the_posterior() -> None:
    """The same generator state gives the same draws; the better arm leads as often as it is likely to be best."""
    first = thompson(np.random.default_rng(3), (4, 6), (6, 4))
    leads = [thompson(rng, (4, 6), (6, 4)) for rng in [np.random.default_rng(5)] for _ in range(20_000)]
    share = sum(second > one for one, second in leads) / 20_000
    exact = probability_best([(5, 7), (7, 5)])[1]

    assert first == thompson(np.random.default_rng(3), (4, 6), (6, 4))
    assert share == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / 20_000))
    with pytest.raises(ValueError, match="zip"):
        thompson(np.random.default_rng(3), (1,), (1, 2))
