"""How far a running search is: calls made and left, the model time they take, and the time in which it waited."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from math import fsum

from pipeline.costs import MIN_CALLS, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a running search is.

    Attributes:
        calls: made so far, those that were cut off included.
        calls_most: most that it can make.
        model_min: model time of the calls made.
        left_min: model time of the calls left at the mean speed of those made; None while that is not known.
        waited_min: time in which it waited for the user, so far.
    """

    calls: int
    calls_most: int
    model_min: float
    left_min: float | None
    waited_min: float


def progress_of(planned: Plan, budget_min: float, *, calls: int, model_min: float, waited_min: float) -> Progress:
    """Say how far a search is that has made *calls* calls in *model_min* minutes of model time."""
    most = max(planned.calls, calls)
    left = (most - calls) * model_min / calls if calls >= MIN_CALLS else None
    return Progress(
        calls=calls,
        calls_most=most,
        model_min=model_min,
        left_min=None if left is None else max(0.0, min(left, budget_min - model_min)),
        waited_min=waited_min,
    )


def waited_s(pauses: Iterable[tuple[float, float]], starts: Sequence[float]) -> float:
    """Return for how long a run waited, given what its jobs wrote down.

    A job that still finds the gate shut ends, and a fresh one waits on before it writes anything. So pauses without a call
    between them are one wait; it lasts until the next call starts, or so far until the end of its last pause.

    Args:
        pauses: begin and end of each, in seconds on one clock.
        starts: when calls started, on the same clock, ascending.

    >>> waited_s([(0, 20), (40, 40), (90, 95)], [60, 70])
    65.0
    """
    waits: dict[int, tuple[float, float]] = {}
    for begin, end in pauses:
        following = bisect_left(starts, end)
        first, last = waits.get(following, (begin, end))
        waits[following] = min(first, begin), max(last, end)
    ends = ((first, starts[call] if call < len(starts) else last) for call, (first, last) in waits.items())
    return fsum(max(0.0, end - begin) for begin, end in ends)
