"""The live mode: each task is given one prompt and reports success or failure, for hosts that cannot wait for ballots.

A task tells of one prompt only, so a decision needs several times as many tasks as ballots would need votes
(`evoctl lab power SKILL` computes both).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from pipeline.algorithms.beta import thompson
from pipeline.decision import INCUMBENT, Tally
from pipeline.domain import VariantId


def draw_arm(
    tally: Tally, dropped: Collection[VariantId], given: Mapping[int, int], rng: np.random.Generator
) -> VariantId:
    """Draw the prompt of one task: Thompson sampling on successes and failures, the prompt in use among the arms.

    A challenger never gets further ahead of the prompt in use than one task: evidence comes from pairs of outcomes, so a
    task more would be a task wasted. Plain Thompson sampling starves the prompt in use and with it the comparison (8 %
    power where even shares have 54 %; decision study A2).

    Args:
        tally: successes (`picks`) and outcomes (`shown`) of every prompt.
        dropped: challengers that lost too often to go on.
        given: tasks given to each prompt so far, by variant id, whether they have an outcome or not.
        rng: of this task.
    """
    arms = [arm for arm in tally.arms if arm.variant not in dropped]
    if not arms:
        return INCUMBENT
    wins = (tally.picks, *(arm.picks for arm in arms))
    losses = (tally.shown - tally.picks, *(arm.shown - arm.picks for arm in arms))
    draws = thompson(rng, wins, losses)
    best = max(range(len(draws)), key=lambda i: draws[i])
    if best == 0:
        return INCUMBENT
    chosen = arms[best - 1].variant
    return INCUMBENT if given.get(int(chosen), 0) > given.get(int(INCUMBENT), 0) else chosen
