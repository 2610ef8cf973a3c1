"""Estimating tokens without a vocabulary: what it costs, what it learns, and how often its bound holds.

The counter that it is held against is simulated (`tests/vocabularies.py`): real byte-level BPE, but no model's vocabulary.
"""

from __future__ import annotations

import random
import statistics
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.algorithms.tokens import UNTAUGHT, Gauge, calibrated, estimate
from tests import vocabularies

ROOT = Path(__file__).parents[3]
TEMPLATE = 37  # tokens that the simulated chat template adds


def texts() -> Iterator[str]:
    """Yield parts of the repository: prose, code, JSON and YAML, of 300 to 6,000 characters."""
    rng = random.Random(5)  # noqa: S311 - which parts are taken, no secret
    for pattern in ("docs/*.md", "pipeline/**/*.py", "tests/**/*.jsonl", "ops/**/*.yaml"):
        for path in sorted(ROOT.glob(pattern)):
            whole = path.read_text("utf-8")[:12_000]
            yield from (whole[start : start + rng.randint(300, 6000)] for start in range(0, len(whole), 4000))


@pytest.fixture(name="calls", scope="module")
def _calls() -> list[tuple[float, int]]:
    """Return estimate and count of every text, in a random order, as a server that adds a template would count."""
    vocabulary = vocabularies.simulated()
    found = [(estimate(text), vocabulary.count(text) + TEMPLATE) for text in texts()]
    random.Random(11).shuffle(found)  # noqa: S311 - an order, no secret
    return found


def test_the_bound_holds_and_the_error_falls(calls: list[tuple[float, int]]) -> None:
    """After ten calls the bound holds in 97 of 100 and the error is a third of what it was before the first."""
    late = [(calibrated(calls[:n], 10**6), calls[n]) for n in range(10, len(calls))]
    held = statistics.mean(count <= gauge.expected(guess) * gauge.factor for gauge, (guess, count) in late)
    error = statistics.mean(abs(gauge.expected(guess) - count) / count for gauge, (guess, count) in late)
    before = statistics.mean(abs(UNTAUGHT.expected(guess) - count) / count for guess, count in calls)

    assert len(late) > 100
    assert held >= 0.97
    assert error <= 0.12
    assert error < before / 3


@pytest.mark.parametrize(("offset", "slope"), [(0, 0.8), (60, 1.0), (300, 1.6)])
def test_offset_and_slope_are_found(offset: int, slope: float) -> None:
    """Of a template's tokens and a vocabulary's fineness, in a hundred calls with 3 % of noise."""
    rng = random.Random(3)  # noqa: S311 - noise of a test
    guesses = [rng.uniform(20, 4000) for _ in range(100)]
    found = calibrated(((g, round((offset + slope * g) * rng.gauss(1, 0.03))) for g in guesses), 10**6)

    assert abs(found.slope - slope) < 0.04
    assert abs(found.offset - offset) < 15 + 0.1 * offset
    assert found.factor < 1.25
    assert found.calls == 100


def test_a_count_of_a_cut_prompt_teaches_nothing() -> None:
    """The server reports the size to which it cut the prompt, which says nothing of its text."""
    honest = [(100.0, 130), (400.0, 430), (900.0, 930)]

    assert calibrated([*honest, (9000.0, 8000)], 8000) == calibrated(honest, 8000)


def test_a_bound_is_wide_at_first_and_narrow_after_many_calls() -> None:
    """Without a call it is 1.6 times the expected count; after 200 good ones less than 1.1 times."""
    assert Gauge().factor == 1.6
    assert calibrated([(g, g + 8) for g in range(100, 300)], 10**6).factor < 1.1


def test_an_empty_text_has_no_tokens_of_its_own() -> None:
    """Only the template's."""
    assert estimate("") == 0.0


@given(st.text(max_size=300), st.text(max_size=300))
def test_an_estimate_grows_with_the_text(one: str, other: str) -> None:
    """Never negative, and two texts side by side have no fewer tokens than either."""
    assert 0 <= estimate(one) <= estimate(f"{one}\n{other}")


@given(st.lists(st.tuples(st.floats(0, 1e9), st.integers(-5, 10**9)), max_size=40))
def test_no_counts_break_a_gauge(calls: list[tuple[float, int]]) -> None:
    """Whatever a server claims, what is learned stays within limits."""
    found = calibrated(calls, 8000)

    assert 0 <= found.offset <= 1000
    assert 0.3 <= found.slope <= 4
    assert 1 < found.factor <= 2
