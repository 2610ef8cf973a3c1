"""Feedback from a JSONL file: one JSON object a line, read as a stream and checked line by line.

Keys: `task_id`, `input` (object of named texts), `output`, `expected` (or `correct`), `label` (`ok` or `bad`), `at`
(ISO 8601 with its zone), `version`. Only `task_id` is always needed; a task that is new also needs its `input`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from typing import IO, Any

from models.feedback import Feedback
from pipeline.domain import Label

MAX_LINE = 1_000_000  # bytes
MAX_ID, MAX_NAME = 200, 100  # characters
SLACK = timedelta(minutes=5)  # a host's clock may be so much ahead
FIRST_YEAR = 1970
KEYS = ("task_id", "input", "output", "expected", "correct", "label", "at", "version")
BOMS = ((b"\xef\xbb\xbf", "UTF-8"), (b"\xff\xfe", "UTF-16"), (b"\xfe\xff", "UTF-16"))


class BadRow(Exception):
    """One line cannot be used; the message says why in words."""


@dataclass(frozen=True, slots=True)
class Row:
    """One line, read: either what it says or what is wrong with it."""

    line: int
    feedback: Feedback | None
    problem: str = ""


@dataclass(slots=True)
class Checked:
    """What one reading of the whole file found.

    Attributes:
        bad: line and problem of every line that cannot be used.
        without_input: line by task id, where no input was given: the task must be known already.
    """

    good: int = 0
    bad: list[tuple[int, str]] = field(default_factory=list)
    without_input: dict[str, int] = field(default_factory=dict)


def check(file: IO[bytes], now: datetime, problem: Callable[[Feedback], str] = lambda _: "") -> Checked:
    """Read the whole file once, keeping only what is wrong with it; *problem* says what the skill has against a row."""
    found = Checked()
    for row in read(file, now):
        if row.feedback is None:
            found.bad.append((row.line, row.problem))
            continue
        if words := problem(row.feedback):
            found.bad.append((row.line, words))
            continue
        found.good += 1
        if not row.feedback.fields:
            found.without_input[row.feedback.task_id] = row.line
    return found


def read(file: IO[bytes], now: datetime) -> Iterator[Row]:
    """Read the lines that are not empty; no more than one of them is in memory."""
    seen: dict[str, int] = {}
    for number, line, whole in _lines(file):
        try:
            feedback = _feedback(line, now, first=number == 1, whole=whole)
        except BadRow as problem:
            yield Row(number, None, str(problem))
            continue
        before = seen.setdefault(feedback.task_id, number)
        if before == number:
            yield Row(number, feedback)
        else:
            yield Row(number, None, f"the task id is the same as on line {before}")


def _lines(file: IO[bytes]) -> Iterator[tuple[int, bytes, bool]]:
    """Yield number, content (at most a byte more than allowed) and whether the line's end was there."""
    number = 0
    while line := file.readline(MAX_LINE + 1):
        number += 1
        ended = rest = line
        while len(rest) > MAX_LINE and not rest.endswith(b"\n"):
            rest = file.readline(MAX_LINE + 1)
            ended = rest or ended
        if line.strip():
            yield number, line, ended.endswith(b"\n")


def _feedback(line: bytes, now: datetime, *, first: bool, whole: bool) -> Feedback:
    data = _object(line, first=first, whole=whole)
    for key in data:
        if key not in KEYS:
            near = get_close_matches(key, KEYS, 1)
            raise BadRow(f"unknown key '{key[:MAX_NAME]}'" + (f"; did you mean '{near[0]}'?" if near else ""))
    if data.get("expected") is not None and data.get("correct") is not None:
        raise BadRow("'expected' and 'correct' are two words for one thing")
    expected = "correct" if data.get("correct") is not None else "expected"
    return Feedback(
        task_id=_task_id(data.get("task_id")),
        fields=_fields(data.get("input")),
        output=_text(data, "output"),
        expected=_text(data, expected),
        label=_label(data.get("label")),
        version=_version(data.get("version")),
        at=_moment(data.get("at"), now),
        history=True,
    )


def _object(line: bytes, *, first: bool, whole: bool) -> dict[str, Any]:
    if len(line) > MAX_LINE:
        raise BadRow(f"the line is longer than {MAX_LINE} bytes")
    for mark, encoding in BOMS if first else ():
        if line.startswith(mark):
            raise BadRow(f"the file begins with a byte order mark ({encoding}); save it as UTF-8 without one")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadRow(f"invalid UTF-8 at byte {error.start + 1}") from error
    try:
        data = json.loads(text, parse_constant=_no_number, object_pairs_hook=_no_duplicates)
    except json.JSONDecodeError as error:
        cut = "" if whole else "; the line has no end: was the file cut off?"
        raise BadRow(f"not JSON at column {error.colno}: {error.msg}{cut}") from error
    except RecursionError as error:
        raise BadRow("nested too deeply") from error
    except ValueError as error:
        raise BadRow(str(error)[:MAX_ID]) from error
    if not isinstance(data, dict):
        raise BadRow("not a JSON object")
    return data


def _no_number(name: str) -> Any:
    raise BadRow(f"{name} is no number of JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for key, value in pairs:
        if key in found:
            raise BadRow(f"the key '{key[:MAX_NAME]}' appears twice")
        found[key] = value
    return found


def _task_id(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool):
        value = f"{value:d}"[: MAX_ID + 1]
    if not isinstance(value, str) or not value.strip():
        raise BadRow("'task_id' is missing" if value is None else "'task_id' must be a text")
    if len(value) > MAX_ID:
        raise BadRow(f"'task_id' is longer than {MAX_ID} characters")
    return storable(value, "task_id")


def _fields(value: object) -> tuple[tuple[str, str], ...]:
    if value is None:
        return ()
    if not isinstance(value, dict):
        raise BadRow("'input' must be an object of named texts")
    found: list[tuple[str, str]] = []
    for name, item in value.items():
        if not name or len(name) > MAX_NAME:
            raise BadRow(f"a name in 'input' must have 1 to {MAX_NAME} characters")
        if isinstance(item, bool) or not isinstance(item, str | int | float):
            raise BadRow(f"'input.{name}' must be a text or a number")
        if isinstance(item, float) and not math.isfinite(item):
            raise BadRow(f"'input.{name}' is too large a number")
        found.append((storable(name, "input"), storable(str(item), f"input.{name}")))
    return tuple(found)


def _text(data: dict[str, Any], key: str) -> str | None:
    value = data.get(key)
    if value is None or isinstance(value, str):
        return value if value is None else storable(value, key)
    raise BadRow(f"'{key}' must be a text")


def _label(value: object) -> Label | None:
    if value is None:
        return None
    if value not in tuple(Label):
        raise BadRow(f"unknown label {str(value)[:MAX_NAME]!r}; it is 'ok' or 'bad'")
    return Label(str(value))


def _version(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value < 2**31:
        raise BadRow("'version' must be a whole number from 1")
    return value


def _moment(value: object, now: datetime) -> datetime | None:
    if value is None:
        return None
    try:
        told = datetime.fromisoformat(value) if isinstance(value, str) else None
        at = told.astimezone(UTC) if told is not None and told.tzinfo is not None else None
    except (ValueError, OverflowError):
        at = None
    if at is None:
        raise BadRow("'at' must be a time with its zone, such as 2026-11-20T10:00:00Z")
    if at > now + SLACK:
        raise BadRow(f"'at' lies in the future ({at:%Y-%m-%d %H:%M} UTC)")
    if at.year < FIRST_YEAR:
        raise BadRow(f"'at' lies before {FIRST_YEAR}")
    return at


def storable(text: str, key: str) -> str:
    """Return *text* if every database can keep it.

    Raises:
        BadRow: it has a NUL or half a surrogate pair.
    """
    if "\x00" in text:
        raise BadRow(f"'{key}' has a NUL character")
    if any("\ud800" <= c <= "\udfff" for c in text):
        raise BadRow(f"'{key}' has half a surrogate pair")
    return text
