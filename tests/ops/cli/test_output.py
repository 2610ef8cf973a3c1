"""Texts of others are made harmless; tables and envelopes keep their shape."""

from __future__ import annotations

import json
import sys
import unicodedata
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ops.cli import output
from ops.cli.output import envelope, progress, show, table, width
from pipeline.algorithms.invisible import CATEGORIES

HOSTILE = {
    "clear": "\x1b[2J",
    "title": "\x1b]0;owned\x07",
    "link": "\x1b]8;;http://evil.example\x1b\\text\x1b]8;;\x1b\\",
    "clipboard": "\x1b]52;c;ZXZpbA==\x07",
    "device": "\x1bP+q544e\x1b\\",
    "reset": "\x1bc",
    "c1-csi": "\x9b31m",
    "c1-osc": "\x9d0;owned\x9c",
    "delete": "\x7f",
    "nul": "\x00",
    "bell": "\x07",
    "backspace": "a\x08b",
    "return": "safe\rowned",
    "newline": "one\ntwo",
    "tab": "one\ttwo",
    "reversed": "\u202egpj.exe",
    "isolate": "\u2066x\u2069",
    "zero-width": "a\u200bb\u200d",
    "tag": "\U000e0068\U000e0069",
    "surrogate": "\ud800",
    "line-separator": "a\u2028b\u2029",
    "next-line": "\x85",
    "private": "\ue000",
    "unassigned": "\u0378",
    "byte-order-mark": "\ufeff",
    "markup": "[/][link=http://evil.example]x[bold",
}


def harmless(text: str) -> bool:
    """Tell whether printing *text* can do no more than show it."""
    return all(unicodedata.category(c) not in CATEGORIES or c == "\n" for c in text)


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_hostile_texts_are_shown_and_not_obeyed(text: str) -> None:
    """No escape, control, reversing or surrogate character survives, and nothing is lost."""
    shown = show(text)

    assert "\n" not in shown
    assert harmless(shown)
    assert harmless(table(("A",), [(text,)]))
    assert shown.encode("utf-8").decode("unicode_escape", "replace") or text == ""


@given(st.text(st.characters(exclude_categories=()), max_size=60))
def test_whatever_the_text_nothing_harmful_remains(text: str) -> None:
    """Any text at all, lone surrogates included, is printable afterwards."""
    for shown in (show(text), show(text, newlines=True), table(("X",), [(text,)], plain=True)):
        assert harmless(shown)
        shown.encode("utf-8")


@given(st.text(st.characters(categories=("L", "N", "P", "S", "Zs")), max_size=60))
def test_readable_texts_stay_as_they_are(text: str) -> None:
    """Letters, digits, punctuation, symbols and spaces of any script are left alone."""
    assert show(text) == text


def test_line_breaks_stay_where_they_are_asked_for() -> None:
    """With newlines, lines are kept and Windows line ends become plain ones."""
    assert show("a\r\nb\rc\n", newlines=True) == "a\nb\\x0dc\n"


def test_long_texts_are_cut_and_counted() -> None:
    """The rest is named by its length."""
    assert show("x" * 12, limit=10) == "xxxxxxxxxx... (2 more characters)"


def test_columns_line_up_also_with_wide_characters() -> None:
    """East Asian characters take two columns, combining ones none."""
    shown = table(("NAME", "N"), [("名前", 1), ("e\u0301e", 22)])

    assert shown.splitlines() == ["NAME   N", "名前   1", "e\u0301e    22"]
    assert width("名前") == 4


def test_plain_tables_are_tabs_and_uncut() -> None:
    """Programs split at tabs; a tab inside a value is escaped."""
    assert table(("A", "B"), [("x\ty", None)], plain=True) == "A\tB\nx\\x09y\t-"


def test_a_terminal_gets_cut_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long cell would break the lines of a terminal."""
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)

    assert "more characters" in table(("A",), [("x" * 500,)])
    assert "more characters" not in table(("A",), [("x" * 500,)], plain=True)


class Kind(StrEnum):
    """A word."""

    ONE = "one"


@dataclass
class Thing:
    """A value."""

    kind: Kind
    at: datetime
    share: float
    parts: tuple[str, ...]


def test_an_envelope_is_ascii_json_with_schema() -> None:
    """Times are UTC, infinity is null, letters are escaped."""
    text = envelope("thing", Thing(Kind.ONE, datetime(2026, 1, 2, 3, tzinfo=UTC), float("inf"), ("é", "\ud800")))

    assert text.isascii()
    assert json.loads(text) == {
        "schema": "evoctl.thing/1",
        "ok": True,
        "data": {"kind": "one", "at": "2026-01-02T03:00:00Z", "share": None, "parts": ["é", "\ud800"]},
    }


def test_progress_off_a_terminal_is_one_line_a_change(capsys: pytest.CaptureFixture[str]) -> None:
    """The same words are said once; standard output stays free."""
    with progress(quiet=False) as tell:
        for words in ("a", "a", "b"):
            tell(words)

    assert capsys.readouterr() == ("", "a\nb\n")


def test_quiet_progress_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    """--quiet and --json silence it."""
    with progress(quiet=True) as tell:
        tell("a")

    assert capsys.readouterr() == ("", "")


def test_progress_on_a_terminal_never_reads_markup(monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """A text with markup of rich neither fails nor becomes a link."""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)

    with progress(quiet=False) as tell:
        tell(HOSTILE["markup"])

    assert "\x1b]8" not in capsys.readouterr().err


def test_a_person_can_answer_only_when_both_ends_are_terminals(monkeypatch: pytest.MonkeyPatch) -> None:
    """A pipe on either side means that nobody is there."""
    for first, second in ((True, True), (True, False), (False, True)):
        monkeypatch.setattr(sys.stdin, "isatty", lambda first=first: first, raising=False)
        monkeypatch.setattr(sys.stdout, "isatty", lambda second=second: second, raising=False)
        assert output.is_terminal() is (first and second)
