"""When two prompts say the same: what they do on the same tasks decides; where that is not known, their words do.

A cosine alone is wrong in both directions. Its scale belongs to one *profile* (model, prefix, dimensions), so the limits
are calibrated for each profile on labelled pairs of prompts, and vectors of two profiles are never compared.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from pipeline.algorithms.differences import hard_difference, normalise
from pipeline.algorithms.similarity import hashed_ngrams
from pipeline.algorithms.vectors import Singles, unit_rows

HASH_DIMS = 1024
HASHED = f"hashed-ngrams||{HASH_DIMS}"  # the profile of the vectors that need no model
KINDS = ("para", "rule", "struct", "other")
NEAR_SHARE = 0.02  # of the paraphrases may lie below the limit; the guard decides about what lies above
FEWEST_PAIRS = 10  # of a kind, for limits
ALIKE_PER = 20  # one output in so many may differ by chance
REAL_SHARE = 0.20  # of all tasks: two prompts that differ on so many are not the same
MISTAKE = 0.02  # chance at most of calling two such prompts the same: twenty equal outputs, one of 27 different ...
REAL_DIFFERENCES = 2  # outputs that differ: a real change
STEP = 0.35  # distance of one hard difference; chosen on the labelled pairs
MOST_STEPS = 1.0
SEEDS_COSINE = 0.90  # the research notes' limit


@dataclass(frozen=True, slots=True)
class LabelledPair:
    """Two prompts and what a reader says of them: `para`phrase, one `rule` changed, `struct`ure changed, or `other`."""

    kind: str
    a: str
    b: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of one profile, and how well they do on the pairs that they come from.

    Attributes:
        near: cosine above which two prompts may say the same.
        far: cosine below which two prompts are about different things.
        recall: share of paraphrases that count as redundant, the guard applied.
        lost: share of real changes that do.
        seeds_recall, seeds_lost: the same for the research notes' rule, a cosine above 0.90.
    """

    profile: str
    near: float
    far: float
    recall: float
    lost: float
    seeds_recall: float
    seeds_lost: float


class Behaviour(StrEnum):
    """What the outputs of two prompts on the same tasks say."""

    SAME = "same"
    DIFFERENT = "different"
    UNKNOWN = "unknown"


def calibrate(profile: str, pairs: Sequence[LabelledPair], cosines: Sequence[float]) -> Limits:
    """Find the limits of a profile.

    Args:
        profile: whose cosines they are.
        pairs: labelled, of all kinds.
        cosines: one for each pair.

    Raises:
        ValueError: there are too few pairs of a kind, or not one cosine for each.
    """
    if len(pairs) != len(cosines):
        raise ValueError(f"{len(cosines)} cosines for {len(pairs)} pairs")
    by = {kind: [c for pair, c in zip(pairs, cosines, strict=True) if pair.kind == kind] for kind in KINDS}
    if min(len(by["para"]), len(by["struct"])) < FEWEST_PAIRS:
        raise ValueError("too few labelled pairs")
    near = float(np.quantile(by["para"], NEAR_SHARE))
    real = [*by["rule"], *by["struct"]]
    guarded = [c > near and not hard_difference(pair.a, pair.b) for pair, c in zip(pairs, cosines, strict=True)]
    redundant = {kind: [g for pair, g in zip(pairs, guarded, strict=True) if pair.kind == kind] for kind in KINDS}
    lost = [*redundant["rule"], *redundant["struct"]]
    return Limits(
        profile=profile,
        near=near,
        far=min(*real, near) / 2,
        recall=float(np.mean(redundant["para"])),
        lost=float(np.mean(lost)),
        seeds_recall=float(np.mean([c > SEEDS_COSINE for c in by["para"]])),
        seeds_lost=float(np.mean([c > SEEDS_COSINE for c in real])),
    )


def hashed(texts: Sequence[str]) -> Singles:
    """Return vectors that need no model, of the profile `HASHED`; shape (n, 1024)."""
    return unit_rows(np.stack([hashed_ngrams(text, HASH_DIMS) for text in texts]))


def behaviour(one: Mapping[int, str], other: Mapping[int, str]) -> tuple[Behaviour, int, int]:
    """Compare what two prompts answered on the tasks that both were run on.

    Args:
        one: output by task.
        other: the same of the other prompt.

    Returns:
        What that says, how many outputs differ, and on how many tasks.
    """
    shared = one.keys() & other.keys()
    differ = sum(normalise(one[task]) != normalise(other[task]) for task in shared)
    by_chance = len(shared) // ALIKE_PER
    if differ <= by_chance and _at_most(differ, len(shared), REAL_SHARE) <= MISTAKE:
        return Behaviour.SAME, differ, len(shared)
    if differ >= REAL_DIFFERENCES and differ > by_chance:
        return Behaviour.DIFFERENT, differ, len(shared)
    return Behaviour.UNKNOWN, differ, len(shared)


def _at_most(differ: int, tasks: int, share: float) -> float:
    """Return the chance of at most so many differing outputs where *share* of all tasks differ (binomial)."""
    return sum(math.comb(tasks, i) * share**i * (1 - share) ** (tasks - i) for i in range(differ + 1))


def same_words(text: str, other: str, cosine: float | None, near: float) -> str:
    """Say why two texts say the same; empty when they may not."""
    if normalise(text) == normalise(other):
        return "the same words"
    if cosine is not None and cosine > near and not hard_difference(text, other):
        return f"cosine {cosine:.3f}, above {near:.2f}, and nothing hard differs"
    return ""


def distance(cosine: float, a: str, b: str) -> float:
    """Return how much two prompts differ, for choosing a few that differ most: 0 to 3.

    A changed number moves a vector hardly at all, so each hard difference counts by itself.
    """
    return 1.0 - cosine + min(MOST_STEPS, STEP * len(hard_difference(a, b)))
