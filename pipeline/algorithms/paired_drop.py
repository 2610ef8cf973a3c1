"""How likely one success rate lies below another, when both were observed on the same items.

Each item falls into one of four cells: both succeeded, only the first, only the second, neither. Under a uniform Dirichlet
prior the first rate leads by s(2t - 1), where s is the share of items on which they differ and t the share of those that
only the first had; s ~ Beta(differing + 2, the others + 2) and t ~ Beta(first_only + 1, second_only + 1) are independent.
What both have in common cancels, so that fewer items show a drop than two unpaired samples need.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from pipeline.algorithms.beta import far_below
from pipeline.algorithms.paired import probability_better

Floats = NDArray[np.float64]

_TAIL = 32.0  # natural log units after which what is left out is below 1e-13
_SHARE = 0.5  # least standard deviations per step; two factors then resolve to 1e-16
_WIDEST = 0.3  # longest step: the integrand's strip of analyticity is pi wide
_ROWS = 64  # terms of a tail that are computed at once


def paired_drop(both: int, first_only: int, second_only: int, neither: int, margin: float) -> float:
    """Return the chance that the second rate lies more than *margin* below the first; exact to 1e-10.

    Args:
        both: items on which both succeeded, >= 0.
        first_only: items on which the first alone succeeded.
        second_only: items on which the second alone succeeded.
        neither: items on which neither succeeded.
        margin: in [-1, 1]; a negative one allows the second to be better by so much.

    Raises:
        ValueError: a count is negative or the margin outside its range.

    >>> paired_drop(40, 6, 6, 8, 0.0), round(paired_drop(70, 8, 2, 20, 0.05), 3)
    (0.5, 0.582)
    """
    if min(both, first_only, second_only, neither) < 0 or not -1 <= margin <= 1:
        raise ValueError(f"counts must not be negative, a margin not beyond 1: {margin}")
    if margin < 0:
        return 1 - paired_drop(both, second_only, first_only, neither, -margin)
    if margin == 0:
        return probability_better(first_only, second_only)
    if margin == 1:
        return 0.0
    return _integral(first_only + second_only + 2, both + neither + 2, (first_only, second_only), margin)


def _integral(a: int, b: int, split: tuple[int, int], margin: float) -> float:
    """Integrate the density of s ~ Beta(a, b) times the chance that t is large enough, over s from *margin* to 1.

    The axis is the logit of the place of s between *margin* and 1; the trapezoid rule needs no ends there.
    """
    step = min(_WIDEST, _SHARE * 2 / math.sqrt(a + b))
    low, high = _place(far_below(a, b), margin), _place(-far_below(b, a), margin)
    logit = np.arange(low, high + step, step)
    above, rest = (1 - margin) / (1 + np.exp(-logit)), (1 - margin) / (1 + np.exp(logit))
    share = margin + above
    log_beta = math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
    density = np.exp((a - 1) * np.log(share) + (b - 1) * np.log(rest) - log_beta)
    more = _more(*split, (share + margin) / (2 * share), above / (2 * share))
    whole = float(np.sum(density * above * rest / (1 - margin) * more)) * step
    return min(max(whole, 0.0), 1.0)


def _place(logit: float, margin: float) -> float:
    """Return where the share with this *logit* lies on the axis, cut at the tails."""
    share = 1 / (1 + math.exp(-logit))
    above, rest = share - margin, 1 / (1 + math.exp(logit))
    return min(max(math.log(above / rest), -_TAIL), _TAIL) if above > 0 else -_TAIL


def _more(first: int, second: int, x: Floats, rest: Floats) -> Floats:
    """Return the chance that t ~ Beta(*first* + 1, *second* + 1) is above *x* = 1 - *rest*, in each place.

    It is the chance of at most *first* successes in first + second + 1 trials at rate *x*; the shorter tail is summed.
    """
    if first > second:
        return 1 - _at_most(first + second + 1, second, rest, x)
    return _at_most(first + second + 1, first, x, rest)


def _at_most(trials: int, limit: int, yes: Floats, no: Floats) -> Floats:
    """Return the chance of at most *limit* successes in *trials* at odds *yes* to *no*, in each place."""
    total, log_yes, log_no = np.zeros_like(yes), np.log(yes), np.log(no)
    whole = math.lgamma(trials + 1)
    for start in range(0, limit + 1, _ROWS):
        k = np.arange(start, min(start + _ROWS, limit + 1))
        log_ways = np.array([whole - math.lgamma(i + 1) - math.lgamma(trials - i + 1) for i in k.tolist()])
        total += np.exp(log_ways[:, None] + np.outer(k, log_yes) + np.outer(trials - k, log_no)).sum(axis=0)
    return total
