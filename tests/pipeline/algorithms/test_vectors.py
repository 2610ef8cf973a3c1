"""Vectors and their cosines agree with independent computations."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.algorithms.vectors import BLOCK, cosine, cosine_matrix, cosines_above, unit_rows

VECTOR = st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4)


@given(VECTOR, VECTOR)
def test_a_cosine_is_symmetric_and_bounded(one: list[float], other: list[float]) -> None:
    """Any two vectors have one cosine in [-1, 1], whatever their order."""
    assert -1 <= cosine(one, other) == cosine(other, one) <= 1


@given(VECTOR)
def test_a_vector_is_like_itself_and_unlike_its_opposite(vector: list[float]) -> None:
    """Scale does not matter, the sign does, and a zero vector is like nothing."""
    expected = 1.0 if any(vector) else 0.0

    assert cosine(vector, [3 * value for value in vector]) == pytest.approx(expected, abs=1e-6)
    assert cosine(vector, [-value for value in vector]) == pytest.approx(-expected, abs=1e-6)


def test_the_matrix_holds_the_cosine_of_each_pair() -> None:
    """Shape, symmetry, diagonal and entries of the matrix."""
    rows = np.random.default_rng(1).normal(size=(6, 9))
    matrix = cosine_matrix(rows)

    assert np.allclose(np.diag(matrix), 1)
    for i, j in combinations(range(6), 2):
        expected = rows[i] @ rows[j] / np.sqrt((rows[i] @ rows[i]) * (rows[j] @ rows[j]))
        assert matrix[i, j] == matrix[j, i] == pytest.approx(expected, abs=1e-6)


def test_extreme_lengths_neither_overflow_nor_vanish() -> None:
    """Vectors of 1e200 and 1e-200 still have an angle."""
    assert cosine((1e200, 0), (1e200, 1e200)) == pytest.approx(2**-0.5)
    assert cosine((1e-200, 0), (1e-200, 1e-200)) == pytest.approx(2**-0.5)


def test_the_rows_above_a_limit_are_found_in_every_block() -> None:
    """The most alike first, for each query by itself; nothing at the limit itself."""
    rng = np.random.default_rng(3)
    history = unit_rows(rng.normal(size=(2 * BLOCK + 5, 8)))
    queries = unit_rows(np.stack([history[0], history[BLOCK + 1], history[-1], -history[0]]))
    found = cosines_above(history, queries, 0.9)

    plain = history @ queries.T
    for query, hits in enumerate(found):
        assert {row for row, _ in hits} == set(np.flatnonzero(plain[:, query] > 0.9).tolist())
        assert [one for _, one in hits] == sorted((one for _, one in hits), reverse=True)
    assert [hits[0][0] for hits in found[:3]] == [0, BLOCK + 1, len(history) - 1]
    assert cosines_above(history[:1], queries[:1], 1.0) == [[]]


def test_rows_have_length_one_and_zero_rows_stay() -> None:
    """Also very long and very short ones."""
    rows = unit_rows([[3.0, 4.0], [0.0, 0.0], [1e-300, 0.0], [1e300, 1e300]])

    assert rows.dtype == np.float32
    assert np.linalg.norm(rows, axis=1) == pytest.approx([1, 0, 1, 1])
