"""Vectors, word stems and subset choice agree with independent computations."""

from __future__ import annotations

import json
import subprocess
import sys
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.algorithms.similarity import (
    EXHAUSTIVE,
    cosine,
    cosine_matrix,
    hashed_ngrams,
    most_diverse,
    overlap,
    stem,
)

DATA = Path(__file__).parents[2] / "data/prompts"
PAIRS = [json.loads(line) for line in (DATA / "pairs.jsonl").read_text("utf-8").splitlines()]
VECTOR = st.lists(st.floats(-1e6, 1e6), min_size=4, max_size=4)


@pytest.fixture(name="cosines", scope="module")
def _cosines() -> tuple[Any, Any]:
    """Cosines of all labelled pairs, by MiniLM and by hashed n-grams."""
    vectors = np.load(DATA / "pairs-minilm.npz")
    model = [cosine(a, b) for a, b in zip(vectors["a"], vectors["b"], strict=True)]
    return np.array(model), np.array([cosine(hashed_ngrams(pair["a"]), hashed_ngrams(pair["b"])) for pair in PAIRS])


@given(VECTOR, VECTOR)
def test_a_cosine_is_symmetric_and_bounded(one: list[float], other: list[float]) -> None:
    """Any two vectors have one cosine in [-1, 1], whatever their order."""
    assert -1 <= cosine(one, other) == cosine(other, one) <= 1


@given(VECTOR)
def test_a_vector_is_like_itself_and_unlike_its_opposite(vector: list[float]) -> None:
    """Scale does not matter, the sign does, and a zero vector is like nothing."""
    expected = 1.0 if any(vector) else 0.0

    assert cosine(vector, [3 * value for value in vector]) == pytest.approx(expected, abs=1e-9)
    assert cosine(vector, [-value for value in vector]) == pytest.approx(-expected, abs=1e-9)


def test_the_matrix_holds_the_cosine_of_each_pair() -> None:
    """Shape, symmetry, diagonal and entries of the matrix."""
    rows = np.random.default_rng(1).normal(size=(6, 9))
    matrix = cosine_matrix(rows)

    assert np.allclose(np.diag(matrix), 1)
    for i, j in combinations(range(6), 2):
        expected = rows[i] @ rows[j] / np.sqrt((rows[i] @ rows[i]) * (rows[j] @ rows[j]))
        assert matrix[i, j] == matrix[j, i] == pytest.approx(expected)


def test_extreme_lengths_neither_overflow_nor_vanish() -> None:
    """Vectors of 1e200 and 1e-200 still have an angle."""
    assert cosine((1e200, 0), (1e200, 1e200)) == pytest.approx(2**-0.5)
    assert cosine((1e-200, 0), (1e-200, 1e-200)) == pytest.approx(2**-0.5)


def test_hashed_ngrams_are_the_same_in_every_process() -> None:
    """Another interpreter with another hash seed gives the same vector."""
    code = (
        "from pipeline.algorithms.similarity import hashed_ngrams;"
        "print(hashed_ngrams('Keep the version.').round(9).nonzero()[0].tolist())"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONHASHSEED": "77"}, capture_output=True, check=True, text=True
    )

    assert json.loads(found.stdout) == hashed_ngrams("Keep the version.").round(9).nonzero()[0].tolist()


@given(st.text(max_size=200))
def test_any_text_becomes_a_unit_vector_or_nothing(text: str) -> None:
    """The length is one, or zero where there are no letters to hash."""
    length = float(np.linalg.norm(hashed_ngrams(text, 256)))

    assert hashed_ngrams(text, 256).shape == (256,)
    assert length == pytest.approx(1) or (length == 0)


def test_hashed_ngrams_pass_over_case_space_and_surrogates() -> None:
    """Case and white space do not count, and no text is an error."""
    assert hashed_ngrams("Name  THE\nfile") == pytest.approx(hashed_ngrams("name the file"))
    assert np.linalg.norm(hashed_ngrams("\ud800\ud801 x")) == pytest.approx(1)
    assert not hashed_ngrams(" \n").any()


def test_hashed_ngrams_rank_pairs_as_the_model_does(cosines: tuple[Any, Any]) -> None:
    """On the labelled pairs the rank correlation with MiniLM is at least 0.85."""
    model, hashed = cosines

    ranks = [values.argsort().argsort() for values in (model, hashed)]

    assert np.corrcoef(*ranks)[0, 1] >= 0.85


def test_hashed_ngrams_part_near_from_far_as_the_model_does(cosines: tuple[Any, Any]) -> None:
    """A cut at 0.53 agrees with MiniLM's cut at 0.70 on at least 84 % of the pairs."""
    model, hashed = cosines

    assert np.mean((model >= 0.70) == (hashed >= 0.53)) >= 0.84


def test_paraphrases_are_nearer_than_structural_changes(cosines: tuple[Any, Any]) -> None:
    """The area under the curve of hashed n-grams for paraphrase against structure is at least 0.83."""
    kinds = np.array([pair["cls"] for pair in PAIRS])
    para, struct = cosines[1][kinds == "para"], cosines[1][kinds == "struct"]

    assert np.mean(para[:, None] > struct[None, :]) >= 0.83


@given(st.integers(1, 7), st.integers(0, 4), st.integers(0, 2), st.integers(0, 10**6))
def test_the_most_diverse_subset_is_the_best_of_all(n: int, k: int, held: int, seed: int) -> None:
    """No other subset of the free items has a larger mean distance plus mean weight."""
    rng = np.random.default_rng(seed)
    half = rng.random((n, n))
    distance, weight, fixed = half + half.T, rng.random(n), tuple(range(min(held, n)))
    k_free = min(k, n - len(fixed))
    chosen = most_diverse(distance, k, fixed, list(weight))

    def value(items: tuple[int, ...]) -> float:
        pairs = [distance[i, j] for i, j in combinations((*items, *fixed), 2)]
        inside = sum(distance[i, j] for i, j in combinations(fixed, 2))
        extra = sum(weight[list(items)]) / len(items) if items else 0
        return float((sum(pairs) - inside) / max(len(pairs), 1) + extra)

    assert len(chosen) == k_free
    assert not set(chosen) & set(fixed)
    best = max(value(items) for items in combinations(range(len(fixed), n), k_free))
    assert value(chosen) == pytest.approx(best)


def test_the_fixed_member_keeps_its_twin_out() -> None:
    """An item equal to a fixed one is the last to be chosen, and equal subsets go by index order."""
    distance = [[0, 0, 1, 1], [0, 0, 1, 1], [1, 1, 0, 1], [1, 1, 1, 0]]

    assert most_diverse(distance, 2, fixed=(0,)) == (2, 3)
    assert most_diverse(distance, 1) == (0,)
    assert most_diverse(distance, 1, weight=(0, 0, 0.5, 0)) == (2,)


def test_a_large_choice_is_greedy_and_no_worse_than_chance() -> None:
    """Beyond 200,000 subsets the choice beats the mean of random ones."""
    rng = np.random.default_rng(4)
    points = rng.normal(size=(60, 3))
    distance = np.linalg.norm(points[:, None] - points[None], axis=2)
    chosen = most_diverse(distance, 6)
    random = [rng.choice(60, 6, replace=False) for _ in range(200)]

    assert len(set(chosen)) == 6
    assert EXHAUSTIVE == 200_000
    assert distance[np.ix_(chosen, chosen)].sum() > max(distance[np.ix_(items, items)].sum() for items in random)


def test_choosing_none_or_all_works() -> None:
    """Asking for none gives nothing; asking beyond the free items gives all of them."""
    assert most_diverse(np.zeros((3, 3)), 0) == ()
    assert most_diverse(np.zeros((3, 3)), 9, fixed=(1,)) == (0, 2)
    assert most_diverse(np.zeros((0, 0)), 2) == ()


@pytest.mark.parametrize(("matrix", "k"), [([[0, 1]], 1), ([0, 1], 1), ([[0]], -1)])
def test_impossible_choices_are_refused(matrix: Any, k: int) -> None:
    """The matrix must be square and k not negative."""
    with pytest.raises(ValueError, match="square"):
        most_diverse(matrix, k)


@given(st.sets(st.text(max_size=3)), st.sets(st.text(max_size=3)))
def test_overlap_is_the_harmonic_mean(found: set[str], wanted: set[str]) -> None:
    """F1 is the harmonic mean of precision and recall, and swapping the sides swaps those."""
    precision, recall, f1 = overlap(found, wanted)

    assert overlap(wanted, found) == (recall, precision, f1)
    assert f1 * (precision + recall) == pytest.approx(2 * precision * recall)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("setting", "settings"),
        ("city", "cities"),
        ("box", "boxes"),
        ("run", "running"),
        ("name", "naming"),
        ("stop", "stopped"),
        ("use", "uses"),
        ("call", "calling"),
        ("dress", "dresses"),
        ("image", "images"),
    ],
)
def test_inflections_of_a_word_share_a_stem(one: str, other: str) -> None:
    """Plural, -ing and -ed do not count."""
    assert stem(one) == stem(other)


@pytest.mark.parametrize("word", ["bus", "king", "red", "is", "class", "v2", "404", ""])
def test_short_words_keep_their_letters(word: str) -> None:
    """A suffix is only cut where a word remains."""
    assert stem(word) == word
