"""Which operator is applied next: those that helped are drawn more often, from a prior in the paper's order."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pipeline.domain import MutationType
from pipeline.search import Tally

PAPER = (
    MutationType.ZERO_ORDER,
    MutationType.FIRST_ORDER,
    MutationType.EDA,
    MutationType.EDA_RANK,
    MutationType.LINEAGE,
    MutationType.HYPER_ZERO,
    MutationType.HYPER_FIRST,
    MutationType.LAMARCKIAN,
)
"""The paper's, one drawn per replication; crossover and context shuffling come after any of them."""

OURS = (
    MutationType.REFLECTIVE,
    MutationType.DIRECT,
    MutationType.PATTERN,
    MutationType.EDIT,
    MutationType.CROSS_SKILL,
    MutationType.CROSSOVER,
    MutationType.CONTEXT_SHUFFLE,
)

GRAFT, WHOLE = "reply:graft", "reply:whole"
"""Two ways to take a reply: its new sentences put to the parent's, or as it came. They are tallied like operators."""

STRENGTH = 6.0  # uses that the prior counts for; ours
PRIOR: dict[str, float] = {
    # Half of what the paper measured on GSM8K with a large model (42, 26, 23, 12.7, 12, 10.7, 6.3 %), in its order: small
    # models that rewrite blindly help less (peer study).
    MutationType.HYPER_ZERO: 0.21,
    MutationType.LINEAGE: 0.13,
    MutationType.HYPER_FIRST: 0.115,
    MutationType.EDA_RANK: 0.0635,
    MutationType.FIRST_ORDER: 0.06,
    MutationType.ZERO_ORDER: 0.06,
    MutationType.EDA: 0.0535,
    MutationType.LAMARCKIAN: 0.0315,
    # Ours: feedback of what was lost is worth three times "wrong" (peer study); the others arbitrary.
    MutationType.REFLECTIVE: 0.45,
    MutationType.CROSSOVER: 0.30,
    MutationType.PATTERN: 0.25,
    MutationType.DIRECT: 0.20,
    MutationType.CROSS_SKILL: 0.15,
    MutationType.EDIT: 0.12,
    MutationType.CONTEXT_SHUFFLE: 0.12,
    GRAFT: 0.45,
    WHOLE: 0.20,
}
"""Expected share of children better than their parent, before anything was measured here."""


def draw(names: Sequence[str], tallies: Sequence[Tally], rng: np.random.Generator, *, adapt: bool) -> str:
    """Draw one of *names*: by Thompson sampling on Beta posteriors of success, or evenly as in the paper.

    Args:
        names: at least one.
        tallies: applied and improved counts; a missing name has none.
        rng: one draw per name is taken.
        adapt: False draws evenly.
    """
    if not adapt:
        return names[int(rng.integers(len(names)))]
    known = {one.name: one for one in tallies}
    best, chosen = -1.0, names[0]
    for name in names:
        tally = known.get(name, Tally(name=name))
        prior = PRIOR.get(name, 0.1)
        wins = STRENGTH * prior + tally.improved
        losses = STRENGTH * (1 - prior) + tally.applied - tally.improved
        value = float(rng.beta(wins, losses))
        if value > best:
            best, chosen = value, name
    return chosen
