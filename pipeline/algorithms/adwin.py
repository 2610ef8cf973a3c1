"""ADWIN: a window over a stream of yes and no that drops its older part when that differs from the newer one.

Bifet and Gavalda 2007, in the second form: the window is an exponential histogram, in which row i holds at most five
buckets of 2^i values each, so that n values need about 5 log2(n/5) whole numbers. At every 32nd value each border
between two buckets is tried as a cut; where the means of the two sides differ by more than chance allows (a Bernstein
bound at `delta`, shared among the cuts), the oldest bucket goes, until no cut is left.

Its promise is on the *mean of the window*, not on the delay: to see 0.92 become 0.78 at delta 0.002 it needs about 165
values on either side, where a CUSUM needs 40 of the new ones. It is evidence beside an alarm, not the alarm.

`river.drift.ADWIN` 0.26.1 detects at the same values (tests), until the first detection: then it forgets the whole
window, and this one, as in the paper, only the older part. (Its earlier versions passed over the newest bucket of each
size: online-ml/river#1539.)
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass

DELTA = 0.002  # chance of a false cut that is shared among all cuts of one look; river's and MOA's default
CLOCK = 32  # values between two looks
GRACE = 10  # values before the first look
SHORTEST = 5  # values on either side of a cut
BUCKETS = 5  # most buckets of one size

Rows = tuple[tuple[int, ...], ...]


@dataclass(frozen=True, slots=True)
class Window:
    """The state: whole numbers only.

    Attributes:
        rows: per size 1, 2, 4, ... the count of "yes" in each bucket, oldest first.
        tick: values since the last look, in [0, 32).
    """

    rows: Rows = ((),)
    tick: int = 0

    @property
    def width(self) -> int:
        """Return how many values the window holds."""
        return sum(len(row) << size for size, row in enumerate(self.rows))

    @property
    def total(self) -> int:
        """Return how many of them are "yes"."""
        return sum(map(sum, self.rows))


def update(window: Window, yes: bool, delta: float = DELTA) -> tuple[Window, bool]:  # noqa: FBT001 - the value itself
    """Enter one value; return the window and whether a change was detected, which only a look can do.

    Args:
        window: what was seen so far.
        yes: the value.
        delta: sensitivity, in (0, 1): the larger, the sooner it cuts.
    """
    rows = _entered(window.rows, int(yes))
    tick = window.tick + 1
    if tick < CLOCK:
        return Window(rows, tick), False
    return _looked(Window(rows, 0), delta)


def _entered(rows: Rows, value: int) -> Rows:
    """Put a value into the first row; where a row overflows, its two oldest buckets become one of the next size."""
    row = (*rows[0], value)
    if len(row) <= BUCKETS:
        return (row, *rows[1:])
    return (row[2:], *_entered(rows[1:] or ((),), row[0] + row[1]))


def _looked(window: Window, delta: float) -> tuple[Window, bool]:
    """Drop the oldest buckets until no cut is left."""
    changed = False
    while window.width > GRACE and _has_cut(window, delta):
        window, changed = Window(_without_oldest(window.rows), window.tick), True
    return window, changed


def _has_cut(window: Window, delta: float) -> bool:
    width, total = window.width, window.total
    share = total / width
    variance, log_term = share * (1 - share), math.log(2 * math.log(width) / delta)
    for old, old_total in _cuts(window.rows):
        new = width - old
        if new < SHORTEST:
            return False
        if old >= SHORTEST:
            inverse = 1 / (old - SHORTEST + 1) + 1 / (new - SHORTEST + 1)
            bound = math.sqrt(2 * inverse * variance * log_term) + 2 / 3 * log_term * inverse
            if abs(old_total / old - (total - old_total) / new) > bound:
                return True
    return False


def _cuts(rows: Rows) -> Iterator[tuple[int, int]]:
    """Yield, from the oldest border on, how many values lie before it and how many of those are "yes"."""
    old = old_total = 0
    for size in range(len(rows) - 1, -1, -1):
        for bucket in rows[size]:
            old, old_total = old + (1 << size), old_total + bucket
            yield old, old_total


def _without_oldest(rows: Rows) -> Rows:
    """Drop the oldest bucket, and its row where it was the last one there."""
    last = rows[-1][1:]
    return (*rows[:-1], last) if last or len(rows) == 1 else rows[:-1]


def to_text(window: Window) -> str:
    """Write the state as compact JSON; see `from_text`.

    >>> to_text(update(Window(), True)[0])
    '[1,[[1]]]'
    """
    return json.dumps([window.tick, window.rows], separators=(",", ":"))


def from_text(text: str) -> Window:
    """Read what `to_text` wrote; an empty text is an empty window.

    Raises:
        ValueError: the text is something else.
    """
    if not text:
        return Window()
    tick, rows = json.loads(text)
    return Window(tuple(map(tuple, rows)), tick)
