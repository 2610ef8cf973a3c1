"""Paired comparisons against scipy, and what a race may conclude from them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import beta, binomtest

from pipeline.algorithms.paired import TIE, lead, potential, probability_better, sign_test, wins_losses

SCORES = st.dictionaries(st.integers(0, 12), st.floats(0, 1), max_size=12)
COUNTS = st.integers(0, 150)


@given(COUNTS, COUNTS)
@settings(deadline=None)
def test_the_sign_test_is_the_exact_binomial_test(wins: int, losses: int) -> None:
    """One-sided, against a fair coin; with nothing to compare it says nothing."""
    expected = binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue if wins + losses else 1.0

    assert sign_test(wins, losses) == pytest.approx(expected, abs=1e-12)


@given(COUNTS, COUNTS)
@settings(deadline=None)
def test_the_probability_is_the_upper_half_of_the_beta_posterior(wins: int, losses: int) -> None:
    """From a uniform prior over how likely a win is."""
    assert probability_better(wins, losses) == pytest.approx(float(beta.sf(0.5, 1 + wins, 1 + losses)), abs=1e-12)


@given(COUNTS, COUNTS)
@settings(deadline=None)
def test_one_more_win_never_makes_it_less_sure(wins: int, losses: int) -> None:
    """More wins raise the probability and lower the p-value; the two sides of the probability sum to one."""
    assert probability_better(wins + 1, losses) >= probability_better(wins, losses)
    assert sign_test(wins + 1, losses) <= sign_test(wins, losses)
    assert probability_better(wins, losses) + probability_better(losses, wins) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(("wins", "losses"), [(700, 700), (1200, 300), (0, 1500), (1500, 0)])
def test_more_than_a_thousand_samples_do_not_overflow(wins: int, losses: int) -> None:
    """The largest settings give more pairs than a power of two fits into a float."""
    assert sign_test(wins, losses) == pytest.approx(
        binomtest(wins, wins + losses, 0.5, alternative="greater").pvalue, abs=1e-9
    )
    assert probability_better(wins, losses) == pytest.approx(float(beta.sf(0.5, 1 + wins, 1 + losses)), abs=1e-9)


@given(SCORES, SCORES)
@settings(deadline=None)
def test_a_lead_is_the_others_deficit(one: dict[int, float], other: dict[int, float]) -> None:
    """Only shared items count, and what one gains the other loses; nobody leads itself."""
    shared = one.keys() & other.keys()

    assert lead(one, other) == pytest.approx(-lead(other, one))
    assert lead(one, other) == pytest.approx(sum(one[k] for k in shared) - sum(other[k] for k in shared))
    assert lead(one, one) == 0


@given(SCORES, SCORES, st.data())
@settings(deadline=None)
def test_nobody_gains_more_than_the_potential(
    rival: dict[int, float], done: dict[int, float], data: st.DataObject
) -> None:
    """However the items that are left turn out, the lead at the end is at most the lead now and the potential."""
    left = sorted(rival.keys() - done.keys())
    rest = {key: data.draw(st.floats(0, 1)) for key in left}

    assert lead(done | rest, rival) <= lead(done, rival) + potential(rival, left) + 1e-9
    assert lead(done | dict.fromkeys(left, 1.0), rival) == pytest.approx(lead(done, rival) + potential(rival, left))


@given(SCORES, SCORES)
@settings(deadline=None)
def test_wins_and_losses_change_sides_with_the_members(one: dict[int, float], other: dict[int, float]) -> None:
    """Each shared item is a win, a loss or a tie, and never two of them."""
    wins, losses = wins_losses(one, other)

    assert wins_losses(other, one) == (losses, wins)
    assert wins + losses <= len(one.keys() & other.keys())
    assert wins_losses(one, one) == (0, 0)


def test_nearly_equal_scores_are_ties() -> None:
    """A difference of at most the tie's width is neither won nor lost, a larger one is."""
    assert wins_losses({1: 0.5 + TIE / 2, 2: 0.5 - TIE / 2}, {1: 0.5, 2: 0.5}) == (0, 0)
    assert wins_losses({1: 0.5 + 2 * TIE, 2: 0.5 - 2 * TIE}, {1: 0.5, 2: 0.5}) == (1, 1)


def test_without_shared_items_nothing_is_known() -> None:
    """Nobody leads, nothing can be gained, and either is as likely the better."""
    assert lead({1: 1.0}, {2: 0.0}) == 0
    assert potential({}, [1, 2]) == 0
    assert (sign_test(0, 0), probability_better(0, 0)) == (1.0, 0.5)
