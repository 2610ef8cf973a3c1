"""Evidence that one side of a series of coin-like comparisons wins more than half of them, valid at any stopping time.

The e-process mixes the likelihood ratio against a win rate of 1/2 over a Beta(a, b) cut to (1/2, 1]. Under "win rate at
most 1/2" it is a supermartingale that starts at 1, so by Ville's inequality it ever reaches x with chance at most 1/x,
however often one looks. Its state is two counts: order, restarts and replays do not change it.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

_SERIES_EPS = 1e-17  # relative size of a term that no longer changes a double


def e_value(wins: int, losses: int, a: float = 12, b: float = 6) -> float:
    """Return the evidence after *wins* and *losses*, in (0, inf]; 1 is no evidence, 20 the usual mark.

    Args:
        wins: count of comparisons won.
        losses: count of comparisons lost; ties are left out.
        a: first parameter of the mixture, > 0; whole numbers are computed exactly and then rounded once.
        b: second parameter, > 0.

    Raises:
        ValueError: a count is negative or a parameter not positive.

    >>> e_value(0, 0), round(e_value(8, 1), 2)
    (1.0, 8.85)
    """
    _check(wins, losses, a, b)
    if _whole(a, b):
        return _exact_rounded(wins, losses, int(a), int(b))
    log_e = log_e_value(wins, losses, a, b)
    return math.exp(log_e) if log_e < math.log(2) * 1023 else math.inf


def log_e_value(wins: int, losses: int, a: float = 12, b: float = 6) -> float:
    """Return the natural logarithm of `e_value`; finite for any counts.

    Raises:
        ValueError: a count is negative or a parameter not positive.
    """
    _check(wins, losses, a, b)
    if _whole(a, b):
        value = exact_e_value(wins, losses, int(a), int(b))
        return math.log(value.numerator) - math.log(value.denominator)
    return _log_upper_mass(a + wins, b + losses) - _log_upper_mass(a, b)


def exact_e_value(wins: int, losses: int, a: int = 12, b: int = 6) -> Fraction:
    """Return the evidence as an exact fraction, for whole parameters.

    Raises:
        ValueError: a count is negative or a parameter not positive.

    >>> (exact_e_value(4, 2) + exact_e_value(3, 3)) / 2 == exact_e_value(3, 2)
    True
    """
    _check(wins, losses, a, b)
    top, bottom = _ratio(wins, losses, a, b)
    return Fraction(top, bottom)


@lru_cache(maxsize=8192)
def _exact_rounded(wins: int, losses: int, a: int, b: int) -> float:
    top, bottom = _ratio(wins, losses, a, b)
    try:
        return top / bottom
    except OverflowError:
        return math.inf


def _ratio(wins: int, losses: int, a: int, b: int) -> tuple[int, int]:
    """Return the evidence as (numerator, denominator), not reduced; the powers of two cancel."""
    top, under_top = _upper_mass(a + wins, b + losses)
    bottom, under_bottom = _upper_mass(a, b)
    return top * under_bottom, under_top * bottom


def _upper_mass(a: int, b: int) -> tuple[int, int]:
    """Return 2^(a+b-1) times the integral of x^(a-1) (1-x)^(b-1) over (1/2, 1], as (numerator, denominator).

    The regularised part is the chance of fewer than *a* heads in a+b-1 fair tosses; the Beta function is
    1 / (a C(a+b-1, a)).
    """
    tosses = a + b - 1
    tail = _heads_below(tosses, a) if a <= b else (1 << tosses) - _heads_below(tosses, b)
    return tail, a * math.comb(tosses, a)


def _heads_below(tosses: int, limit: int) -> int:
    """Count the outcomes of *tosses* with fewer than *limit* heads."""
    total, term = 0, 1
    for heads in range(limit):
        total += term
        term = term * (tosses - heads) // (heads + 1)
    return total


def _log_upper_mass(a: float, b: float) -> float:
    """Return the logarithm of `_upper_mass` for real parameters.

    The series 2F1(a+b, 1; b+1; 1/2) / (2b) has positive terms only, so nothing cancels.
    """
    total, term, index, log_scale = 0.0, 1.0, 0, 0.0
    while term > total * _SERIES_EPS:
        total += term
        term *= (a + b + index) / (2 * (b + 1 + index))
        index += 1
        if total > 1e250:  # noqa: PLR2004 - far below the largest double, so that the next terms still fit
            total, term, log_scale = total * 1e-250, term * 1e-250, log_scale + 250 * math.log(10)
    return math.log(total) + log_scale - math.log(2 * b)


def _whole(a: float, b: float) -> bool:
    return float(a).is_integer() and float(b).is_integer()


def _check(wins: int, losses: int, a: float, b: float) -> None:
    if wins < 0 or losses < 0:
        raise ValueError(f"counts must not be negative: {wins}, {losses}")
    if not (a > 0 and b > 0):
        raise ValueError(f"the mixture's parameters must be positive: {a}, {b}")
