"""What failed alike: deterministic signatures of failures, and the few examples that show most of their kinds.

A signature is a word of the scorer for what was lost, or one of the few below that need the input beside the answer.
Wherever such a rule exists it parts failures better than any distance of texts (63 labelled failures: all eight kinds in
eight examples, against one kind in the eight newest).
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from functools import lru_cache
from typing import TypeVar

import numpy as np

from pipeline.algorithms.choice import farthest_first
from pipeline.algorithms.similarity import Floats, hashed_ngrams, stem
from pipeline.errors import BadInput
from pipeline.meta_prompt import Failure, Success, lenient_json
from pipeline.scoring import needs_outside, score
from pipeline.skills import SkillSpec

SPACES, UNRELATED, EMPTY, TALK, OTHER_CASE = "spaces", "unrelated", "empty", "talk", "case"
TELLING_FIRST = (
    "not-json", "chatter", TALK, EMPTY, "not-a-name", "extension", "version-lost", "generic", SPACES, "case",
    "too-long", "too-short", "separator", UNRELATED, "missing-words", "extra-words",
)  # fmt: skip
"""Words that tell a kind of failure by themselves come before those that go with many kinds."""

SHARED = 0.4  # of a name's words that its description has; names that people accepted have half and more
_CHARS = 2000  # of a text that is looked at
_DIMS = 256  # of the vectors that examples are told apart by
_WORDS_STEP = 4  # words of an answer that make the next shape

_NAME = re.compile(r"[^\s\"'`*()<>:,;]{1,200}\.(?=[0-9]{0,4}[A-Za-z])[A-Za-z0-9]{1,5}(?![\w.-])")
_MARKER = re.compile(r"(?<![a-z])(?:v|ver|version|rev|draft)[-_ ]?\d{1,4}(?!\d)|final")
_WORD = re.compile(r"[^\W_]+")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")

Shown = TypeVar("Shown", Failure, Success)


def signed(skill: SkillSpec, failure: Failure) -> Failure:
    """Add to what a failure lost what can be told from its input and answer.

    >>> naming = SkillSpec(name="n", template="t", scorer="file-naming")
    >>> signed(naming, Failure(shown="name: a.png; text: a red bus", output="red bus.png", expected="", lost=())).lost
    ('separator', 'spaces')
    """
    output, expected = failure.output[:_CHARS], failure.expected[:_CHARS]
    lost = list(failure.lost)
    original = next(iter(_NAME.findall(failure.shown[:_CHARS])), "")
    if not lost and not needs_outside(skill):
        with suppress(BadInput):  # no built-in scorer, or no schema: then the input and the answer have to do
            lost += score(skill, output, expected, {"original_name": original}).lost
    if skill.scorer == "file-naming":
        lost += _naming(failure.shown[:_CHARS], output, lost)
    else:
        lost += _text(output, expected)
    return replace(failure, lost=tuple(dict.fromkeys(lost)))


def counts_of(failures: Sequence[Failure]) -> Counter[str]:
    """Count every word for what was lost."""
    return Counter(word for failure in failures for word in failure.lost)


def telling(failures: Sequence[Failure], most: int, rng: np.random.Generator | None = None) -> tuple[Failure, ...]:
    """Choose failures to show: of each kind in turn, the commonest kind first, each the least like those before it.

    Args:
        failures: signed, the newest first.
        most: how many at most.
        rng: draws with which failure of a kind to begin, so that children see different ones; None takes the newest.
    """
    counts = counts_of(failures)
    return _in_turns(failures, [_kind(failure, counts) for failure in failures], most, rng)


def varied(skill: SkillSpec, successes: Sequence[Success], most: int) -> tuple[Success, ...]:
    """Choose successes to show: of each shape of answer in turn, each the least like those before it."""
    return _in_turns(successes, [shape(skill, success.output) for success in successes], most, None)


def shape(skill: SkillSpec, output: str) -> str:
    """Describe the form of an accepted answer, by which successes are told apart.

    >>> shape(SkillSpec(name="n", template="t", scorer="file-naming"), "map-v2.png")
    'version marker, 1 to 4 words'
    """
    text = output.strip()[:_CHARS]
    if skill.schema or skill.scorer == "json-schema":
        data = lenient_json(text)
        return json.dumps(sorted(data)) if isinstance(data, dict) else type(data).__name__
    if skill.scorer == "set-f1":
        return _step(len(text.splitlines()), "lines")
    if skill.scorer == "file-naming":
        marker = "version marker, " if _MARKER.search(text.lower()) else ""
        return marker + _step(len(_stems(text.rpartition(".")[0] or text)), "words")
    words = text.split()
    return text.casefold() if len(words) == 1 else _step(len(words), "words")  # a label is its own shape


def _step(n: int, of: str) -> str:
    low = (max(n, 1) - 1) // _WORDS_STEP * _WORDS_STEP
    return f"{low + 1} to {low + _WORDS_STEP} {of}"


def _naming(shown: str, output: str, lost: Sequence[str]) -> list[str]:
    if "chatter" in lost or "not-a-name" in lost:
        return []
    root = output.strip().partition("\n")[0].rpartition(".")[0] or output.strip()
    found = [SPACES] if re.search(r"\s", root.strip()) else []
    words = _stems(root)
    if words and not {"generic", "too-long"} & set(lost) and len(words & _stems(shown)) < SHARED * len(words):
        found.append(UNRELATED)
    return found


def _text(output: str, expected: str) -> list[str]:
    said, wanted = " ".join(output.split()).casefold(), " ".join(expected.split()).casefold()
    if not said:
        return [EMPTY]
    if not wanted:
        return []
    if said == wanted:
        return [OTHER_CASE] if output.split() != expected.split() else []
    return [TALK] if re.search(rf"(?<!\w){re.escape(wanted)}(?!\w)", said) else []


def _kind(failure: Failure, counts: Mapping[str, int]) -> str:
    """Return the word that tells most about a failure: by the order above, else the rarest of its words."""
    ranks = {word: rank for rank, word in enumerate(TELLING_FIRST)}
    words = sorted(failure.lost, key=lambda word: (ranks.get(word, len(ranks)), counts[word], word))
    return words[0] if words else ""


def _in_turns(
    items: Sequence[Shown], kinds: Sequence[str], most: int, rng: np.random.Generator | None
) -> tuple[Shown, ...]:
    groups: dict[str, list[int]] = {}
    for place, kind in enumerate(kinds):
        groups.setdefault(kind, []).append(place)
    piles: list[list[int]] = []
    for _, group in sorted(groups.items(), key=lambda pair: (-len(pair[1]), pair[1][0])):
        vectors = np.stack([_vector(f"{items[place].shown} -> {items[place].output}"[:_CHARS]) for place in group])
        start = int(rng.integers(len(group))) if rng is not None else 0
        piles.append([group[place] for place in farthest_first(vectors, min(most, len(group)), start)][::-1])
    chosen: list[int] = []
    while len(chosen) < most and any(piles):
        chosen += [pile.pop() for pile in piles if pile]
    return tuple(items[place] for place in chosen[:most])


@lru_cache(maxsize=2048)
def _vector(text: str) -> Floats:
    """Return a short hashed vector; kept, since a search shows the same failures for many children."""
    return hashed_ngrams(text, _DIMS)


def _stems(text: str) -> set[str]:
    return {stem(word) for word in _WORD.findall(_HUMP.sub(" ", text).lower()) if len(word) > 1}
