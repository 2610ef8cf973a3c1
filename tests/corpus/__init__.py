"""The corpus of bad input: one file for each class, and the count of what was tried (see README.md)."""

from __future__ import annotations

import base64
import json
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
CLASSES = tuple(sorted(path.stem for path in HERE.glob("*.jsonl")))
OWN_KEYS = frozenset(("name", "text", "base64", "times", "why"))
TRIED: Counter[tuple[str, str]] = Counter()  # (class, door) to cases that were driven through it in this session


@dataclass(frozen=True, slots=True)
class Case:
    """One bad input.

    Attributes:
        kind: its class, which is the name of its file.
        text: the case, not yet repeated.
        data: the case where it is bytes and no text.
        times: how often the text is repeated.
        more: the keys that only this class has.
    """

    kind: str
    name: str
    text: str
    data: bytes | None
    times: int
    more: dict[str, Any]

    def filled(self, **words: object) -> str:
        """Return the whole text with the given words in the places of their names in braces; others stay."""
        text = self.text
        for name, word in words.items():
            text = text.replace(f"{{{name}}}", str(word))
        return text * self.times

    def encoded(self, **words: object) -> bytes:
        """Return the whole case as bytes: UTF-8, with half surrogates as they come."""
        return self.data if self.data is not None else self.filled(**words).encode("utf-8", "surrogatepass")


@cache
def cases(kind: str) -> tuple[Case, ...]:
    """Return every case of one class, in the order of its file."""
    return tuple(_case(kind, json.loads(line)) for line in (HERE / f"{kind}.jsonl").read_text("ascii").splitlines())


def each(kind: str) -> pytest.MarkDecorator:
    """Run a test once for every case of a class, as its argument `case`."""
    return pytest.mark.parametrize("case", cases(kind), ids=[case.name for case in cases(kind)])


def counted(kind: str, door: str, number: int = 1) -> None:
    """Count cases that went through a door and did no harm; the session prints the sums."""
    TRIED[kind, door] += number


def _case(kind: str, row: dict[str, Any]) -> Case:
    data = base64.b64decode(row["base64"], validate=True) if "base64" in row else None
    more = {key: value for key, value in row.items() if key not in OWN_KEYS}
    return Case(kind, row["name"], row.get("text", ""), data, row.get("times", 1), more)
