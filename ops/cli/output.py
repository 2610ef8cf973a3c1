"""What reaches a terminal or a program: harmless text, tables, JSON envelopes and progress.

Every text that is not ours (prompts, outputs, file names, messages of other programs) goes through `show`. Neither click
nor rich removes what a terminal would obey: escape sequences, C1 controls, reversed writing, lone surrogates.
"""

from __future__ import annotations

import contextlib
import json
import math
import sys
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

import click

from pipeline.algorithms.invisible import visible

LIMIT = 4000  # characters of one text
CELL = 60  # characters of one table cell on a terminal
WIDE = frozenset("WF")  # East Asian widths that take two columns


def show(text: object, *, newlines: bool = False, limit: int = LIMIT) -> str:
    r"""Return *text* so that printing it can neither move the cursor, nor hide, nor run anything.

    Args:
        text: of any origin.
        newlines: keep line breaks; else they are escaped as well.
        limit: most characters; what is cut is counted.

    >>> show("a\x1b[2J\u202e"), show("one\ntwo", newlines=True)
    ('a\\x1b[2J\\u202e', 'one\ntwo')
    """
    whole = str(text)
    if newlines:
        whole = whole.replace("\r\n", "\n")
    kept = visible(whole[:limit], newlines=newlines)
    return kept if len(whole) <= limit else f"{kept}... ({len(whole) - limit} more characters)"


def plain_data(value: object) -> Any:
    """Turn a value of ours into JSON data: dataclasses into objects, times into ISO 8601 in UTC, inf and NaN into null."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain_data(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, dict):
        return {str(key): plain_data(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_data(item) for item in value]
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def envelope(command: str, data: object) -> str:
    """Return the one JSON document that *command* prints under `--json`."""
    return json.dumps({"schema": f"evoctl.{command}/1", "ok": True, "data": plain_data(data)}, ensure_ascii=True)


def table(head: Sequence[str], rows: Sequence[Sequence[object]], *, plain: bool = False) -> str:
    """Lay rows out in columns; numbers to the right. Cells are made harmless here.

    Args:
        head: titles of the columns.
        rows: cells, as many as there are titles.
        plain: values divided by tabs and never cut, for other programs.
    """
    limit = CELL if sys.stdout.isatty() and not plain else LIMIT
    cells = [[_cell(value, limit) for value in row] for row in rows]
    if plain:
        return "\n".join("\t".join(row) for row in [list(head), *cells])
    widths = [max(map(width, column)) for column in zip(head, *cells, strict=True)]
    right = [bool(rows) and all(isinstance(row[i], int | float | None) for row in rows) for i in range(len(head))]
    lines = [_line(head, widths, right), *(_line(row, widths, right) for row in cells)]
    return "\n".join(lines)


def width(text: str) -> int:
    """Return how many columns of a terminal *text* takes.

    >>> width("name"), width("名前")
    (4, 4)
    """
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in WIDE) for c in text)


def moment(at: datetime | None) -> str:
    """Write a time for people, in UTC; `-` for none.

    >>> moment(datetime(2026, 11, 20, 9, 5, tzinfo=UTC)), moment(None)
    ('2026-11-20 09:05 UTC', '-')
    """
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at is not None else "-"


def number(value: float | None, form: str = ".2f") -> str:
    """Write a figure for people; `-` for none."""
    return "-" if value is None else format(value, form)


def lines_of(text: str, prefix: str = "  ") -> str:
    """Indent a text of others, made harmless line by line."""
    return "\n".join(prefix + show(line) for line in text.splitlines()) or prefix


def is_terminal() -> bool:
    """Tell whether a person can answer here: both ends are terminals."""
    return sys.stdin.isatty() and sys.stdout.isatty()


class Teller(Protocol):
    """Says how far something is; on a terminal one line that changes, elsewhere one line per change."""

    def __call__(self, words: str) -> None:
        """Say *words*, which are ours or made harmless."""


@contextlib.contextmanager
def progress(*, quiet: bool) -> Iterator[Teller]:
    """Tell the progress of something on standard error."""
    if quiet:
        yield lambda words: None  # noqa: ARG005 - the protocol's parameter
    elif sys.stderr.isatty():
        with _live() as tell:
            yield tell
    else:
        yield _Plain()


class _Plain:
    def __init__(self) -> None:
        self._last = ""

    def __call__(self, words: str) -> None:
        if words != self._last:
            click.echo(words, err=True)
        self._last = words


@contextlib.contextmanager
def _live() -> Iterator[Teller]:
    from rich.console import Console  # noqa: PLC0415 - 90 ms, only on a terminal that watches something
    from rich.text import Text  # noqa: PLC0415 - same

    console = Console(stderr=True)
    with console.status(Text("...")) as status:
        yield lambda words: status.update(Text(words))  # a Text is never read as markup


def _cell(value: object, limit: int) -> str:
    if value is None or value == "":
        return "-"
    return show(f"{value:.3g}" if isinstance(value, float) else value, limit=limit)


def _line(cells: Sequence[str], widths: Sequence[int], right: Sequence[bool]) -> str:
    padded = [
        (" " * (size - width(cell)) + cell) if to_right else cell + " " * (size - width(cell))
        for cell, size, to_right in zip(cells, widths, right, strict=True)
    ]
    return "  ".join(padded).rstrip()
