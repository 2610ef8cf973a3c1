"""The detectors pass good prompts and catch gibberish, by kind, on labelled texts."""

from __future__ import annotations

import json
import random
import re
import time
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.algorithms.text_signals import LOOP, NOISE, SALAD, SHUFFLE, examine, gibberish

DATA = Path(__file__).parents[2] / "data/prompts"
KIT = Path(__file__).parents[3] / "models/data/labelled-pairs.jsonl"
ROWS = [json.loads(line) for line in (DATA / "text-quality.jsonl").read_text("utf-8").splitlines()]
PAIRS = [json.loads(line) for line in KIT.read_text("utf-8").splitlines()]


def verdicts(kind: str) -> Counter[str]:
    """What the detectors say of the labelled texts of one kind."""
    return Counter(gibberish(row["text"]) for row in ROWS if row["kind"] == kind)


@pytest.mark.parametrize(
    ("kind", "verdict", "share"),
    [
        ("good", "", 0.99),
        ("telegraphic", "", 0.94),
        ("salad", SALAD, 0.9),
        ("loop", LOOP, 1.0),
        ("charnoise", NOISE, 1.0),
        ("shuffle", SHUFFLE, 0.9),
    ],
)
def test_each_kind_gets_its_verdict(kind: str, verdict: str, share: float) -> None:
    """At most 1 % of good prompts are refused; salads, loops and noise are named."""
    found = verdicts(kind)

    assert found[verdict] / found.total() >= share


def test_no_real_prompt_of_the_pairs_is_refused() -> None:
    """Paraphrases, rule changes and structural changes, few-shot and tables included, all pass."""
    texts = [pair[side] for pair in PAIRS if pair["cls"] != "other" for side in "ab"]

    assert {gibberish(text) for text in texts} == {""}


@pytest.mark.parametrize(
    "text",
    [
        "Benenne die Datei nach dem Inhalt des Bildes. Verwende Kleinbuchstaben und behalte die Endung bei.",
        "Lies die Sprachnotiz und schreibe alle Aufgaben auf, eine pro Zeile, mit dem Verb zuerst.",
        "Donne un nom au fichier d'apr\u00e8s le contenu de l'image, en minuscules, et garde l'extension.",
        "Pon un nombre al archivo seg\u00fan el contenido de la imagen. Usa guiones y conserva la extensi\u00f3n.",
        "Geef het bestand een naam op basis van de inhoud van de afbeelding. Gebruik kleine letters.",
        "Nazwij plik zgodnie z zawarto\u015bci\u0105 obrazu. U\u017cyj ma\u0142ych liter i \u0142\u0105cznik\u00f3w.",
        "Lint TypeScript: no any, no console.log, JSON out.",
        "Name it.",
        "",
    ],
)
def test_prompts_in_other_languages_and_short_ones_pass(text: str) -> None:
    """The English tables do not refuse what they cannot judge."""
    assert gibberish(text) == ""


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("Name the file and the file and the file and the file and the file and the file.", LOOP),
        ("asdf kjhg qwer zxcv mnbv poiu lkjh", NOISE),
        ("Image filename subject context kebab characters extension descriptive", SALAD),
        ("Naming clarity optimization accuracy user, visual output format structure semantic", SALAD),
        ("w x y z " * 40, LOOP),
    ],
)
def test_plain_cases_are_named(text: str, verdict: str) -> None:
    """One text for each detector."""
    assert gibberish(text) == verdict


def test_few_different_words_that_compress_well_are_a_loop() -> None:
    """Repetition in changing order has few repeated trigrams, but few words and little information."""
    order = [(7 * i * i + 3 * i) % 11 for i in range(400)]
    text = " ".join(
        ["keep", "the", "name", "of", "file", "short", "and", "clear", "for", "all", "people"][i] for i in order
    )

    assert gibberish(text) == LOOP


def test_a_prompt_is_judged_in_less_than_a_millisecond() -> None:
    """The mean over all labelled texts, in CPU time, best of three rounds."""
    rounds = []
    for _ in range(3):
        start = time.thread_time()
        for row in ROWS:
            gibberish(row["text"])
        rounds.append((time.thread_time() - start) / len(ROWS))

    assert min(rounds) < 1e-3


def test_shuffled_texts_that_were_not_looked_at_are_caught() -> None:
    """Every paragraph of our own documents passes, and 9 in 10 of them are caught once their words are shuffled."""
    root, draw, caught = Path(__file__).parents[3], random.Random(1), []  # noqa: S311 - the order of words is no secret
    for path in (root / "README.md", root / "SECURITY.md", *sorted((root / "docs").glob("*.md"))):
        for paragraph in re.split(r"\n\s*\n", path.read_text("utf-8")):
            words = paragraph.split()
            if "|" in paragraph or "`" in paragraph or len(words) < 15:
                continue
            assert gibberish(paragraph) == "", paragraph
            draw.shuffle(words)
            caught.append(gibberish(" ".join(words)) in (SHUFFLE, SALAD))

    assert len(caught) >= 15
    assert sum(caught) >= 0.9 * len(caught)


def test_every_verdict_has_its_evidence() -> None:
    """The measured value beside the limit, and nothing of the text, which may be hostile."""
    for row in ROWS:
        found = examine(row["text"])
        assert (found.detector if found else "") == gibberish(row["text"])
        if found is not None:
            assert re.search(r"\d", found.evidence)
            assert " at " in found.evidence
            assert str(found) == f"{found.detector} ({found.evidence})"


@given(st.text(max_size=400))
def test_any_text_gets_a_verdict(text: str) -> None:
    """No text is an error, and the verdict is one of five words."""
    assert gibberish(text) in {"", LOOP, SALAD, NOISE, SHUFFLE}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("text", ["x" * 200_000, "a b " * 100_000, "\ud800" * 1000, "?!" * 100_000, "a-" * 100_000])
def test_huge_texts_are_judged_quickly(text: str) -> None:
    """Only the first 64 Ki characters are looked at."""
    assert gibberish(text) in {"", LOOP, SALAD, NOISE, SHUFFLE}
