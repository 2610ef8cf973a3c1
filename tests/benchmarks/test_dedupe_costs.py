"""What comparing prompts costs: one BLAS thread, processor time of this thread, the best of many rounds."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable

import numpy as np
import pytest
from scipy.linalg.blas import ssyrk

from pipeline.algorithms.choice import most_diverse
from pipeline.algorithms.vectors import cosine_matrix, cosines_above, unit_rows

pytestmark = pytest.mark.benchmark


def best_ms(work: Callable[[], object], rounds: int = 25) -> float:
    """Return the least processor time of some rounds, in milliseconds."""
    found = []
    for _ in range(rounds):
        began = time.thread_time()
        work()
        found.append(time.thread_time() - began)
    return min(found) * 1000


def test_a_matrix_of_cosines_costs_hardly_more_than_the_library_underneath() -> None:
    """1,500 vectors of 768 numbers, beside the raw symmetric product of unit rows."""
    rows = np.random.default_rng(0).standard_normal((1500, 768)).astype(np.float32)
    unit = unit_rows(rows)
    ratios = []
    for _ in range(5):
        raw, ours = best_ms(lambda: ssyrk(1.0, unit.T, trans=1), 8), best_ms(lambda: cosine_matrix(rows), 8)
        ratios.append(ours / raw)
    print(f"cosine matrix {ours:.1f} ms, ssyrk {raw:.1f} ms, ratio {min(ratios):.2f}")  # noqa: T201 - this is the result

    assert min(ratios) < 1.4


def test_a_long_history_is_asked_quickly_and_in_little_memory() -> None:
    """Five variants against 20,000 earlier ones."""
    rng = np.random.default_rng(1)
    history = unit_rows(rng.standard_normal((20_000, 768)).astype(np.float32))
    queries = unit_rows(rng.standard_normal((5, 768)).astype(np.float32))
    spent = best_ms(lambda: cosines_above(history, queries, 0.6), 10)
    tracemalloc.start()
    cosines_above(history, queries, 0.6)
    peak = tracemalloc.get_traced_memory()[1] / 2**20
    tracemalloc.stop()
    print(f"history of 20,000: {spent:.1f} ms, {peak:.1f} MiB more")  # noqa: T201 - this is the result

    assert peak < 64
    assert spent < 60


def test_three_of_two_hundred_are_chosen_quickly() -> None:
    """Exactly, out of 1.3 million."""
    half = np.random.default_rng(2).random((200, 200))
    distance = half + half.T
    np.fill_diagonal(distance, 0)
    spent = best_ms(lambda: most_diverse(distance, 3), 8)
    print(f"three of 200: {spent:.1f} ms")  # noqa: T201 - this is the result

    assert spent < 100
