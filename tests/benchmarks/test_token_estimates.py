"""How far estimates of tokens are off, and how often their bound holds, on texts of the repository and on whole questions.

The exact counter is simulated (`tests/vocabularies.py`); EVOCTL_TEST_GGUF may name a real model's file, which is counted too.
"""

# ruff: noqa: S311 - which texts are taken, and in which order: no secret
from __future__ import annotations

import json
import os
import random
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import pytest

from pipeline import operators
from pipeline.algorithms.bpe import vocabulary
from pipeline.algorithms.gguf import read_tokenizer
from pipeline.algorithms.tokens import UNTAUGHT, calibrated, estimate
from pipeline.meta_prompt import Failure, Success, sealed
from tests.vocabularies import ROOT, simulated

pytestmark = pytest.mark.benchmark
ORDERS, CALLS, TEMPLATE = 20, 100, 30  # random orders of the texts, calls of each, tokens of a chat template
FIRST = 10  # calls after which the bound must hold


def parts() -> list[str]:
    """Return prose, code, JSON, YAML and HTML of the repository in parts of 300 to 6,000 characters."""
    rng, found = random.Random(5), list[str]()
    for pattern in ("*.md", "docs/*.md", "pipeline/**/*.py", "tests/**/*.jsonl", "ops/**/*.yaml", "ops/**/*.html"):
        for path in sorted(ROOT.glob(pattern)):
            whole = path.read_text("utf-8")[:30_000]
            found += [whole[start : start + rng.randint(300, 6000)] for start in range(0, len(whole), 3000)]
    return found


def questions() -> list[str]:
    """Return questions of four operators over labelled failures and prompts."""
    rows = [
        json.loads(line) for line in (ROOT / "tests/data/file-naming/failures.jsonl").read_text("utf-8").splitlines()
    ]
    lines = (ROOT / "tests/data/prompts/text-quality.jsonl").read_text("utf-8").splitlines()
    good = [row["text"] for row in map(json.loads, lines) if row["kind"] == "good"]
    found: list[str] = []
    for number in range(300):
        rng = random.Random(number)
        chosen = rng.sample(rows, rng.randint(1, 20))
        failures = tuple(
            Failure(shown=f"description: {row['description']}", output=row["output"], expected="", lost=(row["kind"],))
            for row in chosen
        )
        successes = tuple(Success(shown=row["description"], output=row["output"]) for row in rng.sample(rows, 5))
        asked = (
            operators.direct(rng.choice(good), "Name files.", failures, successes),
            operators.first_order("Make it better.", rng.choice(good), "Name files."),
            operators.zero_order("Name files.", failures),
            operators.eda(rng.sample(good, rng.randint(2, 8)), "Name files."),
        )
        found.append(sealed(asked[number % 4], number))
    return found


def counters() -> list[tuple[str, Callable[[str], int]]]:
    """Return the simulated counter, and the real one that is named."""
    found: list[tuple[str, Callable[[str], int]]] = [("simulated vocabulary", simulated().count)]
    if path := os.environ.get("EVOCTL_TEST_GGUF"):
        with Path(path).open("rb") as file:
            read = read_tokenizer(file.read(32 * 1024 * 1024))
        made = vocabulary(read.words["model"], read.words["pre"], read.lists["tokens"], read.lists["merges"])
        assert made is not None
        found.append((Path(path).name, made.count))
    return found


def measured(texts: Sequence[str], count: Callable[[str], int]) -> dict[str, tuple[float, float, float]]:
    """Return for the first calls and the later ones the mean error, the share in which the bound held, and its factor."""
    truth, guesses = [count(text) + TEMPLATE for text in texts], [estimate(text) for text in texts]
    seen: dict[str, list[tuple[float, bool, float]]] = {}
    for seed in range(ORDERS):
        order = random.Random(seed).sample(range(len(texts)), min(CALLS, len(texts)))
        for number, at in enumerate(order):
            gauge = calibrated([(guesses[i], truth[i]) for i in order[:number]], 10**6)
            expected = gauge.expected(guesses[at])
            one = (abs(expected - truth[at]) / truth[at], expected * gauge.factor >= truth[at], gauge.factor)
            seen.setdefault("first ten" if number < FIRST else "later", []).append(one)
    flat = [abs(UNTAUGHT.expected(g) - t) / t for g, t in zip(guesses, truth, strict=True)]
    return {"untaught": (fmean(flat), 0.0, 0.0)} | {
        when: tuple(fmean(column) for column in zip(*ones, strict=True)) for when, ones in seen.items()
    }


@pytest.mark.parametrize("what", ["parts", "questions"])
def test_what_estimates_are_worth(what: str) -> None:
    """After ten calls the bound holds in 98 of 100, and in 99 of 100 whole questions."""
    texts = parts() if what == "parts" else questions()
    for name, count in counters():
        found = measured(texts, count)
        for when, (error, held, factor) in found.items():
            print(f"{what:9} {name:24} {when:9} error {error:6.1%}  bound held {held:6.1%}  factor {factor:.2f}")  # noqa: T201 - the benchmark's report

        assert found["later"][1] >= (0.98 if what == "parts" else 0.99)
