"""Which few of many differ most, exactly."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

EXACT = 1.0e7  # additions up to which every subset is looked at: three of 200 take 2.7 million
_TIE = 1e-12  # scores closer than this are equal: the first subset in index order is taken


def most_diverse(
    distance: ArrayLike, k: int, fixed: Sequence[int] = (), weight: Sequence[float] | None = None
) -> tuple[int, ...]:
    """Choose *k* items, beside the fixed ones, that differ most: the largest mean distance of all pairs.

    The optimum is exact where that takes up to `EXACT` additions (three of 200, four of 60); beyond that items are added
    one by one, each the best next, which need not be the optimum.

    Args:
        distance: shape (n, n), symmetric.
        k: how many to choose; all others when fewer are left.
        fixed: indices that count as chosen already and are not returned.
        weight: one value per item, on the distances' scale; the mean over the chosen is added.

    Returns:
        The chosen indices, ascending; of equal subsets the first in index order.

    Raises:
        ValueError: the matrix is not square, or *k* is negative.
    """
    matrix: Floats = np.asarray(distance, dtype=np.float64)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1] or k < 0:  # noqa: PLR2004 - a matrix has two axes
        raise ValueError(f"needs a square matrix and k >= 0: {matrix.shape}, {k}")
    free = [item for item in range(len(matrix)) if item not in fixed]
    k = min(k, len(free))
    if k == 0:
        return ()
    pairs = max(math.comb(k + len(fixed), 2), 1)
    alone = matrix[:, list(fixed)].sum(axis=1) / pairs
    if weight is not None:
        alone = alone + np.asarray(weight, dtype=np.float64) / k
    near, worth = matrix[np.ix_(free, free)] / pairs, alone[free]
    chosen = _exact(near, worth, k) if _additions(len(free), k) <= EXACT else _greedy(near, worth, k)
    return tuple(free[item] for item in chosen)


def _additions(n: int, k: int) -> float:
    return float(n) if k == 1 else math.comb(n, k - 2) * float(n) * n / (1 if k == 2 else 3)  # noqa: PLR2004 - a pair


def _exact(near: Floats, worth: Floats, k: int) -> tuple[int, ...]:
    """Look at every subset: all beginnings one by one, and the last two items of each as a matrix."""
    if k == 1:
        return (int(np.flatnonzero(worth >= worth.max() - _TIE)[0]),)
    last = near + worth[:, None] + worth[None, :]
    last[np.tril_indices(len(last))] = -np.inf  # in ascending order only
    best, chosen = -math.inf, ()
    for begin in _beginnings(len(near), k - 2):
        after = begin[-1] + 1 if begin else 0
        sums = last[after:, after:]
        if begin:
            extra = near[list(begin), after:].sum(axis=0)
            sums = sums + extra[:, None] + extra
        most = float(sums.max()) + _inside(near, worth, begin)
        if most > best + _TIE:
            first = int(np.flatnonzero(sums.ravel() >= sums.max() - _TIE)[0])
            row, column = divmod(first, sums.shape[1])
            best, chosen = most, (*begin, after + row, after + column)
    return chosen


def _beginnings(n: int, size: int) -> Iterator[tuple[int, ...]]:
    """Yield the beginnings that leave two items after them, in index order."""
    yield from combinations(range(n - 2), size)


def _inside(near: Floats, worth: Floats, begin: tuple[int, ...]) -> float:
    pairs = sum(float(near[one, other]) for one, other in combinations(begin, 2))
    return pairs + sum(float(worth[item]) for item in begin)


def _greedy(near: Floats, worth: Floats, k: int) -> tuple[int, ...]:
    chosen: list[int] = []
    gain = worth.copy()
    for _ in range(k):
        best = max((item for item in range(len(gain)) if item not in chosen), key=lambda item: float(gain[item]))
        chosen.append(best)
        gain = gain + near[best]
    return tuple(sorted(chosen))


def farthest_first(vectors: ArrayLike, k: int, start: int = 0) -> tuple[int, ...]:
    """Choose *k* rows, each the least like all chosen before it (Gonzalez 1985): no kind of row is forgotten.

    Args:
        vectors: shape (n, dims), rows of length 1.
        k: how many; all where fewer are there.
        start: the first one.

    Returns:
        Their indices in the order of choice; of equally far rows the first.

    >>> farthest_first([[1, 0], [1, 0], [0, 1]], 2)
    (0, 2)
    """
    rows: Floats = np.asarray(vectors, dtype=np.float64)
    chosen, near = [start], rows @ rows[start] if len(rows) else np.zeros(0)
    while len(chosen) < min(k, len(rows)):
        near[chosen] = np.inf
        chosen.append(int(np.argmin(near)))
        near = np.maximum(near, rows @ rows[chosen[-1]])
    return tuple(chosen[: min(k, len(rows))])
