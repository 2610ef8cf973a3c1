"""Changing a few values of a YAML file and no other byte."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from pipeline.errors import ConfigError
from workers.yaml_edit import Value, replace_values, write_value

TRAIL = ("skills", "file-naming")
KEYS = ("prompt_template", "prompt_version", "evolved_at", "previous_accuracy", "current_accuracy")
NEW = {"prompt_template": "skills/a-v2.md", "prompt_version": 2}

HEAD = """\
# The host's own file   # with odd   spacing
%defaults%
flow: {a,   b: ~,  c: [1,2,  3]}
unused: &unused yes
loop: &loop [*loop]
text: |
  prompt_version: 99
  # no comment
skills:   # all of them
  other: &other
    prompt_template: skills/other.md
    prompt_version: 7   # not this one
  third: *other

  # the one
  file-naming:   # its entry
"""
TAIL = """\
  # after it
  last:
    <<: *defaults
    prompt_version: 7
"trailing": 'quotes'   # kept
"""


def read(text: str, version: tuple[int, int] | None = None) -> Any:
    """Read YAML as another program would."""
    yaml = YAML(typ="safe", pure=True)
    yaml.version = version
    return yaml.load(text.removeprefix("\ufeff"))


@st.composite
def configurations(draw: st.DrawFn) -> tuple[str, str, str]:
    """Draw a configuration in three parts: what stands before the entry's lines, those lines, and the rest."""
    ending = draw(st.sampled_from(["\n", "\r\n"]))
    step = draw(st.sampled_from(["    ", "      ", "   "]))
    entry = [f"{step}host_key: {{a:   1}}  # host"]
    for key in KEYS:
        if key != "prompt_template" and draw(st.booleans()):
            continue
        old = draw(st.sampled_from(["1", "0.5", '"x"', "'it''s'", "plain text", "~", "", "null", '!!str "x"', "0x1F"]))
        space = draw(st.sampled_from([" ", "   "]))
        comment = draw(st.sampled_from(["", "   # keep: {me}", "  #"]))
        entry.append(f"{step}{key}:{space if old else ''}{old}{comment}")
        entry += draw(st.sampled_from([[], [""], [f"{step}# a note"], [f"{step}nested: {{x: 1}}"]]))
    entry = list(dict.fromkeys(line for line in entry if line.strip()))
    head = HEAD.replace("%defaults%", "defaults: &defaults {model: m}").replace("\n", ending)
    tail = draw(st.sampled_from([TAIL.replace("\n", ending), ""]))
    bom = draw(st.sampled_from(["", "\ufeff"]))
    body = ending.join(dict.fromkeys(entry)) + (ending if tail or draw(st.booleans()) else "")
    return bom + head, body, tail


VALUES = st.one_of(st.text(max_size=40), st.integers(), st.floats(allow_nan=False, allow_infinity=False), st.none())


@settings(max_examples=300, deadline=None, database=None)
@given(configurations(), st.tuples(*[VALUES] * len(KEYS)))
def test_only_the_wanted_values_change(parts: tuple[str, str, str], drawn: tuple[Value, ...]) -> None:
    """The result says what was wanted to old and new readers, and every other line keeps its bytes."""
    head, body, tail = parts
    values = dict(zip(KEYS, drawn, strict=True))

    result = replace_values(head + body + tail, "config.yaml", TRAIL, values)

    assert result.startswith(head)
    assert result.endswith(tail)
    middle = result[len(head) : len(result) - len(tail) or None]
    assert others(middle) == others(body)
    assert middle.count("   # keep: {me}") == body.count("   # keep: {me}")
    before, after = read(head + body + tail), read(result)
    wanted = {**before["skills"]["file-naming"], **values}
    assert types(after["skills"].pop("file-naming")) == types(wanted)
    del before["skills"]["file-naming"], before["loop"], after["loop"]  # the loop has no end to compare
    assert after == before


def types(entry: dict[str, Any]) -> dict[str, tuple[type, Any]]:
    """Return an entry with the type of each value, because 1 == 1.0."""
    return {key: (type(value), value) for key, value in entry.items()}


def others(entry: str) -> list[str]:
    """Return the lines of an entry that no edit may touch."""
    return [line for line in entry.replace("\r", "").split("\n") if line and line.strip().split(":")[0] not in KEYS]


@settings(max_examples=300, deadline=None, database=None)
@given(VALUES)
def test_a_written_value_reads_back(value: Any) -> None:
    """Any text and any finite number survives the writing, for readers of YAML 1.1 and 1.2."""
    for version in (None, (1, 1)):
        found = read(f"key: {write_value(value)}\n", version)["key"]

        assert (type(found), found) == (type(value), value)


def test_a_second_edit_changes_nothing() -> None:
    """A file that already says it all is returned byte for byte, whatever its quotes."""
    text = "skills:\n  file-naming:\n    prompt_template: 'skills/a-v2.md'\n    prompt_version:   2  # two\n"

    assert replace_values(text, "config.yaml", TRAIL, NEW) == text


def test_missing_keys_follow_the_known_ones() -> None:
    """New lines stand below the key before them, indented like it."""
    text = "skills:\n    file-naming:\n        prompt_template: x # c\n        model: m\n"

    result = replace_values(
        text, "config.yaml", TRAIL, {"prompt_template": "y", "prompt_version": 2, "evolved_at": "z"}
    )

    assert result.splitlines()[2:] == [
        '        prompt_template: "y" # c',
        "        prompt_version: 2",
        '        evolved_at: "z"',
        "        model: m",
    ]


def test_a_last_line_without_an_end_is_no_trap() -> None:
    """A file that ends in an empty value and no newline gets both the value and the new line right."""
    text = "skills:\r\n  file-naming:\r\n    prompt_template:"

    result = replace_values(text, "config.yaml", TRAIL, NEW)

    assert result == f'{text} "skills/a-v2.md"\r\n    prompt_version: 2'


REFUSED = {
    "entry in braces": "skills:\n  file-naming: {prompt_template: x, prompt_version: 1}\n",
    "section in braces": "skills: {file-naming: {prompt_template: x}}\n",
    "a JSON file": '{"skills": {"file-naming": {"prompt_template": "x"}}}\n',
    "anchored entry": "skills:\n  file-naming: &f\n    prompt_template: x\n  b: *f\n",
    "aliased entry": "b: &f\n  prompt_template: x\nskills:\n  file-naming: *f\n",
    "anchored section": "skills: &s\n  file-naming:\n    prompt_template: x\nb: *s\n",
    "anchored value": "skills:\n  file-naming:\n    prompt_template: &t x\nb: *t\n",
    "aliased value": "b: &t x\nskills:\n  file-naming:\n    prompt_template: *t\n",
    "anchored key": "skills:\n  file-naming:\n    &k prompt_template: x\n",
    "merged value": "b: &b\n  prompt_template: x\nskills:\n  file-naming:\n    <<: *b\n    model: m\n",
    "merged entry": "b: &b\n  file-naming:\n    prompt_template: x\nskills:\n  <<: *b\n",
    "block value": "skills:\n  file-naming:\n    prompt_template: |\n      x\n",
    "folded value": "skills:\n  file-naming:\n    prompt_template: >-\n      x\n",
    "list value": "skills:\n  file-naming:\n    prompt_template:\n      - x\n",
    "explicit keys": "skills:\n  file-naming:\n    ? prompt_template\n    : x\n",
    "two documents": "skills:\n  file-naming:\n    prompt_template: x\n---\na: 1\n",
    "key twice": "skills:\n  file-naming:\n    prompt_template: x\n    prompt_template: y\n",
    "entry twice": "skills:\n  file-naming:\n    prompt_template: x\n  file-naming:\n    prompt_template: y\n",
    "section twice": "skills:\n  file-naming:\n    prompt_template: x\nskills:\n  a: 1\n",
    "no entry": "skills:\n  other:\n    prompt_template: x\n",
    "no section": "a: 1\n",
    "no template": "skills:\n  file-naming:\n    model: x\n",
    "a list": "skills:\n- file-naming\n",
    "empty": "",
    "a tab": "skills:\n  file-naming:\n\tprompt_template: x\n",
    "a word": "skills",
}


@pytest.mark.parametrize("text", REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_edited_safely_is_refused(text: str) -> None:
    """A shared, braced, doubled or missing entry is refused with one printable line."""
    with pytest.raises(ConfigError) as caught:
        replace_values(text, "config.yaml", TRAIL, NEW)

    assert str(caught.value).isprintable()


def test_a_merge_of_other_keys_is_no_obstacle() -> None:
    """Defaults that the entry merges stay merged."""
    text = "d: &d {model: m}\nskills:\n  file-naming:\n    <<: *d\n    prompt_template: x\n    prompt_version: 1\n"

    result = replace_values(text, "config.yaml", TRAIL, NEW)

    assert result == text.replace(": x", ': "skills/a-v2.md"').replace("version: 1", "version: 2")


@pytest.mark.parametrize("value", ["a\ud800b", float("nan"), float("inf")])
def test_what_yaml_cannot_say_is_refused(value: Any) -> None:
    """Half a surrogate pair and numbers that are none are never written."""
    with pytest.raises(ConfigError):
        write_value(value)


@pytest.mark.parametrize(("value", "written"), [(1e16, "1.0e+16"), (5e-324, "5.0e-324"), (1.5e300, "1.5e+300")])
def test_large_numbers_have_a_point(value: float, written: str) -> None:
    """Common readers of YAML 1.1 take a number with an exponent but no point for text."""
    assert write_value(value) == written
