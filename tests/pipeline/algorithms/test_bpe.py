"""Exact counts: against a plain implementation, against published splits, and on texts written to do harm."""

from __future__ import annotations

import itertools
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.algorithms.bpe import MOST_CHARS, _splits, pieces, vocabulary
from tests import vocabularies

TEXT = "Hello  world, it's 12345 x² _a_b\n\n  end naïve"
# As the Hugging Face tokenizers library 0.2x splits them by each model's published pattern.
SPLITS = {
    "gpt-2": ["Hello", " ", " world", ",", " it", "'s", " 12345", " x", "²", " _", "a", "_", "b", "\n\n ", " end", " naïve"],
    "smollm": ["Hello", " ", " world", ",", " it", "'s", " ", "1", "2", "3", "4", "5", " x", "²", " _", "a", "_", "b", "\n\n ", " end", " naïve"],
    "llama-bpe": ["Hello", " ", " world", ",", " it", "'s", " ", "123", "45", " x", "²", " _", "a", "_b", "\n\n", " ", " end", " naïve"],
    "qwen2": ["Hello", " ", " world", ",", " it", "'s", " ", "1", "2", "3", "4", "5", " x", "²", " _", "a", "_b", "\n\n", " ", " end", " naïve"],
}  # fmt: skip


@pytest.mark.parametrize("pre", SPLITS)
def test_a_text_is_split_as_the_model_splits_it(pre: str) -> None:
    """Digits alone, in threes or together, and letters with or without what stands before them."""
    assert list(pieces(TEXT, _splits(pre))) == SPLITS[pre]


@pytest.mark.parametrize("pre", [*SPLITS, "default"])
@given(text=st.text(max_size=120))
def test_pieces_join_to_the_text_again(pre: str, text: str) -> None:
    """Nothing is lost between two pieces."""
    assert "".join(pieces(text, _splits(pre))) == text


def plainly(made: Any, text: str, printable: list[str]) -> int:
    """Count as the definition says: of all neighbours the best pair is merged, the first where there are several."""
    total = 0
    for piece in pieces(text, made.splits):
        symbols = [printable[byte] for byte in piece.encode("utf-8", "replace")]
        if made.whole and "".join(symbols) in made.tokens:
            total += 1
            continue
        while True:
            ranked = [(made.ranks.get(pair), at) for at, pair in enumerate(itertools.pairwise(symbols))]
            best = min(((rank, at) for rank, at in ranked if rank is not None), default=None)
            if best is None:
                break
            symbols[best[1] : best[1] + 2] = ["".join(symbols[best[1] : best[1] + 2])]
        total += sum(1 if symbol in made.tokens else len(symbol) for symbol in symbols)
    return total


@pytest.mark.parametrize("pre", [*SPLITS, "default"])
def test_counts_equal_the_plain_ones(pre: str) -> None:
    """On a thousand lines of the repository's prose."""
    made, printable = vocabularies.simulated(pre), vocabularies.printable()
    lines = vocabularies.documents().splitlines()[:200]

    assert [made.count(line) for line in lines] == [plainly(made, line, printable) for line in lines]


@given(text=st.text(max_size=80))
def test_counts_of_any_text_equal_the_plain_ones(text: str) -> None:
    """Of any characters; and no text has more tokens than bytes."""
    made = vocabularies.simulated("smollm", 800)

    assert made.count(text) == plainly(made, text, vocabularies.printable()) <= len(text.encode("utf-8", "replace"))


@pytest.mark.parametrize(
    ("model", "pre"), [("llama", "default"), ("gpt2", "brand-new"), ("bert", "smollm"), ("gpt2", "")]
)
def test_a_kind_that_is_not_known_is_not_counted(model: str, pre: str) -> None:
    """A guess is no exact count."""
    assert vocabulary(model, pre, ["a", "b", "ab"], ["a b"]) is None


def test_a_long_word_costs_no_more_than_its_length() -> None:
    """A piece of a hundred thousand letters, which a quadratic merge would never end, is counted in seconds."""
    made = vocabularies.simulated("smollm", 800)
    started = time.perf_counter()

    assert 0 < made.count("the" * 33_000) <= 99_000
    assert time.perf_counter() - started < 10


def test_a_text_beyond_all_limits_is_refused() -> None:
    """It is no prompt."""
    with pytest.raises(ValueError, match="too many to count"):
        vocabularies.simulated("smollm", 800).count("a" * (MOST_CHARS + 1))
