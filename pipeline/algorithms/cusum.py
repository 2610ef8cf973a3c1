"""A CUSUM for a stream of right and wrong, in whole numbers: when has the rate of failures risen?

A success takes `k` from the sum, which never falls below 0, a failure adds `m - k`, and the sum signals when it reaches
its limit; then it begins again at 0. `k/m` lies between the failure rate of a healthy stream and that of a drifted one
(Reynolds and Stoumbos 1999), and k is 1 for the accuracies that a prompt has. No rule with the same distance between
false alarms finds the change it was made for sooner in the worst case (Moustakides 1986).

The state is one whole number, so what the chart does is known exactly: `average_run_length` solves the chain's
equations, `run_length` walks it. By healthy accuracy, known exactly (average run length in parentheses; see
`known_limits`):

    healthy  m   warn limit   alarm limit   labels until the alarm after a fall by 0.14, on average
      0.95  10    20 (304)      29 (1122)      30
      0.92   8    22 (332)      31 (1084)      37
      0.90   7    22 (326)      31 (1044)      42
      0.88   6    20 (317)      29 (1138)      46
      0.85   5    18 (303)      26 (1067)      51
      0.80   4    17 (330)      24 (1060)      58

A healthy accuracy that was itself estimated needs wider limits: `pipeline.algorithms.chance_limits`.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

DROP = 0.11  # the fall of accuracy a chart is made for; 0.10 to 0.12 give the same weights (drift study, B3)
HIGHEST = 1000  # no limit is looked for above it


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One CUSUM and its sum.

    Attributes:
        m: what a failure and a success together weigh, >= 2.
        k: what a success takes, 1 ... m - 1; a failure adds m - k.
        limit: the sum that signals; 0 switches the chart off.
        total: the sum, in [0, limit).
    """

    m: int = 2
    k: int = 1
    limit: int = 0
    total: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Two limits of one chart: a lower one that warns and a higher one that alarms.

    Attributes:
        healthy: the accuracy that counts as healthy, in (0, 1).
        m: the chart's weight; k is 1.
        warn: limit of the warning.
        alarm: limit of the alarm, >= warn.
    """

    healthy: float
    m: int
    warn: int
    alarm: int


def step(chart: Chart, ok: bool) -> tuple[Chart, bool]:  # noqa: FBT001 - the label is the one thing that is stepped
    """Enter one label; return the chart, at 0 again after a signal, and whether it signalled."""
    if not chart.limit:
        return chart, False
    total = max(0, chart.total - chart.k) if ok else chart.total + chart.m - chart.k
    signal = total >= chart.limit
    return Chart(m=chart.m, k=chart.k, limit=chart.limit, total=0 if signal else total), signal


def at_zero(chart: Chart) -> Chart:
    """Return the chart with nothing in its sum."""
    return replace(chart, total=0)


def average_run_length(p: float, m: int, h: int, k: int = 1) -> float:
    """Return the expected number of labels from 0 to the signal, signal included.

    The chain's linear equations are solved exactly by elimination from the highest sum down: what is known of a sum is
    how the way from it to any lower one goes on average. At 0 that is an excursion, and the answer is its mean length,
    the wait for its first failure included, over the chance that it ends in a signal. Only positive numbers are added,
    so nothing cancels, however long the run; and no library starts threads for it, which cost up to a second on a busy
    machine.

    Args:
        p: chance of a success, in [0, 1]; at 1 the answer is infinite, and beyond 1e300 it may be given as infinite.
        m: weight, see `Chart`.
        h: the limit, >= 1.
        k: what a success takes.

    Raises:
        ValueError: *p* is no probability, or no chart has these weights and this limit.

    >>> round(average_run_length(0.92, 8, 31)), round(average_run_length(0.78, 8, 31))
    (1084, 37)
    """
    _check(p, m, h, k)
    if p == 1:
        return math.inf
    ways: dict[int, _Way] = {}
    for total in range(h - 1, 0, -1):
        after = _descent(ways, total, m, h, k)
        ends = 1 - (1 - p) * after.lands[0]  # all but the failures that come back to this sum
        lands = [(1 - p) * mass / ends for mass in after.lands[1:]]
        lands[-1] += p / ends
        ways[total] = _Way((1 + (1 - p) * after.labels) / ends, (1 - p) * after.signals / ends, lands)
    excursion = _descent(ways, 0, m, h, k)
    return (1 / (1 - p) + excursion.labels) / excursion.signals if excursion.signals else math.inf


@dataclass(frozen=True, slots=True)
class _Way:
    """How it goes from one sum to a lower one: labels on average, chance of a signal, chances of each sum below."""

    labels: float
    signals: float
    lands: list[float]


def _descent(ways: dict[int, _Way], total: int, m: int, h: int, k: int) -> _Way:
    """Follow a failure at *total* down until the sum is there again, or below: `lands` is of total, ... total - k."""
    top = total + m - k
    if top >= h:
        return _Way(0.0, 1.0, [0.0] * (k + 1))
    masses = [1.0] + [0.0] * m  # of the sums from the top down
    labels = signals = 0.0
    for depth in range(m - k):
        mass = masses[depth]
        if mass:
            way = ways[top - depth]
            labels += mass * way.labels
            signals += mass * way.signals
            for place, chance in enumerate(way.lands, depth + 1):
                masses[place] += mass * chance
    return _Way(labels, signals, masses[m - k :])


def run_length(p: float, m: int, h: int, labels: int, k: int = 1) -> Floats:
    """Return the chance of a signal within 1, 2, ... *labels* labels of a sum that begins at 0.

    Raises:
        ValueError: see `average_run_length`.

    >>> within = run_length(0.78, 8, 31, 100)
    >>> int(np.searchsorted(within, 0.5)) + 1  # the median delay after a fall to 0.78
    32
    """
    _check(p, m, h, k)
    chain, mass, within = _chain(p, m, h, k), np.zeros(h), np.empty(labels)
    mass[0] = 1.0
    for label in range(labels):
        mass = mass @ chain
        within[label] = 1.0 - mass.sum()
    return within


def _chain(p: float, m: int, h: int, k: int) -> Floats:
    """Return the chances to go from one sum below the limit to another, `[from, to]`; what a row lacks signals."""
    chain = np.zeros((h, h))
    sums = np.arange(h)
    chain[sums, np.maximum(sums - k, 0)] += p
    stay = sums[: max(h - (m - k), 0)]
    chain[stay, stay + m - k] += 1.0 - p
    return chain


def _check(p: float, m: int, h: int, k: int) -> None:
    if not 0 <= p <= 1 or not 1 <= k < m or h < 1:
        raise ValueError(f"needs a probability, weights 1 <= k < m and a limit of at least 1: {p}, {k}, {m}, {h}")


def reference(healthy: float, drifted: float) -> float:
    """Return the failure rate between two accuracies above which failures speak for the lower one, in (0, 1).

    It is where the log-likelihood ratio of one label has mean zero.

    Raises:
        ValueError: not 0 < *drifted* < *healthy* < 1.

    >>> round(1 / reference(0.92, 0.81), 1)
    7.8
    """
    if not 0 < drifted < healthy < 1:
        raise ValueError(f"needs 0 < drifted < healthy < 1: {drifted}, {healthy}")
    per_success = math.log(healthy / drifted)
    per_failure = math.log((1 - drifted) / (1 - healthy))
    return per_success / (per_success + per_failure)


def weight(healthy: float, drop: float = DROP) -> int:
    """Return the m of a chart that is made for a fall of accuracy by *drop*, or by half of *healthy* if that is less.

    >>> [weight(p) for p in (0.95, 0.92, 0.90, 0.88, 0.85, 0.80)]
    [10, 8, 7, 6, 5, 4]
    """
    return max(2, round(1 / reference(healthy, healthy - min(drop, healthy / 2))))


@lru_cache(maxsize=1024)
def known_limits(healthy: float, alarm_labels: float = 1000.0, warn_labels: float = 300.0) -> Limits:
    """Return the least limits at which a stream of exactly this accuracy runs so long between two signals, on average.

    Args:
        healthy: in (0, 1).
        alarm_labels: average run length of the alarm, in labels.
        warn_labels: of the warning.

    Raises:
        ValueError: see `reference`.

    >>> known_limits(0.92)
    Limits(healthy=0.92, m=8, warn=22, alarm=31)
    """
    m = weight(healthy)
    warn, alarm = (least(m, 1, ((healthy, 1.0),), labels) for labels in (warn_labels, alarm_labels))
    return Limits(healthy=healthy, m=m, warn=warn, alarm=max(warn, alarm))


def least(m: int, k: int, rates: tuple[tuple[float, float], ...], labels: float) -> int:
    """Return the least limit with at most one signal per so many labels, on average over *rates*; at most `HIGHEST`.

    Args:
        m: the chart's weight.
        k: what a success takes.
        rates: pairs of an accuracy and its probability.
        labels: per false alarm.
    """
    low, high, over = 0, 2 * m, 0.0
    while (under := -_excess(m, k, high, rates, labels)) < 0:
        if high >= HIGHEST:
            return HIGHEST
        low, high, over = high, min(high + high // 2, HIGHEST), -under
    while (
        high - low > 1
    ):  # the logarithm is nearly a straight line: where that crosses zero is about the limit looked for
        guess = low + round((high - low) * over / (over + under)) if low else high // 2
        guess = min(max(guess, low + 1), high - 1)
        excess = _excess(m, k, guess, rates, labels)
        low, high, over, under = (guess, high, excess, under) if excess > 0 else (low, guess, over, -excess)
    return high


def _excess(m: int, k: int, h: int, rates: tuple[tuple[float, float], ...], labels: float) -> float:
    """Return the logarithm of the signals per so many labels at the limit *h*, on average over *rates*."""
    signals = sum(chance / average_run_length(p, m, h, k) for p, chance in rates)
    return math.log(max(labels * signals, sys.float_info.min))
