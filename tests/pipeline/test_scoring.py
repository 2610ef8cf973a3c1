"""The scorers agree with what people accepted, name what was lost, and survive any answer."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain import SkillName
from pipeline.errors import BadInput
from pipeline.flow import Scored
from pipeline.scoring import MAX_CHARS, is_correct, needs_outside, score, violations
from pipeline.skills import SkillSpec

ROOT = Path(__file__).parents[2]
PAIRS = [json.loads(line) for line in (ROOT / "ops/demo/data/real-pairs.jsonl").read_text("utf-8").splitlines()]
FAILURES = [
    json.loads(line) for line in (ROOT / "tests/data/file-naming/failures.jsonl").read_text("utf-8").splitlines()
]
PASSED_OVER = re.compile(
    r"(an?|the|of|in|on|at|to|for|from|with|by|and|or|that|this|these|those|is|are|was|were|be|been|it|its|as|into|how|"
    r"your?|can|which|what|when|where|then|than|has|have|not|will|using|use|screenshot|image|picture|photo|shows?|showing|"
    r"shown|displays)"
)


def spec(scorer: str, schema: Any = None) -> SkillSpec:
    """A skill with one scorer."""
    return SkillSpec(
        name=SkillName("skill"), template="t.md", scorer=scorer, schema="" if schema is None else json.dumps(schema)
    )


NAMING, LIST, EXACT = spec("file-naming"), spec("set-f1"), spec("exact")


def first_words(description: str, count: int) -> str:
    """The simplest naming rule: the first content words, joined."""
    words = re.findall(r"[a-z0-9]+", description.lower())
    return "-".join([word for word in words if not PASSED_OVER.fullmatch(word)][:count])


@pytest.mark.parametrize(("words", "share"), [(2, 0.52), (3, 0.66), (4, 0.80), (5, 0.81)])
def test_the_first_content_words_are_right_as_often_as_published(words: int, share: float) -> None:
    """On the real pairs the first 2 to 5 content words are correct in 52 to 81 %, and exact in at most 14 %."""
    right = exact = 0
    for pair in PAIRS:
        name = first_words(pair["description"], words) + "." + pair["accepted_name"].rpartition(".")[2]
        right += is_correct(NAMING, score(NAMING, name, pair["accepted_name"], pair))
        exact += name == pair["accepted_name"]

    assert right / len(PAIRS) == pytest.approx(share, abs=0.04)
    assert exact / len(PAIRS) <= 0.14


def test_every_name_that_a_person_accepted_is_perfect() -> None:
    """The accepted names score 1 against themselves and break no rule."""
    assert {score(NAMING, pair["accepted_name"], pair["accepted_name"], pair) for pair in PAIRS} == {Scored(value=1.0)}


REASONS = {
    "generic": "generic",
    "lost_version": "version-lost",
    "wrong_case": "case",
    "spaces": "separator",
    "too_long": "too-long",
    "chatter": "chatter",
    "bad_ext": "extension",
}


@pytest.mark.parametrize(
    "failure", [row for row in FAILURES if row["kind"] in REASONS], ids=lambda row: row["output"][:30]
)
def test_every_kind_of_failure_has_its_reason(failure: dict[str, str]) -> None:
    """The rule that a failure breaks is named, whether or not a name was accepted."""
    original, _, description = failure["description"].rpartition(": ")
    version = re.findall(r"(?:v|rev|draft)\d+", original)
    accepted = "-".join([*re.findall(r"[a-z0-9]+", description.lower()), *version])

    assert REASONS[failure["kind"]] in score(NAMING, failure["output"], "", {"original_name": original}).lost
    assert REASONS[failure["kind"]] in score(NAMING, failure["output"], accepted, {"original_name": original}).lost


@pytest.mark.parametrize(
    "failure", [row for row in FAILURES if row["kind"] == "wrong_subject"], ids=lambda row: row["output"]
)
def test_a_wrong_subject_is_incorrect_and_has_extra_words(failure: dict[str, str]) -> None:
    """A well-formed name of something else is wrong for its words alone."""
    scored = score(NAMING, failure["output"], first_words(failure["description"], 9), {})

    assert not is_correct(NAMING, scored)
    assert set(scored.lost) <= {"missing-words", "extra-words"}
    assert "extra-words" in scored.lost


@pytest.mark.parametrize(
    ("output", "value", "lost"),
    [
        ("red-canoe-lake.jpg", 1.0, ()),
        ('"red-canoe-lake.JPG".', 1.0, ()),
        ("`red-canoes-lakes.jpg`\n", 1.0, ()),
        ("```\nred-canoe-lake.jpg\n```", 1.0, ()),
        ("a-red-canoe-on-the-lake.jpg", 1.0, ()),
        ("red--canoe-lake.jpg", 0.95, ("separator",)),
        ("Red_Canoe_Lake.jpg", 0.9, ("case", "separator")),
        ("red-canoe-lake.png", 0.45, ("extension",)),
        ("red-canoe-lake", 0.45, ("extension",)),
        ("red.jpg", 0.5, ("too-short", "missing-words")),
        ("image-17.jpg", 0.0, ("generic", "missing-words", "extra-words")),
        ("Sure! red-canoe-lake.jpg", 0.95, ("chatter",)),
        ("red-canoe-lake.jpg\n\nIt names subject and place.", 0.95, ("chatter",)),
        ("I'm sorry, but I can't see any image.", 0.0, ("chatter",)),
        ("A red canoe lies on the shore of a lake in the mountains", 0.0, ("not-a-name",)),
        ("../../red-canoe-lake.jpg", 0.0, ("not-a-name",)),
        ("red-canoe\x00lake.jpg", 0.0, ("not-a-name",)),
        ("red-canoe-\ud800lake.jpg", 0.0, ("not-a-name",)),
        ("Name: ../x.jpg", 0.0, ("chatter", "not-a-name")),
        ("", 0.0, ("not-a-name",)),
        ("---.jpg", 0.0, ("not-a-name",)),
    ],
)
def test_a_file_name_is_scored_by_words_extension_and_form(output: str, value: float, lost: tuple[str, ...]) -> None:
    """Each row is one answer for a red canoe on a lake, its value and what it lost."""
    scored = score(NAMING, output, "red-canoe-lake.jpg", {"original_name": "IMG_1234.JPG"})

    assert (round(scored.value, 9), scored.lost) == (value, lost)


def test_broken_form_never_makes_a_right_name_wrong() -> None:
    """Correctness rests on words and extension; form only lowers the value."""
    scored = score(NAMING, "Sure! Here: RED_v2.jpg", "red-canoe-lake-v3.jpg", {})
    half = score(NAMING, "Red_Canoe_Tree_Bird_Moon_Sun.jpg", "red-canoe.jpg", {})

    assert not is_correct(NAMING, scored)
    assert half.value == 0.5
    assert is_correct(NAMING, half)


def test_without_an_accepted_name_only_form_counts() -> None:
    """A well-formed name is right, any broken rule wrong."""
    assert score(NAMING, "red-canoe.jpg", "", {"original_name": "x.jpg"}) == Scored(value=1.0)
    assert score(NAMING, "photo.jpg", "", {"original_name": "x.jpg"}) == Scored(value=0.0, lost=("generic",))


def test_a_version_that_the_person_dropped_is_not_missed() -> None:
    """The accepted name decides which version marker must survive."""
    assert score(NAMING, "hero-section.png", "hero-section.png", {"original_name": "hero-v7.png"}).lost == ()
    assert "version-lost" in score(NAMING, "hero-section.png", "hero-section-v7.png", {}).lost


SCHEMA = {
    "type": "object",
    "required": ["intent", "minutes"],
    "additionalProperties": False,
    "properties": {
        "intent": {"type": "string", "enum": ["remind", "call"]},
        "minutes": {"type": "integer", "minimum": 1, "maximum": 60},
        "people": {"type": "array", "minItems": 1, "maxItems": 2, "items": {"type": "string", "minLength": 2}},
        "when": {"type": ["string", "null"]},
    },
}


@pytest.mark.parametrize(
    ("output", "value", "lost"),
    [
        ('{"intent": "call", "minutes": 5}', 1.0, ()),
        ('```json\n{"intent": "call", "minutes": 5.0}\n```\nDone.', 1.0, ()),
        ('{"intent": "call", "minutes": 6}', 0.5, ("value:minutes",)),
        ('{"intent": "sing", "minutes": 5}', 0.25, ("schema:$.intent", "value:intent")),
        ('{"intent": "call"}', 0.25, ("schema:$.minutes", "value:minutes")),
        ('{"intent": "call", "minutes": true}', 0.25, ("schema:$.minutes", "value:minutes")),
        ('{"intent": "call", "minutes": 5, "when": null}', 1.0, ()),
        ('{"intent": "call", "minutes": 5, "when": 3}', 0.5, ("schema:$.when",)),
        ('{"intent": "call", "minutes": 5, "secret text": 3}', 0.5, ("schema:$.*",)),
        ('{"intent": "call", "minutes": 5, "people": []}', 0.5, ("schema:$.people",)),
        ('{"intent": "call", "minutes": 5, "people": ["a", "b"]}', 0.5, ("schema:$.people[]",)),
        ("[]", 0.0, ("schema:$", "value:intent", "value:minutes")),
        ("call in five minutes", 0.0, ("not-json",)),
        ('{"intent": "call", "minutes": NaN}', 0.0, ("not-json",)),
        ('{"intent": "call", "minutes": 1e999}', 0.0, ("not-json",)),
        ('{"intent": "call", "minutes": 5', 0.0, ("not-json",)),
        ("", 0.0, ("not-json",)),
    ],
)
def test_json_is_scored_by_schema_and_fields(output: str, value: float, lost: tuple[str, ...]) -> None:
    """Each row is one answer where a call in five minutes is expected."""
    scored = score(spec("json-schema", SCHEMA), output, '{"intent": "call", "minutes": 5}', {})

    assert (scored.value, scored.lost) == (value, lost)
    assert is_correct(spec("json-schema", SCHEMA), scored) == (lost == ())


def test_json_without_an_expected_answer_is_scored_by_its_schema() -> None:
    """A valid answer is right; one that breaks the schema is half right at most."""
    assert score(spec("json-schema", SCHEMA), '{"intent": "call", "minutes": 5}', " ", {}) == Scored(value=1.0)
    assert score(spec("json-schema", SCHEMA), "{}", "", {}).value == 0.5
    assert score(spec("json-schema"), "3", "", {}) == Scored(value=1.0)


def test_json_that_is_no_object_is_compared_whole() -> None:
    """Lists and numbers are right or wrong as they are; an expected text that is no JSON is never met."""
    assert score(spec("json-schema"), "[1, 2]", "[1,2]", {}) == Scored(value=1.0)
    assert score(spec("json-schema"), "[2, 1]", "[1,2]", {}) == Scored(value=0.0, lost=("value:$",))
    assert score(spec("json-schema"), "{}", "no json", {}) == Scored(value=0.0, lost=("value:$",))
    assert score(spec("json-schema"), "{}", "{}", {}) == Scored(value=1.0)


@pytest.mark.parametrize(
    ("value", "schema", "paths"),
    [
        (1, True, []),
        (1, False, ["$"]),
        (1, {"const": 2}, ["$"]),
        (True, {"const": 1}, ["$"]),
        ("a  b", {"const": "a b"}, []),
        (None, {"type": "null"}, []),
        (1.5, {"type": "integer"}, ["$"]),
        (2.0, {"type": "integer"}, []),
        (False, {"type": "number"}, ["$"]),
        ("x", {"type": "unheard-of"}, ["$"]),
        ("x", {"minimum": 3}, []),
        ({"a": [{"b": 1}]}, {"properties": {"a": {"items": {"required": ["c"]}}}}, ["$.a[].c"]),
        ({"z": 1}, {"additionalProperties": {"type": "string"}}, ["$.*"]),
        ({"z": 1}, {"required": ["z"], "additionalProperties": False}, []),
    ],
)
def test_each_understood_keyword_is_checked(value: Any, schema: Any, paths: list[str]) -> None:
    """Each row is a value, a schema and the paths that break it."""
    assert list(violations(value, schema)) == paths


@pytest.mark.parametrize("schema", ["{", "[]", "3"])
def test_a_schema_that_is_no_object_is_refused(schema: str) -> None:
    """The skill's entry is at fault, not the answer."""
    with pytest.raises(BadInput, match="schema"):
        score(SkillSpec(name=SkillName("s"), template="t", scorer="json-schema", schema=schema), "{}", "", {})


@pytest.mark.parametrize(
    ("output", "value", "lost"),
    [
        ("- Buy milk\n- Call Ann.", 1.0, ()),
        ("1. call ann\n2) BUY  milk;", 1.0, ()),
        ("* [ ] buy milk\n\u2022 [x] call Ann", 1.0, ()),
        ('["Call Ann", "Buy milk"]', 1.0, ()),
        ('```json\n["Call Ann", "Buy milk"]\n```', 1.0, ()),
        ("buy milk", 2 / 3, ("missing-item",)),
        ("buy milk\ncall Ann\nsleep", 0.8, ("extra-item",)),
        ("sleep", 0.0, ("missing-item", "extra-item")),
        ("\n  \n", 0.0, ("empty", "missing-item")),
        ("[]", 0.0, ("empty", "missing-item")),
        ("[not json", 0.0, ("missing-item", "extra-item")),
        ("[1, [2]]", 0.0, ("missing-item", "extra-item")),
    ],
)
def test_a_list_is_scored_by_its_items(output: str, value: float, lost: tuple[str, ...]) -> None:
    """Each row is one answer where two items are expected; bullets, numbers and case do not count."""
    scored = score(LIST, output, "buy milk\ncall Ann", {})

    assert scored.value == pytest.approx(value)
    assert scored.lost == lost


def test_an_empty_list_where_nothing_is_expected_is_right() -> None:
    """Nothing to find and nothing found agree; anything found is too much."""
    assert score(LIST, "", "[]", {}) == Scored(value=1.0)
    assert score(LIST, "buy milk", "", {}) == Scored(value=0.0, lost=("extra-item",))


def test_a_list_is_correct_from_four_fifths() -> None:
    """The mark of 0.8 is itself correct."""
    assert is_correct(LIST, Scored(value=0.8))
    assert not is_correct(LIST, Scored(value=0.79))


def test_exact_forgives_white_space_only() -> None:
    """Case and punctuation count."""
    assert score(EXACT, " a\n b ", "a b", {}) == Scored(value=1.0)
    assert score(EXACT, "A b", "a b", {}) == Scored(value=0.0, lost=("different",))


BOMBS = {
    "brackets": "[" * 200_000,
    "objects": '{"a":' * 100_000,
    "closed": "[" * 30_000 + "]" * 30_000,
    "nested": "[" * 900 + "]" * 900,
    "digits": "9" * 100_000,
    "fraction": "1." + "9" * 100_000,
    "newlines": "```\n" + "\n" * 100_000,
    "ticks": "`" * 100_000,
    "spaces": " " * 50_000 + "x" + " " * 50_000,
    "dots": "a." * 50_000,
    "digit dots": "x 1" + "1." * 50_000,
    "hyphens": "-a" * 50_000,
    "humps": "aA" * 50_000,
    "bullets": "- " * 50_000,
    "one line each": "- a\n" * 30_000,
    "list": "[" + "1," * 30_000 + "1]",
    "surrogates": "\ud800" * 1000,
    "nul": "\0" * 1000,
}


@pytest.mark.timeout(10)
@pytest.mark.parametrize("bomb", BOMBS.values(), ids=BOMBS.keys())
@pytest.mark.parametrize("scorer", ["file-naming", "json-schema", "set-f1", "exact"])
def test_no_answer_breaks_a_scorer(scorer: str, bomb: str) -> None:
    """Huge and hostile answers get a value in [0, 1] and short reasons."""
    schema = {"type": "array", "items": {"type": "array"}} if scorer == "json-schema" else None
    for expected in ("a-b.png", "", bomb):
        scored = score(spec(scorer, schema), bomb, expected, {"original_name": bomb})

        assert 0 <= scored.value <= 1
        assert all(len(reason) <= 80 for reason in scored.lost)


@given(st.sampled_from(["file-naming", "json-schema", "set-f1", "exact"]), st.text(), st.text())
def test_any_text_has_a_value_and_closed_reasons(scorer: str, output: str, expected: str) -> None:
    """Any pair of texts scores in [0, 1], and no reason is given twice."""
    scored = score(spec(scorer), output, expected, {})

    assert 0 <= scored.value <= 1
    assert len(scored.lost) == len(set(scored.lost)) <= 10


def test_what_follows_the_limit_is_not_looked_at() -> None:
    """64 Ki characters are compared, the rest is cut on both sides."""
    assert score(EXACT, "x" * (MAX_CHARS + 1), "x" * (MAX_CHARS + 2), {}).value == 1.0


def test_outside_scorers_are_told_apart() -> None:
    """Callables and commands are scored outside; asking for them here, or for an unknown one, is refused."""
    assert [needs_outside(spec(name)) for name in ("python:pkg:f", "command:./s", "exact")] == [True, True, False]
    for name in ("python:pkg:f", "unknown"):
        with pytest.raises(BadInput, match="built-in"):
            score(spec(name), "", "", {})
    assert is_correct(spec("command:./s"), Scored(value=0.5))
