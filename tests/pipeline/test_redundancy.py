"""When two prompts say the same, on labelled pairs with real MiniLM vectors, and with hashed letters, beside the notes' rule.

The labels are one author's, and the guard was made on these pairs: read the figures as the best that can be hoped for.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.embeddings import kit
from pipeline.algorithms.choice import most_diverse
from pipeline.algorithms.differences import hard_difference
from pipeline.algorithms.vectors import Singles, unit_rows
from pipeline.redundancy import (
    HASHED,
    SEEDS_COSINE,
    Behaviour,
    LabelledPair,
    behaviour,
    calibrate,
    distance,
    hashed,
    same_words,
)

PAIRS = kit()
MINILM = np.load(Path(__file__).parents[1] / "data/prompts/pairs-minilm.npz")
FIRST = {"minilm": unit_rows(MINILM["a"].astype(np.float32)), HASHED: hashed([pair.a for pair in PAIRS])}
SECOND = {"minilm": unit_rows(MINILM["b"].astype(np.float32)), HASHED: hashed([pair.b for pair in PAIRS])}
POOLS = 3000


def cosines(profile: str) -> list[float]:
    """Return the cosine of each pair."""
    return [float(a @ b) for a, b in zip(FIRST[profile], SECOND[profile], strict=True)]


@pytest.mark.parametrize(("profile", "recall"), [("minilm", 0.39), (HASHED, 0.35)])
def test_calibrated_words_lose_no_real_change(profile: str, recall: float) -> None:
    """By text alone: at most 10 % of real changes are lost (none here), and a third of paraphrases is caught."""
    found = calibrate(profile, PAIRS, cosines(profile))
    print(found)  # noqa: T201 - `pytest -s` shows the table

    assert found.lost <= 0.02
    assert found.recall >= recall
    assert 0 < found.far < found.near < 1


def test_the_notes_rule_loses_a_third_of_the_real_changes() -> None:
    """With real vectors; what it catches is less than ours does."""
    found = calibrate("minilm", PAIRS, cosines("minilm"))

    assert found.seeds_lost > 0.3
    assert found.seeds_recall < found.recall


def test_the_scales_of_two_profiles_differ() -> None:
    """So that a limit of one must not be used for the other."""
    limits = {profile: calibrate(profile, PAIRS, cosines(profile)).near for profile in FIRST}

    assert abs(limits["minilm"] - limits[HASHED]) > 0.1


def test_no_edit_of_a_number_or_a_negation_is_ever_redundant() -> None:
    """At a cosine of 1, and at any limit."""
    edits = [
        pair for pair in PAIRS if pair.kind == "rule" and {"number", "negation"} & {*hard_difference(pair.a, pair.b)}
    ]

    assert len(edits) >= 12
    assert {same_words(pair.a, pair.b, 1.0, 0.0) for pair in edits} == {""}


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_no_two_different_numbers_are_the_same(one: int, other: int) -> None:
    """Whatever they are."""
    same = same_words(f"Use at most {one} words.", f"Use at most {other} words.", 1.0, 0.0)

    assert bool(same) == (one == other)


def test_unlike_prompts_lie_below_the_far_limit() -> None:
    """Prompts of other skills; and no real variant does."""
    for profile in FIRST:
        far = calibrate(profile, PAIRS, cosines(profile)).far
        real = [c for pair, c in zip(PAIRS, cosines(profile), strict=True) if pair.kind != "other"]
        assert min(real) > far


def test_a_profile_needs_enough_pairs() -> None:
    """Limits from a handful would be chance."""
    with pytest.raises(ValueError, match="too few"):
        calibrate("x", PAIRS[:9], cosines("minilm")[:9])
    with pytest.raises(ValueError, match="cosines for"):
        calibrate("x", PAIRS, [0.5])


@pytest.mark.parametrize(
    ("shared", "differ", "found"),
    [
        (0, 0, Behaviour.UNKNOWN),
        (7, 1, Behaviour.UNKNOWN),
        (8, 2, Behaviour.DIFFERENT),
        (17, 0, Behaviour.UNKNOWN),
        (18, 0, Behaviour.SAME),
        (20, 0, Behaviour.SAME),
        (20, 1, Behaviour.UNKNOWN),
        (27, 1, Behaviour.SAME),
        (20, 2, Behaviour.DIFFERENT),
        (40, 2, Behaviour.SAME),
        (40, 3, Behaviour.DIFFERENT),
    ],
)
def test_behaviour_is_told_by_the_outputs_that_both_gave(shared: int, differ: int, found: Behaviour) -> None:
    """Case and white space do not count, and tasks of one alone do not either."""
    one = {task: f"A {task}" for task in range(shared)} | {-1: "mine"}
    other = {task: f"a  {task}" if task >= differ else "b" for task in range(shared)} | {-2: "theirs"}

    assert behaviour(one, other) == (found, differ, shared)


@pytest.mark.parametrize("tasks", [20, 26, 27, 40, 60, 120])
def test_with_probe_outputs_at_most_two_percent_of_real_changes_are_lost(tasks: int) -> None:
    """Exact: whatever share from 20 % on of a prompt's outputs differ, it is called the same in at most 2 %."""
    texts = {task: f"file {task}" for task in range(tasks)}
    allowed = [
        differ
        for differ in range(tasks + 1)
        if behaviour(texts, {t: text if t >= differ else "x" for t, text in texts.items()})[0] is Behaviour.SAME
    ]
    lost = sum(math.comb(tasks, d) * 0.2**d * 0.8 ** (tasks - d) for d in allowed)
    print(f"{tasks} tasks: at most {max(allowed)} may differ, {lost:.4f} of real changes lost")  # noqa: T201 - `pytest -s`

    assert allowed == list(range(max(allowed) + 1))
    assert lost <= 0.02


def _bases() -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for index, pair in enumerate(PAIRS):
        if pair.kind != "other":
            found.setdefault(pair.a, []).append(index)
    return {text: indices for text, indices in found.items() if len(indices) >= 5}


def _ideas(profile: str, choose: Callable[[str, list[int], Singles], list[int]]) -> tuple[float, float]:
    """Return the real ideas among three of five variants of one prompt, on average, and those of the best choice."""
    draw, bases = random.Random(5), _bases()  # noqa: S311 - seeded on purpose
    real = best = 0
    for _ in range(POOLS):
        base = draw.choice(list(bases))
        pool = draw.sample(bases[base], 5)
        vectors = np.concatenate([FIRST[profile][pool[0]][None], SECOND[profile][pool]])
        ideas = [PAIRS[index].kind != "para" for index in pool]
        real += sum(ideas[place] for place in choose(base, pool, vectors))
        best += min(3, sum(ideas))
    return real / POOLS, best / POOLS


@cache
def _hard(a: str, b: str) -> float:
    """Return the part of the distance that the words alone make."""
    return distance(1.0, a, b)


def _ours(base: str, pool: list[int], vectors: Singles) -> list[int]:
    texts = [base, *(PAIRS[index].b for index in pool)]
    hard = np.array([[0.0 if a == b else _hard(a, b) for b in texts] for a in texts])
    return [place - 1 for place in most_diverse(1.0 - vectors @ vectors.T + hard, 3, fixed=(0,))]


def _seeds(_base: str, _pool: list[int], vectors: Singles) -> list[int]:
    return [place for place in range(5) if float(vectors[0] @ vectors[place + 1]) <= SEEDS_COSINE][:3]


@pytest.mark.parametrize("profile", list(FIRST))
def test_three_of_five_are_mostly_real_ideas(profile: str) -> None:
    """At least 2.2 of 2.83, as a share, with MiniLM; nearly that with hashed letters; the notes' rule is far below."""
    ours, best = _ideas(profile, _ours)
    seeds, _ = _ideas(profile, _seeds)
    print(f"{profile}: {ours:.2f} of {best:.2f}, notes' rule {seeds:.2f}")  # noqa: T201 - `pytest -s` shows it

    assert ours / best >= (2.2 / 2.83 if profile == "minilm" else 0.75)
    assert ours > seeds + 0.3


def test_the_kit_has_pairs_of_every_kind() -> None:
    """And each has two texts."""
    assert {pair.kind for pair in PAIRS} == {"para", "rule", "struct", "other"}
    assert all(pair.a and pair.b for pair in PAIRS)
    assert replace(PAIRS[0], kind="rule") == LabelledPair("rule", PAIRS[0].a, PAIRS[0].b)
