"""How far two opinions agree: rates of a yes/no judge, Youden's J, Cohen's kappa, AUC, Spearman's correlation."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from pipeline.algorithms.beta import Z95, clopper_pearson

LEVEL = 0.95
_LEAST_PAIRS = 4  # below it Fisher's interval of a correlation does not exist


@dataclass(frozen=True, slots=True)
class Figure:
    """A figure with its 95 % interval; all None where nothing can be said."""

    value: float | None
    low: float | None = None
    high: float | None = None
    n: int = 0


def rate(k: int, n: int, level: float = LEVEL) -> Figure:
    """Return *k* of *n* with the exact (Clopper-Pearson) interval.

    >>> one = rate(28, 28)
    >>> round(one.low or 0, 2), one.high
    (0.88, 1.0)
    """
    if n == 0:
        return Figure(None)
    return Figure(k / n, *clopper_pearson(k, n, level), n)


def youden(caught: int, bad: int, passed: int, good: int) -> Figure:
    """Return Youden's J = TPR + TNR - 1 with an interval that covers at least 95 %.

    Each rate has an exact interval of 97.5 %, so that both hold together in at least 95 % of cases.

    Args:
        caught: bad ones that were called bad.
        bad: how many there were.
        passed: good ones that were called good.
        good: how many there were.
    """
    tpr, tnr = rate(passed, good, (1 + LEVEL) / 2), rate(caught, bad, (1 + LEVEL) / 2)
    return _over(tpr, tnr, lambda one, other: one + other - 1, bad + good)


def kappa(caught: int, bad: int, passed: int, good: int) -> Figure:
    """Return Cohen's kappa at this share of bad ones; its interval is made as that of `youden` is.

    With the share of bad ones fixed, kappa rises in both rates, so that the corners of their intervals bound it.

    >>> round(kappa(7, 28, 11, 12).value or 0, 2)
    0.11
    """
    tpr, tnr = rate(passed, good, (1 + LEVEL) / 2), rate(caught, bad, (1 + LEVEL) / 2)
    share = bad / (bad + good) if bad + good else 0.0

    def value(sensitivity: float, specificity: float) -> float:
        observed = (1 - share) * sensitivity + share * specificity
        yes = (1 - share) * sensitivity + share * (1 - specificity)
        by_chance = yes * (1 - share) + (1 - yes) * share
        return (observed - by_chance) / (1 - by_chance) if by_chance < 1 else 0.0

    return _over(tpr, tnr, value, bad + good)


def auc(lower: Sequence[float], higher: Sequence[float]) -> Figure:
    """Return the chance that one of *higher* is above one of *lower*, ties a half, with Hanley and McNeil's interval.

    The interval is approximate, and too narrow for a handful of values.

    >>> auc([1, 2], [2, 3]).value
    0.875
    """
    if not lower or not higher:
        return Figure(None)
    n, m = len(lower), len(higher)
    value = sum((b > a) + 0.5 * (b == a) for a in lower for b in higher) / (n * m)
    one, both = value / (2 - value), 2 * value * value / (1 + value)
    variance = (value * (1 - value) + (m - 1) * (one - value**2) + (n - 1) * (both - value**2)) / (n * m)
    half = Z95 * math.sqrt(max(variance, 0.0))
    return Figure(value, max(0.0, value - half), min(1.0, value + half), n + m)


def spearman(one: Sequence[float], other: Sequence[float]) -> Figure:
    """Return Spearman's rank correlation, ties by their mean rank, with Fisher's approximate interval.

    Raises:
        ValueError: the lengths differ.

    >>> spearman([1, 2, 3, 4], [10, 20, 30, 40]).value
    1.0
    """
    pairs = list(zip(one, other, strict=True))
    first, second = ranks([a for a, _ in pairs]), ranks([b for _, b in pairs])
    n, middle = len(pairs), (len(pairs) + 1) / 2
    spread = math.sqrt(sum((a - middle) ** 2 for a in first) * sum((b - middle) ** 2 for b in second))
    if not spread:
        return Figure(None, n=n)
    value = sum((a - middle) * (b - middle) for a, b in zip(first, second, strict=True)) / spread
    if n < _LEAST_PAIRS or abs(value) >= 1:
        return Figure(max(-1.0, min(1.0, value)), n=n)
    # Fieller, Hartley and Pearson's variance of a rank correlation on Fisher's scale.
    half = Z95 * math.sqrt(1.06 / (n - 3))
    return Figure(value, math.tanh(math.atanh(value) - half), math.tanh(math.atanh(value) + half), n)


def ranks(values: Sequence[float]) -> list[float]:
    """Return the ranks from 1, equal values sharing their mean rank.

    >>> ranks([5, 1, 5])
    [2.5, 1.0, 2.5]
    """
    order = sorted(values)
    first = {value: order.index(value) + 1 for value in set(values)}
    return [first[value] + (order.count(value) - 1) / 2 for value in values]


def _over(tpr: Figure, tnr: Figure, value: Callable[[float, float], float], n: int) -> Figure:
    """Put both rates and the corners of their intervals into a function that rises in both."""
    if tpr.value is None or tnr.value is None:
        return Figure(None)
    low = value(tpr.low or 0.0, tnr.low or 0.0)
    high = value(1.0 if tpr.high is None else tpr.high, 1.0 if tnr.high is None else tnr.high)
    return Figure(value(tpr.value, tnr.value), low, high, n)
