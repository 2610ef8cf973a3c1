"""What a sequence of yes/no comparisons can show, computed exactly by dynamic programming over (wins, losses).

The rule: after each comparison promote when the e-process reaches `promote`, give up when it falls to `futility`, and
give up after `cap` comparisons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pipeline.algorithms.eprocess import e_value

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class OperatingCharacteristics:
    """What the rule does at one true win rate.

    Attributes:
        promote: chance that the challenger is promoted, in [0, 1]; at a win rate of 1/2 this is the rule's size.
        keep: chance that it is not.
        mean_votes: expected number of comparisons until the rule stops, ties not counted.
    """

    promote: float
    keep: float
    mean_votes: float


def size_and_power(
    p: float, cap: int, promote: float = 20.0, futility: float = 0.2, a: float = 12.0, b: float = 6.0
) -> OperatingCharacteristics:
    """Return the rule's exact operating characteristics at the true win rate *p*.

    Args:
        p: chance that one comparison is won, in [0, 1].
        cap: most comparisons, >= 0.
        promote: evidence that promotes, > 1.
        futility: evidence at which the rule gives up, in [0, 1).
        a: first parameter of the e-process's mixture.
        b: second parameter.

    Raises:
        ValueError: *p* is no probability or *cap* is negative.

    >>> round(size_and_power(0.5, 30).promote, 3), round(size_and_power(0.75, 60).promote, 2)
    (0.018, 0.95)
    """
    return _walk(p, _evidence(cap, a, b), (promote, futility), (0, 0))


def chance_to_promote(
    p: float,
    cap: int,
    promote: float = 20.0,
    futility: float = 0.2,
    a: float = 12.0,
    b: float = 6.0,
    *,
    wins: int = 0,
    losses: int = 0,
) -> float:
    """Return the chance that the rule promotes at the win rate *p*, given the counts so far; see `size_and_power`.

    Raises:
        ValueError: *p* is no probability, or *cap* or a count is negative.
    """
    if wins < 0 or losses < 0:
        raise ValueError(f"counts must not be negative: {wins}, {losses}")
    return _walk(p, _evidence(max(cap, wins + losses), a, b), (promote, futility), (wins, losses)).promote


def _evidence(cap: int, a: float, b: float) -> list[Floats]:
    """Return the e-values as `rows[n][wins]`, for n = 0 ... cap.

    Only the last row is computed; each earlier value is the mean of its two successors, which is the martingale
    identity and, unlike its inverse, loses no digits.
    """
    if cap < 0:
        raise ValueError(f"the cap must not be negative: {cap}")
    row = np.array([e_value(wins, cap - wins, a, b) for wins in range(cap + 1)])
    rows = [row]
    for _ in range(cap):
        row = row[1:] / 2 + row[:-1] / 2
        rows.append(row)
    return rows[::-1]


def _walk(p: float, rows: list[Floats], marks: tuple[float, float], start: tuple[int, int]) -> OperatingCharacteristics:
    """Push all probability from *start* through the rows until the rule has stopped everywhere."""
    if not 0 <= p <= 1:
        raise ValueError(f"a win rate lies between 0 and 1: {p}")
    promote, futility = marks
    mass: Floats = np.zeros(sum(start) + 1)
    mass[start[0]] = 1.0
    promoted = kept = votes = 0.0
    for row in rows[sum(start) :]:
        if row.size > mass.size:
            votes += float(mass.sum())
            mass = np.append(mass * (1 - p), 0.0) + np.append(0.0, mass * p)
        up, down = row >= promote, row <= futility
        promoted, kept = promoted + float(mass[up].sum()), kept + float(mass[down].sum())
        mass = np.where(up | down, 0.0, mass)
    return OperatingCharacteristics(promoted, kept + float(mass.sum()), votes)
