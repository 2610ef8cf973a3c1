"""The rule's size and power are what the decision study measured."""

from __future__ import annotations

import math

import numpy as np
import pytest
from numpy.typing import NDArray

from pipeline.algorithms.duel import chance_to_promote, size_and_power
from pipeline.algorithms.eprocess import e_value

RUNS = 4000


@pytest.mark.parametrize(("cap", "size"), [(30, 0.018), (60, 0.026), (120, 0.032), (200, 0.034)])
def test_the_size_is_exact_and_below_five_per_cent(cap: int, size: float) -> None:
    """An equal challenger is promoted with the published probability, and never more often than Ville allows."""
    result = size_and_power(0.5, cap)

    assert result.promote == pytest.approx(size, abs=5e-4)
    assert result.promote <= 1 / 20


@pytest.mark.parametrize(("p", "power", "votes"), [(0.65, 0.51, 42), (0.70, 0.78, 34), (0.75, 0.95, 26)])
def test_sixty_votes_have_the_published_power(p: float, power: float, votes: float) -> None:
    """Power and mean length at cap 60."""
    result = size_and_power(p, 60)

    assert result.promote == pytest.approx(power, abs=0.01)
    assert result.mean_votes == pytest.approx(votes, abs=1)


def test_the_outcomes_are_complete() -> None:
    """Promoting and keeping sum to one at every win rate and cap."""
    for p in np.linspace(0, 1, 11):
        for cap in (0, 1, 7, 60):
            result = size_and_power(float(p), cap)

            assert result.promote + result.keep == pytest.approx(1, abs=1e-12)
            assert 0 <= result.mean_votes <= cap


def test_power_grows_with_the_win_rate_and_with_the_cap() -> None:
    """A better challenger, or more votes, never promote less."""
    by_rate = [size_and_power(p, 30).promote for p in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)]
    by_cap = [size_and_power(0.65, cap).promote for cap in (10, 20, 40, 80, 160)]

    assert by_rate == sorted(by_rate)
    assert by_cap == sorted(by_cap)


def test_simulated_duels_agree() -> None:
    """4000 seeded duels at 0.7 agree within five standard errors."""
    rng = np.random.default_rng(20260801)
    exact = size_and_power(0.7, 30)
    promoted = sum(_promotes(rng.random(30) < 0.7) for _ in range(RUNS))

    bound = 5 * math.sqrt(exact.promote * exact.keep / RUNS)
    assert promoted / RUNS == pytest.approx(exact.promote, abs=bound)


def _promotes(outcomes: NDArray[np.bool_]) -> bool:
    wins = losses = 0
    for won in outcomes:
        wins, losses = wins + int(won), losses + 1 - int(won)
        evidence = e_value(wins, losses)
        if evidence >= 20 or evidence <= 0.2:
            return evidence >= 20
    return False


def test_the_chance_from_here_averages_over_the_next_comparison() -> None:
    """The chance at (4, 2) is the mean of those after one more win and one more loss."""
    here = chance_to_promote(0.7, 30, wins=4, losses=2)
    won, lost = chance_to_promote(0.7, 30, wins=5, losses=2), chance_to_promote(0.7, 30, wins=4, losses=3)

    assert here == pytest.approx(0.7 * won + 0.3 * lost, abs=1e-12)


def test_a_decided_duel_stays_decided() -> None:
    """Counts beyond a mark or the cap give chance one or zero."""
    assert chance_to_promote(0.1, 30, wins=20, losses=1) == 1.0
    assert chance_to_promote(0.9, 30, wins=0, losses=20) == 0.0
    assert chance_to_promote(0.9, 10, wins=6, losses=5) == 0.0


def test_no_votes_can_show_nothing() -> None:
    """With a cap of zero the incumbent stays."""
    assert chance_to_promote(0.99, 0) == 0.0


def test_impossible_questions_are_refused() -> None:
    """A win rate outside [0, 1], a negative cap and negative counts raise."""
    with pytest.raises(ValueError, match="win rate"):
        size_and_power(1.5, 10)
    with pytest.raises(ValueError, match="cap"):
        size_and_power(0.5, -1)
    with pytest.raises(ValueError, match="counts"):
        chance_to_promote(0.5, 10, wins=-1)
