"""How a ballot is laid out: harmless, in its column, and the same whichever prompt wrote what."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise, permutations

import click
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.ballots import Shown
from ops.cli.ballot_text import EMPTY, FIELDS, GAP, LEAST, LINES, LONGEST, NARROWEST, laid_out, progress, wrapped
from ops.cli.output import show, width
from pipeline.algorithms.invisible import CATEGORIES
from pipeline.domain import BallotId

HOSTILE = (
    "\x1b[2J", "\x1b]52;c;eA==\x07", "\x1b]8;;http://evil.example\x1b\\", "\x9b31m", "\x1bP0;1|17/ab\x9c", "\x1bc",
    "\u202e", "\u2066", "\u200b", "\ufeff", "\U000e0041", "\ud800", "\x00", "\x7f", "\x85", "\u2028", "\r", "\x0b", "\t",
    "\ufe0f", "\u2800", "\u3164",
)  # fmt: skip
TEXTS = st.text(st.one_of(st.characters(), st.sampled_from("  \n名é\u0301\u0300")), max_size=300)
ROOMS = st.integers(2, 80)


def ballot(*cards: str, fields: tuple[tuple[str, str], ...] = (("description", "picture"),), **given: object) -> Shown:
    """Return a ballot as a person may see it."""
    facts: dict[str, object] = {"votes": 7, "cap": 30, **given}
    return Shown(ballot=BallotId(12), run=1, skill="file-naming", fields=fields, cards=cards, **facts)  # type: ignore[arg-type]  # keyword tables of tests


def lines(shown: Shown, columns: int | None = None) -> list[str]:
    """Return the lines of a layout without its bold marks."""
    return click.unstyle(laid_out(shown, columns)).split("\n")


def side_by_side(shown: Shown, columns: int) -> bool:
    """Tell whether some results stand beside one another."""
    return any(re.fullmatch(r"1 +\| 2.*", line) for line in lines(shown, columns))


@given(TEXTS, ROOMS)
@settings(deadline=None)
def test_no_line_is_wider_than_its_room(text: str, room: int) -> None:
    """Whatever the letters: wide ones take two columns, marks that stand on others none."""
    harmless = show(text, newlines=True)

    assert all(width(row) <= room for row in wrapped(harmless, room))


@given(TEXTS, ROOMS)
@settings(deadline=None)
def test_wrapping_loses_nothing_but_blanks(text: str, room: int) -> None:
    """Every other letter is there, in its order, and every line of the text begins one."""
    harmless = show(text, newlines=True)

    rows = wrapped(harmless, room)

    assert "".join(rows).replace(" ", "") == harmless.replace(" ", "").replace("\n", "")
    assert len(rows) >= harmless.count("\n") + 1
    assert wrapped(harmless, None) == harmless.split("\n")


@given(st.text("abcde fgh", max_size=80), st.integers(10, 80))
def test_a_word_that_fits_is_not_broken(text: str, room: int) -> None:
    """Lines end between words, and hold as many of them as fit."""
    words = [word[:10] for word in text.split()]

    rows = wrapped(" ".join(words), room)

    assert " ".join(rows).split() == words
    assert all(len(one) + 1 + len(other.split()[0]) > room for one, other in pairwise(rows))


def test_lines_keep_their_indentation() -> None:
    """Code stays readable."""
    assert wrapped("if x:\n    return 1\n\n  y", 20) == ["if x:", "    return 1", "", "  y"]


def test_a_mark_stays_with_its_letter() -> None:
    """A letter of two characters is not torn apart at the end of a line."""
    assert wrapped("e\u0301" * 5, 2) == ["e\u0301e\u0301", "e\u0301e\u0301", "e\u0301"]


@pytest.mark.parametrize(
    ("cards", "columns", "beside"),
    [(2, 2 * LEAST + 3, True), (2, 2 * LEAST + 2, False), (3, 3 * LEAST + 6, True), (3, 3 * LEAST + 5, False),
     (4, 2 * LEAST + 3, True), (4, 2 * LEAST + 2, False), (1, 500, False), (3, 1, False)],
)  # fmt: skip
def test_results_stand_side_by_side_where_each_has_room(cards: int, columns: int, *, beside: bool) -> None:
    """Two or three in a row of at least thirty columns each, four two by two, else below one another."""
    shown = ballot(*(f"result {i}" for i in range(cards)))

    assert side_by_side(shown, columns) is beside
    assert sum(line.count("result ") for line in lines(shown, columns)) == cards


def test_columns_are_straight_whatever_stands_in_them() -> None:
    """Wide letters, marks, escapes and empty lines do not move a column's edge, and no line is too wide."""
    shown = ballot("名前" * 40, "e\u0301" * 90 + "\n\nx", "\x1b[2J" * 30)

    rows = lines(shown, 96)
    body = [row for row in rows[rows.index("-" * 96, 2) + 1 :] if row != "-" * 96]

    for row in body:
        cells = row.split(GAP)
        assert len(cells) == 3 or row.rstrip().endswith("|")
        assert all(width(cell) == LEAST for cell in cells[:2])
        assert width(row) <= 96


@given(st.lists(TEXTS, min_size=2, max_size=4), TEXTS, TEXTS, st.one_of(st.none(), st.integers(1, 160)))
@settings(deadline=None)
def test_no_byte_of_others_reaches_the_terminal_unescaped(
    cards: list[str], name: str, value: str, columns: int | None
) -> None:
    """Controls, formats, surrogates and unassigned characters are escaped, and no line passes the terminal's edge."""
    laid = lines(ballot(*cards, fields=((name, value),)), columns)

    assert all(unicodedata.category(c) not in CATEGORIES for line in laid for c in line)
    if columns is not None:
        assert all(width(line) <= max(columns, NARROWEST) for line in laid[1:])


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_would_obey_is_escaped_as_everywhere(text: str) -> None:
    """The same escapes as `show` writes, in results, names and values."""
    laid = lines(ballot(f"a{text}b", "c", fields=((f"d{text}e", f"f{text}g"),)))

    assert f"   a{show(text)}b" in laid
    assert f"d{show(text)}e: f{show(text)}g" in laid


@pytest.mark.parametrize("text", ["", " ", "\n\n", "\t", "\u3000\u00a0"])
@pytest.mark.parametrize("columns", [None, 80, 120])
def test_a_result_of_blanks_is_called_empty(text: str, columns: int | None) -> None:
    """Otherwise nobody could see that there is one; the same goes for a field."""
    laid = "\n".join(lines(ballot(text, "x", "y", fields=(("name", text),)), columns))

    assert laid.count(EMPTY) == 2
    assert f"name: {EMPTY}" in laid


def test_a_huge_text_is_cut_and_says_so() -> None:
    """Neither a million letters nor a million lines push the rest off the screen, nor a thousand fields the results."""
    shown = ballot("x" * 1_000_000, "y\n" * 500_000, "\U000e0141" * 1_000_000, fields=(("f", "y\n" * 1500),) * 1000)

    laid = lines(shown, 100)

    assert len(laid) < 2 * LINES + 20
    assert f"... ({1_000_000 - LONGEST} more characters)" in "\n".join(lines(shown))
    assert f"... ({LONGEST // 2 + 1 - LINES} more lines)" in "\n".join(laid)
    assert f"... ({1000 - FIELDS} more fields)" in "\n".join(lines(ballot("x", "y", fields=(("f", "y"),) * 1000), 100))


@pytest.mark.parametrize("columns", [None, 40, 120])
def test_no_text_passes_for_a_heading_or_another_field(columns: int | None) -> None:
    """What follows a line break of others is indented or in its column, so nobody can draw a second ballot."""
    forged = "x\n3:\n   good\n2\nother: y\n" + "-" * 72

    laid = lines(ballot(forged, "b", "c", fields=(("name", forged),)), columns)

    assert sum(line == "3:" for line in laid) == (1 if columns != 120 else 0)
    assert [line.partition(":")[0] for line in laid if re.match(r"[a-z]+: ", line) and GAP[:2] not in line] == ["name"]
    assert sum(set(line) == {"-"} for line in laid) == 3


@pytest.mark.parametrize("columns", [None, 80, 120])
def test_the_layout_does_not_depend_on_who_is_where(columns: int | None) -> None:
    """Exchanging equal results changes nothing, and each stands at its own position for every order."""
    for order in permutations(("one", "two", "six")):
        laid = lines(ballot(*order), columns)
        text = "\n".join(laid)

        assert [text.index(card) for card in order] == sorted(text.index(card) for card in order)
        assert re.sub("one|two|six", "xxx", text) == "\n".join(lines(ballot("xxx", "xxx", "xxx"), columns))


@pytest.mark.parametrize(
    ("outlook", "words"),
    [
        (None, "vote 8 of at most 30"),
        ((6, 14), "vote 8 of at most 30, about 6 to 14 more should decide"),
        ((6, 6), "vote 8 of at most 30, about 6 more should decide"),
    ],
)
def test_the_heading_says_how_far_the_test_is(outlook: tuple[int, int] | None, words: str) -> None:
    """How many more votes are likely is said only where it is known."""
    shown = ballot("a", "b", outlook=outlook)

    assert progress(shown) == words
    assert lines(shown)[0] == f"Ballot 12 of file-naming: {words}"


def test_only_headings_of_ours_stand_out() -> None:
    """Every result looks the same, and nothing stands out where there is no terminal."""
    assert re.findall(r"\x1b\[1m(.*?)\x1b\[0m", laid_out(ballot("a", "b"), 80)) == [
        "Ballot 12 of file-naming: vote 8 of at most 30",
        *(number.ljust(38) for number in "12"),
    ]
    assert "\x1b" not in laid_out(ballot("a", "b"))
