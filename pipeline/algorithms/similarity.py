"""How alike two texts or vectors are, and which few of many differ most."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

EXHAUSTIVE = 200_000  # subsets; up to so many, every one is looked at
_SHORTEST, _LONGEST = 3, 5  # letters of an n-gram
_SIGN_BIT = 1 << 31  # of the hash; the place comes from the low bits
_TIE = 1e-12  # scores closer than this are equal: the first subset in index order is taken
_WORD = re.compile(r"\w+|[^\w\s]+")
_PLURALS = (
    (re.compile(r"(?<=..)ies$"), "y"),
    (re.compile(r"(?<=[sxz])es$"), ""),
    (re.compile(r"(?<=..)(?<![sui])s$"), ""),
)
_SUFFIX = re.compile(r"(?<=...)(?:ing|ed)$")
_DOUBLED = re.compile(r"([^lsz])\1$")
_FINAL_E = re.compile(r"(?<=..)e$")


def overlap(found: set[str], wanted: set[str]) -> tuple[float, float, float]:
    """Return (precision, recall, F1) of two sets, each in [0, 1]; two empty sets agree fully.

    >>> overlap({"a", "b"}, {"a"})
    (0.5, 1.0, 0.6666666666666666)
    """
    if not found or not wanted:
        same = float(found == wanted)
        return same, same, same
    hits = len(found & wanted)
    return hits / len(found), hits / len(wanted), 2 * hits / (len(found) + len(wanted))


def stem(word: str) -> str:
    """Cut plural, -ing and -ed from a lower-case English word, roughly: stems are for comparing, not for showing.

    >>> [stem(word) for word in ("settings", "copies", "boxes", "running", "named", "name", "bus")]
    ['set', 'copy', 'box', 'run', 'nam', 'nam', 'bus']
    """
    for plural, singular in _PLURALS:
        if plural.search(word):
            word = plural.sub(singular, word)
            break
    word, cut = _SUFFIX.subn("", word)
    if cut:
        word = _DOUBLED.sub(r"\1", word)
    return _FINAL_E.sub("", word)


def cosine(one: ArrayLike, other: ArrayLike) -> float:
    """Return the cosine of two vectors in [-1, 1]; 0 when either is zero.

    Raises:
        ValueError: the lengths differ.

    >>> cosine((1, 0), (3, 0)), cosine((1, 0), (0, 0))
    (1.0, 0.0)
    """
    return float(cosine_matrix([np.asarray(one, dtype=np.float64), np.asarray(other, dtype=np.float64)])[0, 1])


def cosine_matrix(vectors: ArrayLike) -> Floats:
    """Return the cosines of all pairs of rows.

    Args:
        vectors: shape (n, dims); a zero row has cosine 0 to every row, itself included.

    Returns:
        Shape (n, n), symmetric, in [-1, 1].
    """
    rows: Floats = np.atleast_2d(np.asarray(vectors, dtype=np.float64))
    rows = rows / np.maximum(np.abs(rows).max(axis=1, keepdims=True, initial=0), np.finfo(np.float64).tiny)
    rows = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), np.finfo(np.float64).tiny)
    return np.clip(rows @ rows.T, -1.0, 1.0)


def hashed_ngrams(text: str, dims: int = 1024) -> Floats:
    """Turn a text into a unit vector without any model: signed hashes of the 3- to 5-letter pieces of its words.

    The same text gives the same vector in every process. Cosines are on a scale of their own: paraphrases of a prompt
    have a median near 0.69, and 0.53 parts near from far as 0.70 does for all-MiniLM-L6-v2.

    Args:
        text: any; case and white space do not count.
        dims: length of the vector, a power of two.

    Returns:
        Shape (dims,), unit length, or all zeros for a text without words.
    """
    vector = np.zeros(dims)
    for gram, count in Counter(_grams(text)).items():
        code = zlib.crc32(gram.encode("utf-8", "surrogatepass"))
        vector[code % dims] += (1 + math.log(count)) * (1 if code & _SIGN_BIT else -1)
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def _grams(text: str) -> Iterator[str]:
    """Yield the pieces of each word, its ends marked by spaces; pieces never cross words."""
    for word in _WORD.findall(text.casefold()):
        padded = f" {word} "
        for size in range(_SHORTEST, min(_LONGEST, len(padded)) + 1):
            for start in range(len(padded) - size + 1):
                yield padded[start : start + size]


def most_diverse(
    distance: ArrayLike, k: int, fixed: Sequence[int] = (), weight: Sequence[float] | None = None
) -> tuple[int, ...]:
    """Choose *k* items, beside the fixed ones, that differ most: the largest mean distance of all pairs.

    The optimum is exact, by looking at every subset, for up to 200,000 subsets; beyond that items are added one by one,
    each the best next, which need not be the optimum.

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
    if math.comb(len(free), k) > EXHAUSTIVE:
        return _greedy(matrix / pairs, alone, free, k)
    subsets = np.array(list(combinations(free, k)), dtype=np.intp).reshape(-1, k)
    scores = alone[subsets].sum(axis=1)
    for first, second in combinations(range(k), 2):
        scores += matrix[subsets[:, first], subsets[:, second]] / pairs
    return tuple(int(item) for item in subsets[np.flatnonzero(scores >= scores.max() - _TIE)[0]])


def _greedy(matrix: Floats, alone: Floats, free: list[int], k: int) -> tuple[int, ...]:
    chosen: list[int] = []
    gain = alone.copy()
    for _ in range(k):
        best = max((item for item in free if item not in chosen), key=lambda item: float(gain[item]))
        chosen.append(best)
        gain += matrix[best]
    return tuple(sorted(chosen))
