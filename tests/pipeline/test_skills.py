"""Templates are split in two, filled without surprises, and survive a round through their file."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import BadInput
from pipeline.skills import PromptTemplate, check_name, next_template, parse_template, render


@pytest.mark.parametrize(
    ("text", "instruction", "frame"),
    [
        ("Name it.\n---\nText: {{text}}\n", "Name it.", "Text: {{text}}"),
        ("Name it.\nText: {{text}}\nMore", "Name it.", "Text: {{text}}\nMore"),
        ("\ufeffName it.\r\n---\r\nText: {{ text }}\r\n", "Name it.", "Text: {{ text }}"),
        ("One\n\nTwo\n ---  \n{{a}}\n---\n{{b}}", "One\n\nTwo", "{{a}}\n---\n{{b}}"),
        ("Use {{this}} word.\n---\n{{a}}", "Use {{this}} word.", "{{a}}"),
    ],
)
def test_a_template_is_split_at_its_rule_or_before_its_first_field(text: str, instruction: str, frame: str) -> None:
    """The line of three hyphens counts; without one the first line with a field begins the frame."""
    assert parse_template(text) == PromptTemplate(instruction, frame)


@pytest.mark.parametrize(
    "text", ["", "Name it.", "---\n{{a}}", "{{a}}", "Name it.\n---\nno field", "\n\n---\n{{a}}", "{{A}}"]
)
def test_a_template_without_instruction_or_field_is_refused(text: str) -> None:
    """Both parts are needed, and the error says which one is missing."""
    with pytest.raises(BadInput, match=r"no instruction|no \{\{field\}\}"):
        parse_template(text)


@given(st.text(alphabet="ab \n-{}", min_size=1), st.text(alphabet="ab{}\n ", max_size=20))
def test_an_instruction_survives_the_file_or_is_refused(instruction: str, more: str) -> None:
    """What is written is read back as the same two parts, unless a line of the instruction is itself the rule."""
    template = PromptTemplate("x", f"Text: {{{{text}}}}{more}".strip()).with_instruction(instruction)
    if any(line.strip() == "---" for line in instruction.splitlines()) or not instruction.strip():
        return

    assert parse_template(template.text) == template


def test_values_are_never_expanded_again() -> None:
    """An input that looks like a field stays as it is, in whatever order the fields are filled."""
    template = PromptTemplate("Do.", "{{a}} {{b}} {{ c }}")

    assert render(template, {"a": "{{b}}", "b": "{{a}}", "c": "\\1"}) == "Do.\n---\n{{b}} {{a}} \\1"


def test_a_field_that_is_missing_is_empty_and_others_are_passed_over() -> None:
    """The frame decides which fields are shown."""
    assert render(PromptTemplate("Do.", "A: {{a}}."), {"x": "1"}) == "Do.\n---\nA: ."


@pytest.mark.parametrize("name", ["a", "file-naming", "a1-b2", "x" * 64])
def test_a_plain_name_is_a_skills_name(name: str) -> None:
    """Lower-case letters, digits and hyphens, at most 64."""
    assert check_name(name) == name


@pytest.mark.parametrize("name", ["", "A", "1a", "-a", "a_b", "a b", "x" * 65, "a\n", "../a", "ä", "a\x00"])
def test_anything_else_is_no_name(name: str) -> None:
    """A name becomes part of paths, ids and terminal lines: nothing else gets in."""
    with pytest.raises(BadInput):
        check_name(name)


@pytest.mark.parametrize(
    ("template", "version", "expected"),
    [
        ("skills/a.md", 2, "skills/a-v2.md"),
        ("skills/a-v2.md", 3, "skills/a-v3.md"),
        ("skills/a-v12.md", 13, "skills/a-v13.md"),
        ("a-v2-notes.md", 3, "a-v2-notes-v3.md"),
        ("prompt", 2, "prompt-v2.md"),
    ],
)
def test_a_new_version_stands_beside_the_old_one(template: str, version: int, expected: str) -> None:
    """The number of the version replaces the one before, and is never piled up."""
    assert next_template(template, version) == expected
