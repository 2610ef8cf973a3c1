"""What a setting is: a default with its unit, its source and its status; and settings as plain data."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field, fields, is_dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any, TypeVar, cast, get_type_hints

LoadOptions = tuple[tuple[str, int], ...]
"""Load options of a model, name and value, as Ollama names them; `true` and `false` are integers too."""

LOAD_OPTIONS: dict[str, type[int]] = {
    "num_ctx": int, "num_batch": int, "num_gpu": int, "main_gpu": int, "use_mmap": bool, "num_thread": int,
    "draft_num_predict": int,
}  # fmt: skip
"""The options that Ollama fixes when it loads a model: another value makes it load the model anew."""


class Status(StrEnum):
    """How far a default can be trusted."""

    MEASURED = "measured"
    PUBLISHED = "published"
    ARBITRARY = "arbitrary"


@dataclass(frozen=True, slots=True)
class About:
    """What a person should know of one setting."""

    what: str
    unit: str
    source: str
    status: Status
    low: float | None = None
    high: float | None = None
    choices: tuple[str, ...] = ()


def setting(
    default: Any,
    what: str,
    *,
    unit: str = "",
    source: str = "ours",
    status: Status = Status.ARBITRARY,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    """Declare a dataclass field with what a person should know of it; *choices* are the only texts it may be."""
    return field(default=default, metadata={"about": About(what, unit, source, status, low, high, choices)})


S = TypeVar("S")


def to_data(value: Any) -> Any:
    """Turn a dataclass into plain JSON data, nested ones and tuples included."""
    if is_dataclass(value) and not isinstance(value, type):
        return {f.name: to_data(getattr(value, f.name)) for f in fields(value)}
    if isinstance(value, tuple | list):
        return [to_data(item) for item in value]
    return value


def from_data(kind: type[S], data: dict[str, Any]) -> S:
    """Rebuild a dataclass of *kind* from `to_data`'s result.

    Unknown names are passed over and missing ones get their default, so that a run started under one release ends under
    the next. A kind whose names have changed reads the older ones by its `of_older`.
    """
    hints = _hints(cast("Hashable", kind))
    data = getattr(kind, "of_older", dict)(data)
    given: dict[str, Any] = {}
    for f in fields(cast("Any", kind)):
        if f.name not in data:
            continue
        hint, value = hints[f.name], data[f.name]
        if is_dataclass(hint) and isinstance(value, dict):
            value = from_data(cast("type[Any]", hint), value)
        elif isinstance(hint, type) and issubclass(hint, StrEnum):
            value = hint(value)
        elif isinstance(value, list):
            value = tuple(tuple(item) if isinstance(item, list) else item for item in value)
        given[f.name] = value
    return kind(**given)


@lru_cache(maxsize=256)
def _hints(kind: Hashable) -> dict[str, Any]:
    """Read a dataclass's types once: it costs more than reading a value."""
    return get_type_hints(kind)
