"""A text's fraction is uniform and never changes."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from pipeline.algorithms.splits import fraction


def test_golden_values_never_change() -> None:
    """These numbers hold for ever: a sample must not move between releases."""
    assert [fraction(key) for key in ("", "a", "task-1", "ä\n")] == GOLDEN


@given(st.text())
def test_every_text_has_a_fraction(key: str) -> None:
    """Any text, lone surrogates included, gives a number in [0, 1)."""
    assert 0 <= fraction(key) < 1


def test_a_lone_surrogate_is_a_text_too() -> None:
    """Text that cannot be encoded strictly is no error."""
    assert 0 <= fraction("\ud800") < 1


def test_fractions_are_uniform() -> None:
    """The largest gap to the uniform distribution over 10,000 keys stays under the Kolmogorov bound at 1e-6."""
    places = sorted(fraction(f"key-{index}") for index in range(10_000))
    gap = max(abs(place - index / 10_000) for index, place in enumerate(places))

    assert gap < math.sqrt(math.log(2 / 1e-6) / (2 * 10_000)) + 1e-4


GOLDEN = [0.8931675160897388, 0.2537936105758485, 0.9239751773544986, 0.01529913147549733]
