"""What a sequence of yes/no comparisons can show, computed exactly by dynamic programming over (wins, losses).

The rule: after each comparison promote when the evidence reaches `promote`, give up when it falls to `futility`, and give
up after `cap` comparisons. The evidence is an e-process, times what was known before the first comparison.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pipeline.algorithms.eprocess import e_value

Floats = NDArray[np.float64]

QUARTILES = (0.25, 0.5, 0.75)
_ROUNDING = 1e-12  # by how much a sum of chances may miss a share that it reaches
_SUM_ERROR = 1e-9  # by how much the chances of a given distribution may miss one


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Outlook:
    """What the votes that are still to come will bring, ties counted.

    Attributes:
        promote: chance that the challenger is promoted, in [0, 1].
        keep: chance that it is not; at the cap it is not.
        undecided: the part of `keep` in which the cap came before either mark.
        mean_votes: expected number of further votes until the decision.
        quartiles: further votes within which the decision has come with chances 0.25, 0.5 and 0.75.
        promote_at: chance of a promotion by exactly so many further votes, from 0 on.
        keep_at: the same for keeping the incumbent; its last entry holds `undecided`.
    """

    promote: float
    keep: float
    undecided: float
    mean_votes: float
    quartiles: tuple[int, int, int]
    promote_at: tuple[float, ...]
    keep_at: tuple[float, ...]


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
    found = outlook(p, cap, promote, futility, a, b)
    return OperatingCharacteristics(found.promote, found.keep, found.mean_votes)


def outlook(
    p: float,
    cap: int,
    promote: float = 20.0,
    futility: float = 0.2,
    a: float = 12.0,
    b: float = 6.0,
    *,
    wins: int = 0,
    losses: int = 0,
    votes: int | None = None,
    least: int = 0,
    start: float | Sequence[tuple[float, float]] = 1.0,
    ties: float = 0.0,
) -> Outlook:
    """Return exactly what the further votes bring at the true win rate *p*; the first six as for `size_and_power`.

    Args (the others): *wins*, *losses* and all *votes* so far (default: no ties), which *cap* counts; *least* votes before
    which nothing is promoted; *start*, evidence from elsewhere that multiplies that of the votes, > 0, or pairs (evidence,
    chance) that sum to one; *ties*, the chance that a vote says nothing and only counts towards *cap* and *least*.

    Raises:
        ValueError: *p* or *ties* is no probability, *cap* or a count is negative, or *start* is no such evidence.

    >>> outlook(0.75, 30, start=8.0).quartiles, outlook(0.75, 30, wins=4, start=8.0, ties=0.5).quartiles
    ((3, 6, 11), (0, 0, 0))
    """
    made = wins + losses if votes is None else votes
    _check(p, cap, ties, (wins, losses, made))
    left, wait = max(0, cap - made), max(0, least - made)
    if wait > left:
        promote, wait = np.inf, 0
    rows = [row[wins : row.size - losses] for row in evidence_rows(wins + losses + left, a, b)[wins + losses :]]
    starts = _distinct(((start, 1.0),) if isinstance(start, int | float) else start, rows, (promote, futility))
    up, down = _spread(p, rows, starts, (promote, futility), (wait, ties))
    return _outlook(up, down)


@lru_cache(maxsize=8)
def evidence_rows(cap: int, a: float = 12.0, b: float = 6.0) -> tuple[Floats, ...]:
    """Return the e-values of all counts as `rows[n][wins]`, for n = 0 ... *cap* comparisons; not to be written to.

    Only the last row is computed; each earlier value is the mean of its two successors, which is the martingale
    identity and, unlike its inverse, loses no digits.

    Raises:
        ValueError: *cap* is so large that an e-value is no double.
    """
    row = np.array([e_value(wins, cap - wins, a, b) for wins in range(cap + 1)])
    if not np.isfinite(row[-1]):
        raise ValueError(f"so many comparisons cannot be computed: {cap}")
    rows = [row]
    for _ in range(cap):
        row = row[1:] / 2 + row[:-1] / 2
        rows.append(row)
    for row in rows:
        row.setflags(write=False)
    return tuple(rows[::-1])


def _check(p: float, cap: int, ties: float, counts: tuple[int, int, int]) -> None:
    wins, losses, votes = counts
    if not (0 <= p <= 1 and 0 <= ties <= 1):
        raise ValueError(f"a win rate and a share of ties lie between 0 and 1: {p}, {ties}")
    if cap < 0:
        raise ValueError(f"the cap must not be negative: {cap}")
    if min(wins, losses) < 0 or votes < wins + losses:
        raise ValueError(f"counts must not be negative, nor more than the votes: {wins}, {losses} of {votes}")


def _distinct(
    pairs: Sequence[tuple[float, float]], rows: Sequence[Floats], marks: tuple[float, float]
) -> tuple[Floats, Floats]:
    """Return evidences and chances as columns; those that meet the marks at the same counts are one."""
    starts, chances = np.array(pairs, dtype=float).T
    if not (np.all(starts > 0) and abs(chances.sum() - 1) <= _SUM_ERROR):
        raise ValueError(f"evidence is positive, and the chances of a distribution sum to one: {pairs}")
    if starts.size > 1:
        ladder = np.unique(np.concatenate(rows))
        met = np.stack(
            [np.searchsorted(ladder, marks[0] / starts), np.searchsorted(ladder, marks[1] / starts, "right")]
        )
        _, first, which = np.unique(met, axis=1, return_index=True, return_inverse=True)
        starts, chances = starts[first], np.bincount(which.ravel(), chances)
    return starts[:, None], chances[:, None]


def _spread(
    p: float,
    rows: Sequence[Floats],
    starts: tuple[Floats, Floats],
    marks: tuple[float, float],
    clock: tuple[int, float],
) -> tuple[Floats, Floats]:
    """Return the chances to promote and to give up by the number of votes, ties counted.

    Ties come independently of who wins. So the walk over the votes that are none is taken once for each count of them
    that may be reached when *wait*, the time without promotions, is over; then it is put on the clock of all votes.
    """
    wait, ties = clock
    if not ties:
        return _walk(p, rows, starts, marks, wait)
    left = len(rows) - 1
    reached = binomials(left, 1 - ties)
    hits = np.zeros_like(reached)  # [t, n]: chance that the t-th vote that is no tie is the n-th of all
    hits[0, 0], hits[1:, 1:] = 1, (1 - ties) * reached[:-1, :-1].T
    promoted, kept = np.zeros(left + 1), np.zeros(left + 1)
    for decisive in range(wait + 1):
        chance = reached[wait, decisive]
        up, down = _walk(p, rows, starts, marks, decisive)
        after = hits[1 : left + 1 - decisive, : left + 1 - wait]
        promoted[wait:] += chance * (up[decisive + 1 :] @ after)
        kept[wait:] += chance * (down[decisive + 1 :] @ after)
        promoted[wait] += chance * up[decisive]
        for n in range(wait + 1):
            for t in range(min(n, decisive) + 1):
                kept[n] += down[t] * hits[t, n] * reached[wait - n, decisive - t]
    return promoted, kept


def _walk(
    p: float, rows: Sequence[Floats], starts: tuple[Floats, Floats], marks: tuple[float, float], first: int
) -> tuple[Floats, Floats]:
    """Push all chances through the rows; return where they end, by row, in (promotions, givings up).

    Nothing is promoted before the row *first*.
    """
    evidence, mass = starts
    promoted, kept = np.zeros(len(rows)), np.zeros(len(rows))
    low = 0  # wins of the first column: only columns and starts that are still between the marks are carried on
    for n, row in enumerate(rows):
        if n:
            grown = np.zeros((mass.shape[0], mass.shape[1] + 1))
            grown[:, :-1] = mass * (1 - p)
            grown[:, 1:] += mass * p
            mass = grown
        here = evidence * row[low : low + mass.shape[1]]
        down = here <= marks[1]
        up = (here >= marks[0]) & (n >= first)
        promoted[n], kept[n] = np.sum(mass, where=up), np.sum(mass, where=down)
        mass = np.where(up | down, 0.0, mass)
        rest = np.flatnonzero(mass.any(axis=0))
        if not rest.size:
            break
        low, mass = low + int(rest[0]), mass[:, rest[0] : rest[-1] + 1]
        going = mass.any(axis=1)
        if not going.all():
            evidence, mass = evidence[going], mass[going]
    return promoted, kept


def binomials(n: int, p: float) -> Floats:
    """Return the chance of k successes in i trials as `table[i, k]`, for i = 0 ... *n*."""
    table = np.zeros((n + 1, n + 1))
    table[0, 0] = 1
    for before, after in pairwise(table):
        after[:] = before * (1 - p)
        after[1:] += before[:-1] * p
    return table


def _outlook(up: Floats, down: Floats) -> Outlook:
    """Sum up; what has not ended at the last vote is kept there."""
    promote = float(up.sum())
    undecided = max(0.0, 1 - promote - float(down.sum()))
    down = down.copy()
    down[-1] += undecided
    ended = np.cumsum(up + down)
    first, middle, last = (int(np.searchsorted(ended, share - _ROUNDING)) for share in QUARTILES)
    return Outlook(
        promote=promote,
        keep=float(down.sum()),
        undecided=undecided,
        mean_votes=float(np.arange(up.size) @ (up + down)),
        quartiles=(first, middle, last),
        promote_at=tuple(up.tolist()),
        keep_at=tuple(down.tolist()),
    )
