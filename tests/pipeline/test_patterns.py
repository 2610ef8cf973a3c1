"""The task patterns are rules that may stand in a prompt, and those come first that cure what was lost."""

from __future__ import annotations

import ast
import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from pipeline.algorithms.similarity import overlap
from pipeline.algorithms.text_signals import gibberish
from pipeline.domain import SkillName
from pipeline.leaks import leaks
from pipeline.patterns import BUILT_IN, OUTSIDE, PATTERNS, Pattern, cured, suited
from pipeline.scoring import score
from pipeline.skills import SkillSpec

SCORING = ast.parse((Path(__file__).parents[2] / "pipeline/scoring.py").read_text(encoding="utf-8"))
WRITERS = {  # the functions of each scorer that name what was lost
    "file-naming": ("_file_naming", "_broken_rules"),
    "json-schema": ("_json_schema",),
    "set-f1": ("_set_f1",),
    "exact": ("_exact",),
}
REASONED = ("reason-then-result", "facts-then-result")
IDS = [pattern.name for pattern in PATTERNS]


def words_of(scorer: str) -> Iterator[str]:
    """Yield the words in which a scorer names what was lost, read from its source."""
    for function in SCORING.body:
        if isinstance(function, ast.FunctionDef) and function.name in WRITERS[scorer]:
            for node in ast.walk(function):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    word = re.fullmatch(r"([a-z]+(?:-[a-z]+)*):?", node.value)
                    if word:
                        yield word[1]


CLOSED = {scorer: frozenset(words_of(scorer)) for scorer in WRITERS}


def skill(scorer: str, schema: str = "") -> SkillSpec:
    """A skill with one scorer."""
    return SkillSpec(name=SkillName("skill"), template="t.md", scorer=scorer, schema=schema)


def names(patterns: tuple[Pattern, ...]) -> list[str]:
    """Name patterns in their order."""
    return [pattern.name for pattern in patterns]


def test_the_closed_sets_are_read_from_the_scorers() -> None:
    """Each scorer's words are found in its source, so that a new or dropped word is noticed."""
    assert "version-lost" in CLOSED["file-naming"]
    assert CLOSED["json-schema"] == {"not-json", "schema", "value"}
    assert CLOSED["set-f1"] == {"empty", "missing-item", "extra-item"}
    assert CLOSED["exact"] == {"different"}
    assert set(BUILT_IN) == set(CLOSED)


def test_there_is_a_library_of_different_patterns() -> None:
    """There are 40 to 70 patterns, and no two share a name, a sentence or nearly all of their words."""
    texts = [set(re.findall(r"[a-z]+", pattern.sentence.lower())) for pattern in PATTERNS]
    close = [(IDS[i], IDS[j]) for i in range(len(texts)) for j in range(i) if overlap(texts[i], texts[j])[2] >= 0.8]

    assert 40 <= len(PATTERNS) <= 70
    assert len(set(IDS)) == len(IDS)
    assert close == []


@pytest.mark.parametrize("pattern", PATTERNS, ids=IDS)
def test_a_sentence_may_stand_in_a_prompt(pattern: Pattern) -> None:
    """A pattern is one or two sentences of at most 30 words that no guard of the search refuses."""
    assert re.fullmatch(r"[A-Z][^.!?]*\.(?: [A-Z][^.!?]*\.)?", pattern.sentence)
    assert len(pattern.sentence.split()) <= 30
    assert gibberish(pattern.sentence) == ""
    assert leaks(pattern.sentence) == ()
    assert re.fullmatch(r"[a-z]+(?:-[a-z]+)*", pattern.name)


@pytest.mark.parametrize("pattern", PATTERNS, ids=IDS)
def test_a_pattern_cures_what_its_scorers_can_lose(pattern: Pattern) -> None:
    """Each cured word is in the closed set of a scorer that the pattern suits."""
    kinds = [kind for kind in pattern.scorers or CLOSED if kind != OUTSIDE]
    known = frozenset().union(*(CLOSED[kind] for kind in kinds))

    assert set(pattern.cures) <= known
    assert set(pattern.scorers) <= {*BUILT_IN, OUTSIDE}
    assert len(set(pattern.cures)) == len(pattern.cures)


@pytest.mark.parametrize(("scorer", "words"), CLOSED.items())
def test_every_loss_has_a_cure(scorer: str, words: frozenset[str]) -> None:
    """For each word of a scorer some pattern that suits the scorer alone, and not every skill, is a cure."""
    own = {word for pattern in PATTERNS if scorer in pattern.scorers for word in pattern.cures}

    assert words <= own


def test_the_pattern_that_cures_most_comes_first() -> None:
    """Patterns are ordered by the counted losses they cure, and by the library where they cure as many."""
    lost = {"extension": 3, "separator": 2, "case": 1}
    found = suited(skill("file-naming"), lost)
    counts = [cured(pattern, lost) for pattern in found]
    places = [PATTERNS.index(pattern) for pattern in found]

    assert names(found)[:2] == ["name-extension-copied", "name-extension-kept"]
    assert counts == sorted(counts, reverse=True)
    assert [place for count, place in sorted(zip(counts, places, strict=True), key=lambda x: (-x[0], x[1]))] == places


def test_without_losses_the_library_orders() -> None:
    """Nothing lost, nothing known or nothing counted leaves the library's order."""
    plain = [p.name for p in PATTERNS if not p.scorers or "set-f1" in p.scorers]

    for lost in ({}, {"unheard-of": 7}, {"missing-item": 0}, Counter[str]()):
        assert names(suited(skill("set-f1"), lost)) == plain


def test_a_loss_counts_with_all_its_places() -> None:
    """A broken schema counts for the pattern however many paths the scorer names."""
    lost = {"schema:$.name": 2, "schema:$.tags[]": 1, "value:name": 5}

    assert cured(Pattern(name="keys", sentence="Write every key.", cures=("schema",)), lost) == 3
    assert suited(skill("json-schema"), {"schema:$.name": 2})[0].name == "json-all-keys"


def test_reasoning_is_for_scorers_that_do_not_count_it_as_a_mistake() -> None:
    """Patterns that let the model write its reason reach a skill only if no built-in scorer reads the answer."""
    for kind in BUILT_IN:
        assert not set(REASONED) & set(names(suited(skill(kind), {})))
    for scorer in ("python:house:score", "command:./score"):
        assert set(REASONED) <= set(names(suited(skill(scorer), {})))
        assert not set(REASONED) & set(names(suited(skill(scorer, schema="{}"), {})))


def test_a_schema_asks_for_json_whoever_scores() -> None:
    """A skill with a schema gets the patterns for JSON, also under another scorer."""
    for scorer in ("exact", "python:house:score"):
        assert "json-only" in names(suited(skill(scorer, schema="{}"), {}))
        assert "label-only" not in names(suited(skill(scorer, schema="{}"), {}))


@pytest.mark.parametrize("output", ["Sure! Here is the name:", "IMG_1.PNG", "a", "Notes_v1 draft.txt", "x" * 90])
def test_real_losses_find_a_cure(output: str) -> None:
    """What the file-naming scorer says of a bad name leads to a pattern that cures some of it."""
    lost = Counter(score(skill("file-naming"), output, "budget-report-v2.pdf", {}).lost)

    assert cured(suited(skill("file-naming"), lost)[0], lost) > 0


def test_real_json_losses_find_a_cure() -> None:
    """What the JSON scorer says of a broken answer leads to a pattern that cures it."""
    schema = json.dumps({"type": "object", "required": ["name"], "properties": {"name": {"type": "string"}}})
    spec = skill("json-schema", schema)

    for output in ("no", '{"name": 1}', '{"name": "b"}'):
        lost = Counter(score(spec, output, '{"name": "a"}', {}).lost)
        assert cured(suited(spec, lost)[0], lost) > 0
