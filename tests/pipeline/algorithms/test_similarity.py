"""Hashed pieces of words and word stems compare texts as a reader would."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.algorithms.similarity import hashed_ngrams, overlap, stem
from pipeline.algorithms.vectors import cosine

DATA = Path(__file__).parents[2] / "data/prompts"
KIT = Path(__file__).parents[3] / "models/data/labelled-pairs.jsonl"
PAIRS = [json.loads(line) for line in KIT.read_text("utf-8").splitlines()]


@pytest.fixture(name="cosines", scope="module")
def _cosines() -> tuple[Any, Any]:
    """Cosines of all labelled pairs, by MiniLM and by hashed n-grams."""
    vectors = np.load(DATA / "pairs-minilm.npz")
    model = [cosine(a, b) for a, b in zip(vectors["a"], vectors["b"], strict=True)]
    return np.array(model), np.array([cosine(hashed_ngrams(pair["a"]), hashed_ngrams(pair["b"])) for pair in PAIRS])


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
