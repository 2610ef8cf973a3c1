"""How a ballot looks in a terminal: the input first, then the results, side by side where there is room for it.

Every text on a ballot is of others. It is made harmless and indented or kept to its column, so that it can neither move the
cursor nor pass for a heading. Nothing here depends on which prompt wrote what.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import zip_longest
from typing import TYPE_CHECKING

import click

from ops.cli.output import show, width

if TYPE_CHECKING:
    from models.ballots import Shown

LEAST = 30  # columns of a result that stands beside others
BESIDE = 3  # most results beside one another; four stand two by two
NARROWEST = 20  # columns that a text is wrapped to at least, however narrow the terminal
GAP = " | "
RULE = 72  # columns of a rule where there is no terminal
LINES = 200  # lines shown of one result, and of the whole input
LONGEST = 6000  # characters shown of one result
FIELD, FIELD_LINES, FIELDS = 1500, 60, 40  # characters and lines shown of one field of the input; fields shown
EMPTY = "(empty)"
_PIECES = re.compile(r" +|[^ ]+")


def laid_out(ballot: Shown, columns: int | None = None) -> str:
    """Lay a ballot out for reading.

    Args:
        ballot: what a person may see of it.
        columns: of the terminal; None wraps nothing and puts the results below one another, for pipes.
    """
    rule = "-" * (RULE if columns is None else max(columns, NARROWEST))
    head = _bold(f"Ballot {ballot.ballot} of {show(ballot.skill)}: {progress(ballot)}", columns)
    given = [line for name, value in ballot.fields[:FIELDS] for line in _field(name, value, columns)]
    if len(ballot.fields) > FIELDS:
        given.append(f"... ({len(ballot.fields) - FIELDS} more fields)")
    return "\n".join([head, rule, *_cut(given, LINES), rule, *_results(ballot.cards, columns), rule])


def progress(ballot: Shown) -> str:
    """Say how far the test is, and where that is known how many votes are likely to decide it."""
    said = f"vote {ballot.votes + 1} of at most {ballot.cap}"
    if ballot.outlook is None:
        return said
    low, high = ballot.outlook
    return f"{said}, about {low if low == high else f'{low} to {high}'} more should decide"


def wrapped(text: str, columns: int | None) -> list[str]:
    """Break a harmless text into lines of at most *columns* columns, between words where it can be.

    Args:
        text: each of its lines begins a line of its own and keeps its indentation.
        columns: at least two; None breaks nothing.

    >>> wrapped("a name of four words", 10), wrapped("名前名前", 4)
    (['a name of', 'four words'], ['名前', '名前'])
    """
    lines = text.split("\n")
    return lines if columns is None else [row for line in lines for row in _rows(line.rstrip(" "), columns)]


def _rows(line: str, columns: int) -> Iterator[str]:
    row, used = "", 0
    for piece in _PIECES.findall(line):
        size = width(piece)
        if used + size <= columns:
            row, used = row + piece, used + size
            continue
        if row.strip(" "):
            yield row.rstrip(" ")
        row, used = "", 0
        if piece[0] != " ":  # blanks at the end of a row: the break stands for them
            *full, row = _parts(piece, columns)
            yield from full
            used = width(row)
    yield row.rstrip(" ")


def _parts(word: str, columns: int) -> Iterator[str]:
    """Cut a word that is too long, in one pass; a mark stays with the letter it stands on."""
    start = used = 0
    for index, char in enumerate(word):
        size = width(char)
        if used + size > columns:
            yield word[start:index]
            start, used = index, 0
        used += size
    yield word[start:]


def _results(cards: Sequence[str], columns: int | None) -> list[str]:
    """Put the results beside one another where each has room, else below one another; all have the same room."""
    beside = len(cards) if len(cards) <= BESIDE else 2
    room = 0 if columns is None else (columns - len(GAP) * (beside - 1)) // max(beside, 1)
    if columns is None or beside < 2 or room < LEAST:  # noqa: PLR2004 - one result stands beside none
        return _below(cards, columns)
    numbered = list(enumerate(cards, start=1))
    lines: list[str] = []
    for start in range(0, len(cards), beside):
        lines += ["", *_row_of(numbered[start : start + beside], room)] if start else _row_of(numbered[:beside], room)
    return lines


def _row_of(numbered: Sequence[tuple[int, str]], room: int) -> list[str]:
    cells = [[str(number), *_result(card, room)] for number, card in numbered]
    heads, *rows = zip_longest(*cells, fillvalue="")
    return [
        GAP.join(_bold(_padded(head, room), room) for head in heads),
        *(GAP.join(_padded(cell, room) for cell in row).rstrip() for row in rows),
    ]


def _below(cards: Sequence[str], columns: int | None) -> list[str]:
    room = None if columns is None else max(columns, NARROWEST) - 3
    lines: list[str] = []
    for number, card in enumerate(cards, start=1):
        lines += [_bold(f"{number}:", columns), *(f"   {line}".rstrip() for line in _result(card, room))]
    return lines


def _result(card: str, room: int | None) -> list[str]:
    return _cut(wrapped(_harmless(card, LONGEST), room), LINES)


def _field(name: str, value: str, columns: int | None) -> list[str]:
    """Write a field of the input; its further lines are indented, so that none of them passes for another field."""
    room = None if columns is None else max(columns, NARROWEST) - 2
    first, *rest = _cut(wrapped(f"{show(name, limit=100)}: {_harmless(value, FIELD)}", room), FIELD_LINES)
    return [first, *(f"  {line}".rstrip() for line in rest)]


def _harmless(text: str, limit: int) -> str:
    return show(text, newlines=True, limit=limit) if text.strip() else EMPTY


def _cut(lines: list[str], most: int) -> list[str]:
    return lines if len(lines) <= most else [*lines[:most], f"... ({len(lines) - most} more lines)"]


def _padded(text: str, room: int) -> str:
    return text + " " * (room - width(text))


def _bold(text: str, columns: int | None) -> str:
    """Make a heading of ours stand out in a terminal; `click.echo` takes it away where there are no colours."""
    return text if columns is None else click.style(text, bold=True)
