"""ADWIN keeps its histogram, finds changes where river's does, and resumes from its text."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib import import_module
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.algorithms.adwin import BUCKETS, CLOCK, Window, from_text, to_text, update

VALUES = st.lists(st.booleans(), max_size=400)


def stream(seed: int, rates: Sequence[float], lengths: Sequence[int]) -> list[bool]:
    """Return values whose rate changes from part to part."""
    rng = np.random.default_rng(seed)
    return [bool(x) for rate, n in zip(rates, lengths, strict=True) for x in rng.random(n) < rate]


def changing(seed: int) -> list[bool]:
    """Return a stream of four parts of random lengths and rates."""
    rng = np.random.default_rng(seed)
    return stream(seed, rng.uniform(0, 1, 4).tolist(), rng.integers(50, 700, 4).tolist())


def detections(values: Sequence[bool], *, forget: bool = False) -> list[int]:
    """Return the places of the detections; *forget* begins with an empty window after each, as river does."""
    window, found = Window(), []
    for place, value in enumerate(values):
        window, changed = update(window, value)
        if changed:
            found.append(place)
            window = Window() if forget else window
    return found


def river_detections(values: Sequence[bool]) -> list[int]:
    """Return where river's detector, with its defaults, finds a change."""
    river: Any = import_module("river.drift")  # here, since it takes two seconds; it ships no types
    detector, found = river.ADWIN(), []
    for place, value in enumerate(values):
        detector.update(int(value))
        if detector.drift_detected:
            found.append(place)
    return found


@pytest.mark.parametrize("first", range(0, 200, 40))
def test_it_detects_where_river_does(first: int) -> None:
    """On forty streams each of four rates, beginning anew after each detection, all are at the same values."""
    different = [
        seed
        for seed in range(first, first + 40)
        for values in [changing(seed)]
        if detections(values, forget=True) != river_detections(values)
    ]

    assert different == []


def test_rivers_difference_is_that_it_forgets_everything() -> None:
    """The first detection is the same; then river's window is empty, and this one keeps the newer part."""
    values = stream(7, (0.9, 0.4), (400, 300))
    window, seen = Window(), 0
    for value in values:
        window, changed = update(window, value)
        seen += 1
        if changed:
            break

    assert detections(values)[0] == river_detections(values)[0] == seen - 1
    assert 0 < window.width < seen


@given(VALUES)
def test_the_histogram_holds_every_value_once(values: list[bool]) -> None:
    """Until a change is found the buckets add up to all values; no bucket and no row holds more than it may."""
    window = Window()
    for place, value in enumerate(values, start=1):
        window, changed = update(window, value)
        if changed:
            return

        assert window.width == place
        assert window.total == sum(values[:place])
        assert all(len(row) <= BUCKETS and max(row, default=0) <= 1 << size for size, row in enumerate(window.rows))


def test_the_state_grows_with_the_logarithm() -> None:
    """After 50,000 values of one rate it is fewer than 600 characters."""
    window = Window()
    for value in stream(3, (0.9,), (50_000,)):
        window, _ = update(window, value)

    assert window.width > 40_000
    assert len(to_text(window)) < 600


def test_a_steady_stream_is_hardly_ever_cut() -> None:
    """Of 40 streams of 1,000 values at 0.92 not one is cut."""
    assert [seed for seed in range(40) if detections(stream(seed, (0.92,), (1000,)))] == []


def test_after_a_change_the_window_is_about_the_new_rate() -> None:
    """A fall from 0.95 to 0.30 is found at the second look, and in the end the window's mean is the new rate."""
    values = stream(5, (0.95, 0.30), (320, 640))
    window = Window()
    for value in values:
        window, _ = update(window, value)

    assert detections(values)[0] < 320 + 2 * CLOCK
    assert window.total / window.width == pytest.approx(0.30, abs=4 * (0.3 * 0.7 / 640) ** 0.5)


def test_only_a_look_detects() -> None:
    """Detections fall on every 32nd value."""
    found = [place for seed in range(20) for place in detections(changing(seed))]

    assert found
    assert all((place + 1) % CLOCK == 0 for place in found)


def test_a_larger_delta_cuts_sooner() -> None:
    """At delta 0.5 the small fall from 0.92 to 0.78 is found, which at 0.002 is not found within 600 values."""
    window, found = Window(), 0
    for value in stream(11, (0.92, 0.78), (200, 600)):
        window, changed = update(window, value, delta=0.5)
        found += changed

    assert found
    assert detections(stream(11, (0.92, 0.78), (200, 600))) == []


@given(VALUES, VALUES)
def test_it_resumes_from_its_text(before: list[bool], after: list[bool]) -> None:
    """Written and read in between, it is in the same state at the end."""
    window = Window()
    for value in before:
        window, _ = update(window, value)
    read = from_text(to_text(window))
    assert read == window

    for value in after:
        (window, changed), (read, same) = update(window, value), update(read, value)
        assert changed == same

    assert read == window
    assert json.loads(to_text(read)) == [read.tick, [list(row) for row in read.rows]]


def test_no_text_is_an_empty_window() -> None:
    """A monitor without labels has none."""
    assert from_text("") == Window()
    with pytest.raises(ValueError, match="Expecting"):
        from_text("{")
