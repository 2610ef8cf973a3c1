"""Which part of the pipeline may look at a sample: one draw from its id serves every stage."""

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


def split_of(skill: str, task_id: str) -> Split:
    """Return the split of one sample: the same for ever, independent between skills and between ids.

    >>> split_of("file-naming", "task-1")
    <Split.CONFIRM: 'confirm'>
    """
    place = fraction(f"split\0{skill}\0{task_id}")
    for split, share in SHARES:
        if place < share:
            return split
        place -= share
    return SHARES[-1][0]
