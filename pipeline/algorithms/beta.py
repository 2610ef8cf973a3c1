"""What success and failure counts say of a rate: Beta posteriors, computed and not sampled.

The quadratures use the trapezoid rule on the logit axis, where every Beta density is smooth and falls off exponentially
on both sides, whatever its parameters; there the rule converges faster than any power of the step.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from fractions import Fraction
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

Z95 = 1.959963984540054  # standard normal quantile of a two-sided 95 % interval
_POINTS = 256  # least number of quadrature points of a drop
_MOST_POINTS = 1 << 17  # reached only beyond a million counts
_STEP = 0.35  # standard deviations of the narrowest density per step; four factors then still resolve to 1e-15
_TAIL = 40.0  # natural log units below the peak at which a density is cut: 4e-18
_SHARE = 0.8  # standard deviations per step for one factor; m factors, narrower by the root of m, resolve to 4e-14
_WIDEST = 0.2  # longest step: the map's strip of analyticity is pi/2 wide, so that no count is too small for it
_MOST_EXACT = 4000  # counts; up to so many, whole-number sums are as fast as importing scipy


def probability_best(posteriors: Sequence[tuple[float, float]]) -> tuple[float, ...]:
    """Return the chance that each arm's rate is the highest, in [0, 1], summing to 1 within 1e-10.

    Args:
        posteriors: one Beta (a, b) per arm, both > 0: add the prior's counts first.

    Raises:
        ValueError: there is no arm, or a parameter is not positive.
    """
    from scipy.special import betainc, expit  # noqa: PLC0415 - importing scipy costs 0.3 s

    if not posteriors or any(not (a > 0 and b > 0) for a, b in posteriors):
        raise ValueError(f"every arm needs two positive parameters: {posteriors}")
    logit, spacing = _grid(posteriors)
    a, b = np.array(posteriors, dtype=float).T[:, :, np.newaxis]
    log_density = -a * np.logaddexp(0, -logit) - b * np.logaddexp(0, logit)
    density = np.exp(log_density - log_density.max(axis=1, keepdims=True)) * spacing
    density /= density.sum(axis=1, keepdims=True)  # nearer to 1 than the Beta function's logarithm at 1e5 counts
    half = int(np.searchsorted(logit, 0))
    low, high = betainc(a, b, expit(logit[:half])), 1 - betainc(b, a, expit(-logit[half:]))
    below = np.concatenate((low, high), axis=1)
    chances = []
    for arm in range(len(posteriors)):
        others = math.prod((row for other, row in enumerate(below) if other != arm), start=density[arm])
        chances.append(min(1.0, float(others.sum())))
    return tuple(chances)


def _grid(posteriors: Sequence[tuple[float, float]]) -> tuple[Floats, Floats]:
    """Return points on the logit axis that cover every density and resolve the narrowest, and their spacing.

    The points are 2 sinh(v) at even v. They lie densest at the rate 1/2, where densities are narrowest, and thin out as
    slowly as the densities widen, so that a tail a hundred units long costs a dozen points.
    """
    low = min(far_below(a, b) for a, b in posteriors)
    high = max(-far_below(b, a) for a, b in posteriors)
    counts = len(posteriors) * max(a + b for a, b in posteriors)
    first, last = math.asinh(low / 2), math.asinh(high / 2)
    points = min(math.ceil((last - first) / min(_WIDEST, _SHARE / math.sqrt(counts))) + 1, _MOST_POINTS)
    even = np.linspace(first, last, points)
    return 2 * np.sinh(even), np.cosh(even)


def far_below(a: float, b: float) -> float:
    """Return a logit below which the density of Beta(*a*, *b*) on the logit axis is less than e^-40 of its peak.

    Normal width and exponential tail, added up: a bound from outside. By symmetry the upper end is -far_below(b, a).
    """
    return math.log(a / b) - math.sqrt(2 * _TAIL * (1 / a + 1 / b)) - _TAIL / a


def probability_below(a: int, b: int, x: float) -> float:
    """Return the chance that a rate with posterior Beta(*a*, *b*), whole numbers, is below *x*.

    It equals the chance of at least *a* successes in a+b-1 trials at rate *x*, summed in whole numbers and rounded once.

    Raises:
        ValueError: a parameter is less than 1.

    >>> probability_below(2, 1, 0.5), round(probability_below(8, 5, 0.7), 4)
    (0.25, 0.7237)
    """
    if a < 1 or b < 1:
        raise ValueError(f"the parameters must be at least 1: {a}, {b}")
    if not 0 < x < 1:
        return float(x >= 1)
    if a + b > _MOST_EXACT:
        from scipy.special import betainc  # noqa: PLC0415 - importing scipy costs 0.3 s

        return float(betainc(a, b, x))
    return _below(a, b, x)


@lru_cache(maxsize=4096)
def _below(a: int, b: int, x: float) -> float:
    rate = Fraction(repr(float(x)))  # the decimal that was meant: its denominator is short
    yes, whole = rate.numerator, rate.denominator
    trials = a + b - 1
    everything: int = whole**trials
    if b <= a:
        return _at_most(trials, b - 1, whole - yes, yes) / everything
    return (everything - _at_most(trials, a - 1, yes, whole - yes)) / everything


def _at_most(trials: int, limit: int, yes: int, no: int) -> int:
    """Return (yes + no)^trials times the chance of at most *limit* successes at odds *yes* to *no*.

    Horner's scheme over the powers of *yes*, from the highest term down, with *no* to the rest at the end.
    """
    choices = [1]
    for successes in range(limit):
        choices.append(choices[-1] * (trials - successes) // (successes + 1))
    total, power = 0, 1
    for chosen in reversed(choices):
        total, power = total * yes + chosen * power, power * no
    last: int = no ** (trials - limit)
    return total * last


def interval(a: float, b: float, level: float = 0.95) -> tuple[float, float]:
    """Return the central credible interval of Beta(*a*, *b*): (low, high) in [0, 1].

    Raises:
        ValueError: a parameter is not positive or *level* not inside (0, 1).
    """
    from scipy.special import betaincinv  # noqa: PLC0415 - importing scipy costs 0.3 s

    if not (a > 0 and b > 0 and 0 < level < 1):
        raise ValueError(f"needs positive parameters and a level inside (0, 1): {a}, {b}, {level}")
    tail = (1 - level) / 2
    return float(betaincinv(a, b, tail)), 1 - float(betaincinv(b, a, tail))


def clopper_pearson(k: int, n: int, level: float = 0.95) -> tuple[float, float]:
    """Return the exact interval for a rate after *k* successes in *n* trials; it covers at least *level*.

    Raises:
        ValueError: not 0 <= *k* <= *n*, or *level* is not inside (0, 1).
    """
    _check_counts(k, n)
    low = interval(k, n - k + 1, level)[0] if k else 0.0
    high = interval(k + 1, n - k, level)[1] if k < n else 1.0
    return low, high


def wilson(k: int, n: int, z: float = Z95) -> tuple[float, float]:
    """Return Wilson's score interval for a rate after *k* successes in *n* trials; (0, 1) after none.

    Raises:
        ValueError: not 0 <= *k* <= *n*.

    >>> [round(end, 3) for end in wilson(8, 10)]
    [0.49, 0.943]
    """
    _check_counts(k, n)
    if n == 0:
        return 0.0, 1.0
    rate, squared = k / n, z * z
    centre = (rate + squared / (2 * n)) / (1 + squared / n)
    half = z * math.sqrt(rate * (1 - rate) / n + squared / (4 * n * n)) / (1 + squared / n)
    return (0.0 if k == 0 else max(0.0, centre - half)), (1.0 if k == n else min(1.0, centre + half))


def thompson(rng: np.random.Generator, wins: Sequence[int], losses: Sequence[int]) -> tuple[float, ...]:
    """Draw one rate per arm from Beta(1 + wins, 1 + losses); play the arm with the highest.

    Raises:
        ValueError: the lengths differ.
    """
    return tuple(float(rng.beta(1 + won, 1 + lost)) for won, lost in zip(wins, losses, strict=True))


def _check_counts(k: int, n: int) -> None:
    if not 0 <= k <= n:
        raise ValueError(f"successes must lie between 0 and the trials: {k} of {n}")
