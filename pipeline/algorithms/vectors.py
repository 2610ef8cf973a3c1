"""Cosines of many vectors at the speed of the library underneath, in single precision and bounded memory.

A product of a matrix with its own transpose is a symmetric update (`ssyrk`), which numpy finds by itself: half the work
of a plain product. One thread is fastest at these sizes; whoever loads numpy sets OPENBLAS_NUM_THREADS=1.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Singles = NDArray[np.float32]

BLOCK = 4096  # rows of a history that are compared at a time: 12 MB of 768 numbers


def unit_rows(vectors: ArrayLike) -> Singles:
    """Return the rows at length 1; a zero row stays zero.

    Args:
        vectors: shape (n, dims).

    Returns:
        Shape (n, dims), float32, contiguous.
    """
    rows = np.atleast_2d(np.asarray(vectors))
    if rows.dtype != np.float32:
        rows = rows.astype(np.float64)
        rows = rows / np.maximum(np.abs(rows).max(axis=1, keepdims=True, initial=0), np.finfo(np.float64).tiny)
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    unit: Singles = (rows / np.where(lengths > 0, lengths, 1)[:, None]).astype(np.float32, order="C", copy=False)
    return unit


def cosine_matrix(vectors: ArrayLike) -> Singles:
    """Return the cosines of all pairs of rows.

    Args:
        vectors: shape (n, dims); a zero row has cosine 0 to every row, itself included.

    Returns:
        Shape (n, n), symmetric, in [-1, 1].
    """
    rows = unit_rows(vectors)
    found: Singles = rows @ rows.T
    np.clip(found, -1, 1, out=found)
    return found


def cosine(one: ArrayLike, other: ArrayLike) -> float:
    """Return the cosine of two vectors in [-1, 1]; 0 when either is zero.

    Raises:
        ValueError: the lengths differ.

    >>> cosine((1, 0), (3, 0)), cosine((1, 0), (0, 0))
    (1.0, 0.0)
    """
    return float(cosine_matrix([np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)])[0, 1])


def cosines_above(history: Singles, queries: Singles, least: float) -> list[list[tuple[int, float]]]:
    """Return, for each query, the rows of the history whose cosine is above *least*, the most alike first.

    Args:
        history: shape (n, dims), rows of length 1.
        queries: shape (q, dims), rows of length 1.
        least: in [-1, 1].

    Returns:
        One list for each query of (row, cosine).
    """
    found: list[list[tuple[int, float]]] = [[] for _ in range(len(queries))]
    for start in range(0, len(history), BLOCK):
        near = history[start : start + BLOCK] @ queries.T
        for row, query in np.argwhere(near > least):
            found[query].append((start + int(row), min(1.0, float(near[row, query]))))
    for one in found:
        one.sort(key=lambda hit: -hit[1])
    return found
