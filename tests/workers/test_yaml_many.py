"""Ten thousand generated configurations: the bytes after an edit are known beforehand, from the pieces they are made of."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

import pytest
from ruamel.yaml import YAML

from pipeline.errors import ConfigError
from workers.yaml_edit import Value, replace_values, write_value

CASES, SEED, READ_EVERY = 10_000, 20261128, 20
KEYS = ("prompt_template", "prompt_version", "current_accuracy")
STYLES = ("{}", "{}", "'{}'", '"{}"')
COMMENTS = ("", "  # a 'note': {x}", " #", "   # ünï ☃ 😀")
BEFORE = (
    "",
    "# top\n",
    "---\n",
    "a: &x {b: [1,  2]}\nc: *x\n",
    "text: |\n  prompt_version: 9\n\n",
    "'ö': \"é\"  # 😀\n",
)
INSIDE = (
    "",
    "model:   m # kept\n",
    "# prompt_version: 7\n",
    "\n",
    "list: [a,  'b']\n",
    "deep:\n  er: {prompt_version: 3}\n",
)
AFTER = ("", "# end", "# end\n", "other:\n    prompt_version: 5\n    <<: {a: b}\n", '"z": [1,\n  2]\n')
WORDS = ("skills/a.md", "skills/ü b.md", "v-1_x", "null-ish", "skills/日本.md")
TEXTS = (*WORDS, "", "a: b # c", '"q"\\', "tab\tnew\nline", "\u2028\U0001f600\x85", "- x", "*a", "yes", "0x1F", "1e3")
SHARED = ("{{{}}}", "&a {}", "[{}]", "|\n      {}")  # ways to write a value that are refused


@dataclass(frozen=True)
class Case:
    """A file in pieces: fixed text between the values' slots.

    Attributes:
        trail: keys that lead to the entry.
        pieces: fixed text; one more than there are values.
        written: how each value is written in the file.
        old, new: the values.
    """

    trail: tuple[str, ...]
    pieces: tuple[str, ...]
    written: tuple[str, ...]
    old: tuple[Value, ...]
    new: tuple[Value, ...]

    def text(self, written: tuple[str, ...]) -> str:
        """Put values into the slots."""
        return "".join(a + b for a, b in zip(self.pieces, (*written, ""), strict=True))


def make(rng: random.Random, spoiled: str = "") -> Case:
    """Make one file; *spoiled* is the way in which one value is written so that nobody may edit it."""
    step, ending = " " * rng.choice((1, 2, 3, 4, 7)), rng.choice(("\n", "\r\n"))
    trail = ("skills", "file-naming", "more", "still")[: rng.choice((1, 2, 2, 2, 3, 4))]
    text = rng.choice(BEFORE)
    for depth, key in enumerate(trail):
        quoted = rng.choice((key, f"'{key}'", f'"{key}"'))
        text += f"{step * depth}{quoted}:{rng.choice(COMMENTS)}\n"
    indent, pieces, written, old = step * len(trail), list[str](), list[str](), list[Value]()
    for key in KEYS:
        text += "".join(f"{indent}{line}\n" if line else "\n" for line in rng.choice(INSIDE).splitlines())
        value, shown = _old(rng, key)
        pieces.append(f"{text}{indent}{key}:{rng.choice((' ', '   '))}")
        written.append(spoiled.format(shown) if spoiled and key == KEYS[1] else shown)
        old.append(value)
        text = f"{rng.choice(COMMENTS)}\n"
    pieces.append(text + rng.choice(AFTER))
    bom = rng.choice(("", "", "\ufeff"))
    fixed = tuple(piece.replace("\n", ending) for piece in (bom + pieces[0], *pieces[1:]))
    new = (rng.choice(TEXTS), rng.randrange(10**6), rng.choice((None, rng.random(), 1e-9, 5, "x")))
    return Case(trail, fixed, tuple(w.replace("\n", ending) for w in written), tuple(old), new)


def _old(rng: random.Random, key: str) -> tuple[Value, str]:
    if key == KEYS[0]:
        word = rng.choice(WORDS)
        return word, rng.choice(STYLES).format(word)
    number: Value = rng.randrange(1000) if key == KEYS[1] else rng.randrange(1000) / 1000
    return number, str(number)


def unique(rng: random.Random, spoiled: str = "") -> Case:
    """Make a file in which no key of the entry stands twice: that is refused, and tested elsewhere."""
    while True:
        case = make(rng, spoiled)
        text = case.text(case.written)
        if all(text.count(f" {key}:") <= 1 for key in ("model", "list", "deep")):
            return case


def read(text: str) -> Any:
    """Read YAML as another program would."""
    return YAML(typ="safe", pure=True).load(text.removeprefix("\ufeff"))


def expected(case: Case) -> tuple[str, ...]:
    """Return how the new values are written; one that is there already keeps its own way."""
    return tuple(
        w if (type(a), a) == (type(b), b) else write_value(b)
        for w, a, b in zip(case.written, case.old, case.new, strict=True)
    )


@pytest.mark.timeout(300)
def test_ten_thousand_files_change_in_the_wanted_bytes_alone() -> None:
    """Every byte after the edit is known; the tree has the new values; a second edit brings back the old file's own."""
    rng, same = random.Random(SEED), 0  # noqa: S311 - for cases, not for secrets
    for number in range(CASES):
        case = unique(rng)
        text = case.text(case.written)

        edited = replace_values(text, "config.yaml", case.trail, dict(zip(KEYS, case.new, strict=True)))

        assert edited == case.text(expected(case)), number
        if number % READ_EVERY:
            continue
        back = replace_values(edited, "config.yaml", case.trail, dict(zip(KEYS, case.old, strict=True)))
        same += back == text
        tree, wanted = read(edited), read(text)
        assert read(back) == wanted, number
        entry = wanted
        for key in case.trail:
            entry = entry[key]
        entry.update(zip(KEYS, case.new, strict=True))
        assert tree == wanted, number
    print(f"cases: {CASES}, edited back to the same bytes: {same} of {CASES // READ_EVERY}")  # noqa: T201 - shown with -s
    assert same > 0


def test_values_that_are_shared_or_no_scalar_are_refused_in_every_file() -> None:
    """Braces, lists, anchors and blocks in the entry refuse the edit, wherever they stand."""
    rng = random.Random(SEED)  # noqa: S311 - same
    for number in range(400):
        case = unique(rng, SHARED[number % len(SHARED)])

        with pytest.raises(ConfigError):
            replace_values(case.text(case.written), "config.yaml", case.trail, dict(zip(KEYS, case.new, strict=True)))
