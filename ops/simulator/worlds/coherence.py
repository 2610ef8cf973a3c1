"""Measures how far a text is from a sentence a person would write: word salad, loops, noise."""

from __future__ import annotations

import re
from collections import Counter
from functools import lru_cache
from itertools import pairwise

from ops.simulator.worlds.vocabulary import vocabulary

TOKEN = re.compile(r"[A-Za-z']+|\d+|[^\sA-Za-z\d]")
DANGLING = vocabulary("the a an of to in with for from and or by at on its your")
"""Words that need another word after them."""

NO_FOLLOW = vocabulary("the a an of to in with for from and or by at on is are")
"""Words that cannot follow an article."""

ALLOWED = frozenset({("and", "the"), ("or", "the"), ("and", "a"), ("or", "a"), ("and", "in"), ("and", "with"), ("or", "with"),
                     ("and", "to"), ("or", "to"), ("and", "of"), ("or", "of"), ("and", "by"), ("and", "on"), ("or", "on"),
                     ("and", "from"), ("or", "from"), ("and", "for"), ("or", "for"), ("or", "in"), ("and", "or"), ("and", "at")})  # fmt: skip
LOOPED = 0.35  # share of repeated word triples from which a text is a loop
ENOUGH = 4  # words below which nothing can be said


@lru_cache(maxsize=4096)
def incoherence(text: str) -> float:
    """Give a number in [0, 1]: 0 for a plain instruction, above 0.5 for salad, loops and noise."""
    words = [word.lower() for word in TOKEN.findall(text)]
    if len([word for word in words if word[0].isalpha()]) < ENOUGH:
        return 1.0 if not words or not any(word[0].isalpha() for word in words) else 0.0
    return min(1.0, max(loops(words), noise(text), 4.0 * clashes(words), stray_ends(text)))


def loops(words: list[str]) -> float:
    """Give 1 when triples of words repeat too often, else their share."""
    triples = list(zip(words, words[1:], words[2:], strict=False))
    if not triples:
        return 0.0
    repeated = sum(count - 1 for count in Counter(triples).values()) / len(triples)
    stutter = sum(first == second for first, second in pairwise(words) if first.isalpha()) / len(words)
    return 1.0 if repeated > LOOPED or stutter > 0.15 else max(repeated - 0.1, 0.0)  # noqa: PLR2004


def noise(text: str) -> float:
    """Give the share of signs that are neither letters, digits nor usual punctuation, three times over."""
    odd = sum(
        not (char.isalnum() or char.isspace() or char in ".,;:!?'\"-()/`*#_<>\u201c\u201d\u2019\u2018\u2013\u2014[]{}")
        for char in text
    )
    vowelless = [word for word in re.findall(r"[A-Za-z]{5,}", text) if not re.search(r"[aeiouyAEIOUY]", word)]
    return min(1.0, 3.0 * odd / max(len(text), 1) + len(vowelless) / 4)


def clashes(words: list[str]) -> float:
    """Give the share of neighbours that no sentence has, such as `the of` or a preposition before a full stop."""
    pairs = list(pairwise(words))
    wrong = 0
    for first, second in pairs:
        articles = first in ("the", "a", "an") and second in NO_FOLLOW
        stacked = first in DANGLING and second in NO_FOLLOW - {"the", "a", "an"} and (first, second) not in ALLOWED
        ended = first in ("the", "a", "an", "of", "and", "or", "with", "your", "its") and second in ".,;:!?"
        wrong += articles or stacked or ended
    return wrong / max(len(pairs), 1)


def stray_ends(text: str) -> float:
    """Give the share of sentences that end in a word which needs another one after it."""
    sentences = [part.split() for part in re.split(r"[.!?]+(?:\s|$)|\n", text) if part.strip()]
    if not sentences:
        return 0.0
    return sum(sentence[-1].lower() in DANGLING for sentence in sentences) / len(sentences)
