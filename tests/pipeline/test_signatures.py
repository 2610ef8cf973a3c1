"""Failure signatures: on 63 labelled failures of eight kinds, and on answers of every kind of skill."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain import SkillName
from pipeline.meta_prompt import Failure, Success, failures_text
from pipeline.signatures import counts_of, shape, signed, telling, varied
from pipeline.skills import SkillSpec

ROWS = [
    json.loads(line)
    for line in (Path(__file__).parents[1] / "data/file-naming/failures.jsonl").read_text("utf-8").splitlines()
]
WORDS = {
    "generic": "generic", "lost_version": "version-lost", "wrong_case": "case", "spaces": "spaces", "too_long": "too-long",
    "chatter": "chatter", "wrong_subject": "unrelated", "bad_ext": "extension",
}  # fmt: skip


def skill(scorer: str, schema: str = "") -> SkillSpec:
    """Return a skill with a scorer."""
    return SkillSpec(name=SkillName("one"), template="t.md", scorer=scorer, schema=schema)


NAMING = skill("file-naming")
FAILURES = [
    signed(NAMING, Failure(shown=f"description: {row['description']}", output=row["output"], expected="", lost=()))
    for row in ROWS
]
KINDS = {id(failure): row["kind"] for failure, row in zip(FAILURES, ROWS, strict=True)}


def kinds(shown: tuple[Failure, ...] | list[Failure]) -> set[str]:
    """Return the labelled kinds of some failures."""
    return {KINDS[id(failure)] for failure in shown}


@pytest.mark.parametrize("kind", WORDS)
def test_every_labelled_kind_has_its_signature(kind: str) -> None:
    """All failures of the kind carry its word (the labels' author and ours knew of each other's rules)."""
    found = [failure.lost for failure, row in zip(FAILURES, ROWS, strict=True) if row["kind"] == kind]

    assert all(WORDS[kind] in lost for lost in found)


def test_eight_examples_show_all_eight_kinds() -> None:
    """The eight newest, as the file has them, show two; its first eight one; ours all, wherever in a kind they begin."""
    assert len(kinds(FAILURES[-8:])) == 2
    assert len(kinds(FAILURES[:8])) == 1
    assert kinds(telling(FAILURES, 8)) == set(WORDS)
    for seed in range(20):
        assert kinds(telling(FAILURES, 8, np.random.default_rng(seed))) == set(WORDS)


def test_within_a_kind_the_least_alike_are_shown() -> None:
    """Of ten failures that are nearly one and another of the same kind, two examples show both."""
    alike = [
        Failure(shown=f"text: a red bus {n}", output="photo.jpg", expected="", lost=("generic",)) for n in range(10)
    ]
    other = Failure(shown="text: quarterly invoice of Acme", output="document.png", expected="", lost=("generic",))

    assert telling([*alike[:5], other, *alike[5:]], 2) == (alike[0], other)


def test_the_counts_stand_in_front_in_plain_words() -> None:
    """How many of how many, and what: the first line of what the generator reads."""
    first = failures_text(telling(FAILURES, 8), counts_of(FAILURES), len(FAILURES)).split("\n")[0]

    assert "10 of 63: too generic" in first
    assert "8 of 63: version marker lost" in first


@pytest.mark.parametrize(
    ("scorer", "output", "expected", "lost"),
    [
        ("exact", "The label is spam.", "spam", ("different", "talk")),
        ("exact", "Spam", "spam", ("different", "case")),
        ("exact", "", "spam", ("different", "empty")),
        ("exact", "ham", "spam", ("different",)),
        ("json-schema", 'Sure: {"a": 1}', '{"a": 1}', ("not-json", "talk")),
        ("json-schema", '{"a": 2}', '{"a": 1}', ("value:a",)),
        ("set-f1", "- one\n- two", "one\nthree", ("missing-item", "extra-item")),
        ("python:a:b", "", "x", ("empty",)),
        ("python:a:b", "y", "x", ()),
    ],
)
def test_other_skills_have_simple_ones(scorer: str, output: str, expected: str, lost: tuple[str, ...]) -> None:
    """What the scorer says, and whether there was an answer, talk around it or only another case."""
    assert signed(skill(scorer), Failure(shown="text: x", output=output, expected=expected, lost=())).lost == lost


def test_what_the_scorer_said_is_kept() -> None:
    """Its words come first; nothing is scored a second time."""
    failure = Failure(shown="text: x", output="A Name.png", expected="a-name.png", lost=("case",))

    assert signed(NAMING, failure).lost[0] == "case"


def test_successes_of_every_shape_are_shown() -> None:
    """Of ninety short names and one with a version marker the second one is among the first two."""
    many = [Success(shown=f"text: picture {i}", output=f"red-bus-{i}a.png") for i in range(90)]
    rare = Success(shown="text: map of the second version", output="city-map-v2.png")

    assert rare in varied(NAMING, [*many, rare], 2)
    assert len(set(varied(NAMING, [*many, rare], 10))) == 10


@pytest.mark.parametrize(
    ("scorer", "output", "expected"),
    [
        ("exact", "Spam", "spam"), ("exact", "a b c d e", "5 to 8 words"), ("set-f1", "a\nb", "1 to 4 lines"),
        ("json-schema", '{"b": 1, "a": 2}', '["a", "b"]'), ("json-schema", "no", "NoneType"),
    ],
)  # fmt: skip
def test_a_shape_is_the_form_of_an_answer(scorer: str, output: str, expected: str) -> None:
    """A label is its own shape; a list has its length, JSON its keys."""
    assert shape(skill(scorer), output) == expected


@given(
    st.sampled_from(["file-naming", "json-schema", "set-f1", "exact", "python:a:b", "nonsense"]),
    st.lists(st.tuples(st.text(max_size=60), st.text(max_size=60), st.text(max_size=60)), max_size=12),
    st.integers(0, 8),
)
def test_any_answers_can_be_chosen_from(scorer: str, rows: list[tuple[str, str, str]], most: int) -> None:
    """As many as asked for, each once, whatever they say."""
    spec = skill(scorer)
    failures = [signed(spec, Failure(shown=a, output=b, expected=c, lost=())) for a, b, c in rows]

    assert len(telling(failures, most)) == min(most, len(rows))
    assert len(varied(spec, [Success(shown=a, output=b) for a, b, _ in rows], most)) == min(most, len(rows))
