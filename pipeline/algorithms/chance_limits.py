"""Limits of a CUSUM whose healthy accuracy is only known from a first number of labels.

Read as exact, 100 labels break the promise of one false alarm per 1,000: on average there would be 2.6 at a true
accuracy of 0.80 and 1.7 at 0.92, since where the labels happened to go well every later failure counts too much. So a
limit here is the least one at which the false alarms *expected over what those labels leave open* keep to the goal.
What they leave open is a Beta distribution, taken at its three Gauss points, which are exact for any polynomial of
degree five.

Three choices make the promise hold at every true accuracy, and not only on average over them:

* The distribution is Jeffreys' (Beta(1/2, 1/2) first), whatever prior gives the healthy accuracy that is reported:
  Beta(9, 1) pulls a weak stream up by a quarter of the estimate's error, and would give 1.3 false alarms at 0.80.
* An estimate below the floor counts as the floor, with its own uncertainty around it.
* A tenth of the goal is left over (`ROOM`).

Of three neighbouring weights the one with the shortest delay is taken. After 100 labels there are, exactly (binomial
over the labels, linear equations for each limit), per 1,000 labels at a true accuracy of

                        0.80   0.85   0.90   0.92   0.95
    alarms, goal 1      0.91   0.85   0.91   0.88   0.60
    warnings, goal 3.3  3.27   2.83   2.88   2.87   2.38

The median delay of the alarm after a fall from 0.92 to 0.78 is 40 labels from a sum of 0. The least that any choice of
one weight and limit per estimate allows at so many false alarms is 39 (a linear programme over all of them), and 32 if
0.92 were known. With more labels the limits close in by themselves: 36 labels after 200, 33 after 800. The limits after
100 labels, by how many of them were right, with the healthy accuracy (Beta(9, 1)) that is reported:

    right  healthy   m  warn limit  alarm limit
       79    0.800   4          20           33
       80    0.809   4          20           33
       81    0.818   4          19           30
       82    0.827   4          17           26
       83    0.836   4          16           23
       84    0.845   4          14           21
       85    0.855   4          13           19
       86    0.864   4          12           17
       87    0.873   5          18           28
       88    0.882   5          16           24
       89    0.891   5          15           22
       90    0.900   5          14           19
       91    0.909   6          17           26
       92    0.918   6          16           22
       93    0.927   7          18           27
       94    0.936   8          20           30
       95    0.945   9          22           32
       96    0.955  10          21           32
       97    0.964  10          18           26
       98    0.970  12          22           32

Fewer than 79 have the row of 79, more than 98 that of 98.
"""

from __future__ import annotations

import math
from fractions import Fraction
from functools import lru_cache

import numpy as np

from pipeline.algorithms.cusum import DROP, Chart, Limits, average_run_length, least, reference, weight

Rates = tuple[tuple[float, float], ...]  # pairs of a rate and its probability

PRIOR = (9.0, 1.0)  # of the healthy accuracy that is reported: nine in ten, worth ten labels (drift study, B3)
JEFFREYS = 0.5  # both parameters of the prior behind the limits
ROOM = 0.9  # share of the goal that is used
FLOOR, CAP = (
    0.80,
    0.97,
)  # accuracy below which nothing counts as healthy, and above which the sum would weigh one failure alone
LOWEST = 0.5  # accuracy below which a success would have to take more than a failure adds
SHIFT = 2.0  # factor on the odds that the charts of a rate are made for: a small rate doubles or halves
RAREST = 0.05  # rate below which a doubling is looked for as if from it
HALVED = 0.10  # rate below which a halving is not looked for: it would take 400 labels to see
_GAUSS_POINTS = 3
_FINEST = 16  # largest weight of a rate's chart: limits and the work to find them grow with it


def healthy_accuracy(ok: int, bad: int) -> float:
    """Return the posterior mean of the accuracy after these labels, from the prior Beta(9, 1).

    >>> round(healthy_accuracy(92, 8), 3)
    0.918
    """
    a, b = PRIOR
    return (a + ok) / (a + b + ok + bad)


@lru_cache(maxsize=1024)
def estimated_limits(
    ok: int, bad: int, floor: float = FLOOR, alarm_labels: float = 1000.0, warn_labels: float = 300.0
) -> Limits:
    """Choose weights and limits for a stream of which *ok* right and *bad* wrong labels were seen while it was healthy.

    Args:
        ok: right labels, >= 0.
        bad: wrong ones; the promise above was computed from 50 labels on.
        floor: least accuracy that counts as healthy, in [0.5, 0.97].
        alarm_labels: labels per false alarm, at least.
        warn_labels: labels per false warning.

    Raises:
        ValueError: a count is negative, or the floor outside its range.

    >>> estimated_limits(92, 8)
    Limits(healthy=0.9181818181818182, m=6, warn=16, alarm=22)
    """
    if ok < 0 or bad < 0 or not LOWEST <= floor <= CAP:
        raise ValueError(f"needs counts and a floor between {LOWEST} and {CAP}: {ok}, {bad}, {floor}")
    strength = ok + bad + 2 * JEFFREYS
    centre = _between(floor, (ok + JEFFREYS) / strength, CAP)
    rates = beta_points(centre * strength, (1 - centre) * strength)
    low = centre - math.sqrt(centre * (1 - centre) / (strength + 1))
    made_for = weight(low)
    candidates = [(m, least(m, 1, rates, alarm_labels / ROOM)) for m in range(max(2, made_for - 1), made_for + 2)]
    m, alarm = min(candidates, key=lambda chosen: average_run_length(low - min(DROP, low / 2), *chosen))
    warn = least(m, 1, rates, warn_labels / ROOM)
    return Limits(healthy=_between(floor, healthy_accuracy(ok, bad), CAP), m=m, warn=warn, alarm=max(warn, alarm))


def shift_charts(hits: int, misses: int, labels: float) -> tuple[Chart, Chart]:
    """Choose two charts that signal when the odds of a hit have doubled, and when they have halved.

    A hit counts as the failure of the first chart and as the success of the second. A chart whose change could not be
    seen in useful time is off: a rise of what happens in more than nine of ten, a fall of what happens in fewer than
    one of ten. After 100 labels with a true rate of 0.10, 0.20 or 0.30, a doubled rate is seen after 125, 63 and 40
    labels, a halved one after 404, 162 and 102 (medians), at 0.9 false signals per 1,000 labels at most, both charts
    together.

    Args:
        hits: in the labels that say what is usual, >= 0.
        misses: the rest of them.
        labels: per false signal of the two charts together, at least.

    Raises:
        ValueError: a count is negative.
    """
    if hits < 0 or misses < 0:
        raise ValueError(f"counts must not be negative: {hits}, {misses}")
    strength = hits + misses + 2 * JEFFREYS
    rate = (hits + JEFFREYS) / strength
    return _rise(rate, strength, 2 * labels), _rise(1 - rate, strength, 2 * labels)


@lru_cache(maxsize=1024)
def _rise(rate: float, strength: float, labels: float) -> Chart:
    """Return the chart for a rise of *rate*, the rate of failures in its own words."""
    if rate > 1 - HALVED:
        return Chart()
    usual = max(rate, RAREST)
    risen = usual * SHIFT / (1 - usual + usual * SHIFT)
    share = Fraction(reference(1 - usual, 1 - risen)).limit_denominator(_FINEST)
    m, k = share.denominator, share.numerator
    rates = beta_points((1 - usual) * strength, usual * strength)
    return Chart(m=m, k=k, limit=least(m, k, rates, labels / ROOM))


def beta_points(a: float, b: float) -> Rates:
    """Return the three Gauss points of Beta(*a*, *b*) and their weights: exact for polynomials of degree five.

    They are the eigenvalues of the Jacobi matrix of the weight's orthogonal polynomials (Golub and Welsch 1969), moved
    from [-1, 1] to [0, 1].

    Args:
        a: first parameter, > 0.
        b: second parameter, > 0.

    >>> round(sum(chance * rate**5 for rate, chance in beta_points(2, 3)), 6)  # 2·3·4·5·6 / (5·6·7·8·9)
    0.047619
    """
    total, tilt = a + b - 2, (a - 1) ** 2 - (b - 1) ** 2
    middles, sides = [(a - b) / (a + b)], []
    for n in range(1, _GAUSS_POINTS):
        size = 2 * n + total
        share = (n + total) / (size - 1) if n > 1 else 1.0  # written so, a + b may be 1
        middles.append(tilt / (size * (size + 2)))
        sides.append(math.sqrt(4 * n * (n + a - 1) * (n + b - 1) * share / (size * size * (size + 1))))
    points, vectors = np.linalg.eigh(np.diag(middles) + np.diag(sides, 1) + np.diag(sides, -1))
    return tuple((float(1 + point) / 2, float(first) ** 2) for point, first in zip(points, vectors[0], strict=True))


def _between(low: float, value: float, high: float) -> float:
    return min(max(value, low), high)
