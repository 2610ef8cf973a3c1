"""The choice of a few that differ most agrees with looking at all of them."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.algorithms import choice
from pipeline.algorithms.choice import most_diverse


@given(st.integers(1, 7), st.integers(0, 4), st.integers(0, 2), st.integers(0, 10**6))
def test_the_most_diverse_subset_is_the_best_of_all(n: int, k: int, held: int, seed: int) -> None:
    """No other subset of the free items has a larger mean distance plus mean weight."""
    rng = np.random.default_rng(seed)
    half = rng.random((n, n))
    distance, weight, fixed = half + half.T, rng.random(n), tuple(range(min(held, n)))
    k_free = min(k, n - len(fixed))
    chosen = most_diverse(distance, k, fixed, list(weight))

    def value(items: tuple[int, ...]) -> float:
        pairs = [distance[i, j] for i, j in combinations((*items, *fixed), 2)]
        inside = sum(distance[i, j] for i, j in combinations(fixed, 2))
        extra = sum(weight[list(items)]) / len(items) if items else 0
        return float((sum(pairs) - inside) / max(len(pairs), 1) + extra)

    assert len(chosen) == k_free
    assert not set(chosen) & set(fixed)
    best = max(value(items) for items in combinations(range(len(fixed), n), k_free))
    assert value(chosen) == pytest.approx(best)


def test_the_fixed_member_keeps_its_twin_out() -> None:
    """An item equal to a fixed one is the last to be chosen, and equal subsets go by index order."""
    distance = [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]

    assert most_diverse(distance, 2, fixed=(0,)) == (2, 3)
    assert most_diverse(distance, 1) == (0,)
    assert most_diverse(distance, 1, weight=(0, 0, 0.5, 0)) == (2,)


def test_a_large_choice_is_greedy_and_no_worse_than_chance() -> None:
    """Beyond the limit of additions the choice beats every one of 200 random ones."""
    rng = np.random.default_rng(4)
    points = rng.normal(size=(60, 3))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    chosen = most_diverse(distance, 6)
    random = [rng.choice(60, 6, replace=False) for _ in range(200)]

    assert len(set(chosen)) == 6
    assert distance[np.ix_(chosen, chosen)].sum() > max(distance[np.ix_(items, items)].sum() for items in random)


def test_choosing_none_or_all_works() -> None:
    """Asking for none gives nothing; asking beyond the free items gives all of them."""
    assert most_diverse(np.zeros((3, 3)), 0) == ()
    assert most_diverse(np.zeros((3, 3)), 9, fixed=(1,)) == (0, 2)
    assert most_diverse(np.zeros((0, 0)), 2) == ()


@pytest.mark.parametrize(("matrix", "k"), [([[0, 1]], 1), ([0, 1], 1), ([[0]], -1)])
def test_impossible_choices_are_refused(matrix: Any, k: int) -> None:
    """The matrix must be square and k not negative."""
    with pytest.raises(ValueError, match="square"):
        most_diverse(matrix, k)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_the_exact_choice_is_never_worse_than_the_greedy_one(monkeypatch: pytest.MonkeyPatch, k: int) -> None:
    """Of 40 items; and three of them are better in some draw, so the two are not the same."""
    better = 0
    for seed in range(10):
        half = np.random.default_rng(seed).random((40, 40))
        distance = half + half.T
        np.fill_diagonal(distance, 0)
        exact = most_diverse(distance, k)
        with monkeypatch.context() as patch:
            patch.setattr(choice, "EXACT", 0.0)
            greedy = most_diverse(distance, k)
        gained = distance[np.ix_(exact, exact)].sum() - distance[np.ix_(greedy, greedy)].sum()
        assert gained >= -1e-9
        better += gained > 1e-9
    assert better or k == 1


def test_three_of_two_hundred_are_chosen_exactly() -> None:
    """1.3 million subsets, in well under a second."""
    half = np.random.default_rng(7).random((200, 200))
    distance = half + half.T
    np.fill_diagonal(distance, 0)
    chosen = most_diverse(distance, 3)
    first, second, third = np.array(list(combinations(range(200), 3))).T
    sums = distance[first, second] + distance[first, third] + distance[second, third]

    assert distance[np.ix_(chosen, chosen)].sum() / 2 == pytest.approx(sums.max())
