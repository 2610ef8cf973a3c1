"""The corpus itself: every class is there, and every case can be told from the others."""

from __future__ import annotations

import pytest

from tests.corpus import CLASSES, HERE, cases

WANTED = tuple(
    sorted(
        (
            "feedback",
            "hosts",
            "injection",
            "jobs",
            "llm",
            "names",
            "origins",
            "terminal",
            "xss",
            "yaml",
            "replies",
            "orders",
            "leaks",
        )
    )
)


def test_every_class_has_a_file() -> None:
    """The thirteen classes are there, and README.md names each file."""
    readme = (HERE / "README.md").read_text(encoding="utf-8")

    assert CLASSES == WANTED
    assert [kind for kind in CLASSES if f"`{kind}.jsonl`" not in readme] == []


@pytest.mark.parametrize("kind", WANTED)
def test_every_case_has_a_name_of_its_own_and_its_own_content(kind: str) -> None:
    """No case is there twice, under its name or another one."""
    every = cases(kind)
    contents = [(case.text, case.data, case.times, repr(case.more)) for case in every]

    assert len(every) >= 40
    assert len({case.name for case in every}) == len(every)
    assert len({repr(content) for content in contents}) == len(every)


def test_words_in_braces_are_filled_and_no_others() -> None:
    """A case keeps the braces that belong to its own harm."""
    case = next(case for case in cases("injection") if case.name == "placeholder")

    assert case.filled(canary="C").startswith("{{description}} {C} {{{{input}}}}")
