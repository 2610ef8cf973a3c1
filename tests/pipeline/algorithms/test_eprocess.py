"""The e-process is exact, a martingale, blind to order, and safe to restart."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import betainc, betaln

from pipeline.algorithms.eprocess import e_value, exact_e_value, log_e_value

COUNTS = st.integers(0, 80)
WHOLE = st.integers(1, 20)
REAL = st.floats(0.3, 30)


@settings(deadline=None)
@given(COUNTS, COUNTS, WHOLE, WHOLE)
def test_the_mean_of_both_outcomes_is_the_value_now(wins: int, losses: int, a: int, b: int) -> None:
    """Under a fair coin the evidence is a martingale, exactly."""
    after = (exact_e_value(wins + 1, losses, a, b) + exact_e_value(wins, losses + 1, a, b)) / 2

    assert after == exact_e_value(wins, losses, a, b)


def test_no_comparison_is_no_evidence() -> None:
    """The process starts at exactly 1, whatever the mixture."""
    assert [e_value(0, 0), e_value(0, 0, 3, 9), e_value(0, 0, 0.5, 7.5)] == [1.0, 1.0, 1.0]


def test_the_order_of_comparisons_does_not_matter() -> None:
    """Multiplying the one-step ratios along any order gives the value of the counts alone."""
    for order in set(itertools.permutations((1, 1, 1, 0, 0))):
        wins = losses = 0
        product = Fraction(1)
        for won in order:
            before = exact_e_value(wins, losses)
            wins, losses = wins + won, losses + 1 - won
            product *= exact_e_value(wins, losses) / before

        assert product == exact_e_value(3, 2)


def test_a_restart_in_the_middle_changes_nothing() -> None:
    """The posterior of the first part as mixture of the second multiplies up to the whole."""
    first, second = exact_e_value(7, 3, 12, 6), exact_e_value(5, 4, 19, 9)

    assert first * second == exact_e_value(12, 7, 12, 6)


@given(COUNTS, COUNTS)
def test_the_double_is_the_rounded_fraction(wins: int, losses: int) -> None:
    """Whole parameters are computed exactly and rounded once, given as int or as float."""
    assert e_value(wins, losses, 12.0, 6.0) == float(exact_e_value(wins, losses))


@given(COUNTS, COUNTS, REAL, REAL)
def test_real_parameters_agree_with_the_incomplete_beta_function(wins: int, losses: int, a: float, b: float) -> None:
    """The series equals scipy's betainc and betaln to ten digits."""
    expected = (
        (wins + losses) * math.log(2)
        + betaln(a + wins, b + losses)
        + math.log(betainc(b + losses, a + wins, 0.5))
        - betaln(a, b)
        - math.log(betainc(b, a, 0.5))
    )

    assert log_e_value(wins, losses, a, b) == pytest.approx(expected, rel=1e-9, abs=1e-9)


@given(COUNTS, COUNTS, WHOLE, WHOLE)
def test_whole_and_nearly_whole_parameters_meet(wins: int, losses: int, a: int, b: int) -> None:
    """The exact path and the series are one function."""
    assert log_e_value(wins, losses, a, b) == pytest.approx(log_e_value(wins, losses, a + 1e-10, b), rel=1e-6, abs=1e-6)


def test_huge_counts_neither_fail_nor_overflow() -> None:
    """Thousands of wins give infinity, their logarithm stays finite, and losses never reach zero."""
    assert e_value(5000, 0) == e_value(5000, 0, 12.5, 6) == math.inf
    assert log_e_value(5000, 0) == pytest.approx(log_e_value(5000, 0, 12 + 1e-9, 6), rel=1e-9)
    assert 0 < e_value(0, 5000) < 0.2


@given(COUNTS, COUNTS)
def test_a_win_raises_and_a_loss_lowers_the_evidence(wins: int, losses: int) -> None:
    """The evidence is monotone in both counts."""
    here = exact_e_value(wins, losses)

    assert exact_e_value(wins, losses + 1) < here < exact_e_value(wins + 1, losses)


def test_five_wins_are_the_fewest_that_can_promote() -> None:
    """One comparison at most doubles the evidence, so 20 takes at least five."""
    assert all(e_value(n, 0) <= 2**n for n in range(30))
    assert e_value(4, 0) < 20


@pytest.mark.parametrize(("wins", "losses", "a", "b"), [(-1, 0, 12, 6), (0, -1, 12, 6), (0, 0, 0, 6), (0, 0, 12, -1.5)])
@pytest.mark.parametrize("function", [e_value, log_e_value, exact_e_value])
def test_impossible_counts_and_parameters_are_refused(
    function: Callable[..., Any], wins: int, losses: int, a: float, b: float
) -> None:
    """Negative counts and parameters that are not positive raise."""
    with pytest.raises(ValueError, match="must"):
        function(wins, losses, a, b)
