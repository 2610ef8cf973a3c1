"""Two candidates on the same items: who is ahead, what can still happen, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TypeVar

K = TypeVar("K")

TIE = 0.02  # scores closer than this are equal; ours


def lead(one: Mapping[K, float], other: Mapping[K, float]) -> float:
    """Return how far *one* is ahead of *other*, in items, over those that both were run on.

    >>> lead({"a": 1.0, "b": 0.0, "c": 1.0}, {"a": 0.0, "b": 0.0})
    1.0
    """
    return sum(value - other[item] for item, value in one.items() if item in other)


def potential(rival: Mapping[K, float], left: Iterable[K]) -> float:
    """Return how much a candidate can gain on *rival* at most on the items that are *left*; scores are in [0, 1].

    >>> potential({"a": 0.25, "b": 1.0}, ["a", "b"])
    0.75
    """
    return sum(1.0 - rival[item] for item in left if item in rival)


def wins_losses(one: Mapping[K, float], other: Mapping[K, float]) -> tuple[int, int]:
    """Count the shared items on which *one* is better, and worse; near-equal scores are ties.

    >>> wins_losses({"a": 1.0, "b": 0.0, "c": 0.5}, {"a": 0.0, "b": 1.0, "c": 0.51})
    (1, 1)
    """
    differences = [value - other[item] for item, value in one.items() if item in other]
    return sum(d > TIE for d in differences), sum(d < -TIE for d in differences)


def sign_test(wins: int, losses: int) -> float:
    """Return the exact one-sided p-value of at least so many wins if both were equally good.

    >>> sign_test(4, 0), sign_test(0, 0)
    (0.0625, 1.0)
    """
    n = wins + losses
    return sum(math.comb(n, k) for k in range(wins, n + 1)) / (1 << n)  # in whole numbers: 2**1024 is no float


def probability_better(wins: int, losses: int) -> float:
    """Return the probability that a win is likelier than a loss, after so many of each, from a uniform prior.

    >>> probability_better(3, 0), probability_better(2, 2)
    (0.9375, 0.5)
    """
    n = wins + losses + 1
    return sum(math.comb(n, k) for k in range(wins + 1)) / (1 << n)
