"""The phrases that a search starts from are many, different, short and harmless."""

from __future__ import annotations

import re

import pytest

from pipeline.algorithms.similarity import overlap
from pipeline.algorithms.text_signals import gibberish
from pipeline.leaks import leaks
from pipeline.phrasebook import IMPROVE_MUTATION, MUTATION_PROMPTS, THINKING_STYLES

PHRASES = (*MUTATION_PROMPTS, *THINKING_STYLES, IMPROVE_MUTATION)


def test_there_are_as_many_phrases_as_a_search_needs() -> None:
    """There are 40 mutation prompts and 30 thinking styles, in the order of magnitude of PromptBreeder's 56 and 39."""
    assert (len(MUTATION_PROMPTS), len(THINKING_STYLES)) == (40, 30)


def test_the_phrases_differ() -> None:
    """No two phrases are the same, or the same but for a word or two."""
    words = [set(re.findall(r"[a-z]+", phrase.lower())) for phrase in PHRASES]
    close = [
        (PHRASES[i], PHRASES[j]) for i in range(len(words)) for j in range(i) if overlap(words[i], words[j])[2] > 0.7
    ]

    assert len(set(PHRASES)) == len(PHRASES)
    assert close == []


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_is_one_short_plain_sentence(phrase: str) -> None:
    """A phrase is one sentence of at most 25 words in plain letters, so that a small model can follow it."""
    assert re.fullmatch(r"[A-Z][^.!?\n]*[.?]", phrase)
    assert phrase.isascii()
    assert len(phrase.split()) <= 25


@pytest.mark.parametrize("phrase", PHRASES)
def test_a_phrase_passes_the_guards_of_the_search(phrase: str) -> None:
    """What a model copies from a phrase is not refused as gibberish or as suspicious."""
    assert gibberish(phrase) == ""
    assert leaks(phrase) == ()
