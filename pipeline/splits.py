"""Which part of the pipeline may look at a sample: one draw from its content serves every stage."""

from __future__ import annotations

from pipeline.algorithms.splits import fraction
from pipeline.domain import Split

SHARES: tuple[tuple[Split, float], ...] = (
    (Split.SEARCH, 0.35),
    (Split.SELECT, 0.20),
    (Split.CONFIRM, 0.35),
    (Split.REPORT, 0.10),
)
"""Each split's share of a skill's samples; ours. A change would move samples between splits and so is not a setting."""


def split_of(skill: str, content: str) -> Split:
    """Return the split of one content: the same for ever and for all its copies, independent between skills and contents.

    >>> split_of("file-naming", "task-1")
    <Split.CONFIRM: 'confirm'>
    """
    place = fraction(f"split\0{skill}\0{content}")
    for split, share in SHARES:
        if place < share:
            return split
        place -= share
    return SHARES[-1][0]


def before(split: Split) -> tuple[Split, ...]:
    """Return the splits that are looked at before *split*: what has a copy there is held out no more."""
    order = [one for one, _ in SHARES]
    return tuple(order[: order.index(split)])
