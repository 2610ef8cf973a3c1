"""Embeds texts without a model: signed, hashed words and character n-grams, so that like texts lie close."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from functools import lru_cache

from ops.simulator.worlds.vocabulary import vocabulary

WORD = re.compile(r"[a-z0-9]+")
GRAMS = (3, 4, 5)
WORD_WEIGHT = 2.0  # a whole word counts like two n-grams
COMMON = vocabulary("a an the of in on at to for with from by and or is are be it its this that as")
COMMON_WEIGHT = 0.25  # function words say little about what a text means


@lru_cache(maxsize=4096)
def hashed_vector(text: str, dims: int) -> tuple[float, ...]:
    """Give the unit vector of *text*; a text without any word points along the first axis."""
    values = [0.0] * dims
    for feature, count in features(text).items():
        code = zlib.crc32(feature.encode())
        sign = 1.0 if code & 1 else -1.0
        values[(code >> 1) % dims] += sign * weight(feature) * (1.0 + math.log(count))
    norm = math.sqrt(sum(value * value for value in values))
    if norm == 0.0:
        return (1.0, *values[1:])
    return tuple(value / norm for value in values)


def features(text: str) -> Counter[str]:
    """Count the words and the character n-grams within word bounds; words carry a `w:` before them."""
    counted: Counter[str] = Counter()
    for word in WORD.findall(text.lower()):
        counted[f"w:{word}"] += 1
        if word in COMMON:
            continue
        padded = f" {word} "
        for length in GRAMS:
            counted.update(padded[start : start + length] for start in range(len(padded) - length + 1))
    return counted


def weight(feature: str) -> float:
    """Weigh a feature: words more than n-grams, function words least."""
    if not feature.startswith("w:"):
        return 1.0
    return COMMON_WEIGHT if feature[2:] in COMMON else WORD_WEIGHT
