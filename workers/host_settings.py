"""Read `prompt_evolution:`, the section of the host's configuration that overrides our settings."""

from __future__ import annotations

import math
from dataclasses import Field, fields, is_dataclass
from difflib import get_close_matches
from typing import Any, cast, get_type_hints

from pipeline.setting import LOAD_OPTIONS, About, LoadOptions
from pipeline.settings import Settings
from workers.yaml_tree import NULL, Document, Entry, plain

SECTION = "prompt_evolution"
KINDS = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}
OTHER_NAMES = {  # what these settings are called in older notes
    "trigger": "triggers",
    "skill_accuracy_threshold": "triggers.accuracy_threshold",
    "feedback_sample_size": "triggers.sample_size",
    "evolution_cooldown_hours": "triggers.cooldown_h",
    "cooldown_hours": "triggers.cooldown_h",
    "ab_testing": "voting",
    "votes_required": "voting.max_votes",
    "max_duration_days": "voting.max_days",
    "smollm2": "models",
    "context_window": "models.generator_num_ctx",
    "variants_per_evolution": "search.variants",
    "learning": "promotion",
    "min_accuracy_improvement": "promotion",
} | {name: f"foreground.options, as {{{name}: ...}}" for name in ("num_ctx", "num_batch", "num_gpu", "num_thread")}


def read_settings(document: Document, section: Entry | None, lines: dict[str, int]) -> Settings:
    """Build the settings from their section; *lines* receives the line of every value that is given.

    Raises:
        ConfigError: a key is unknown, or a value has the wrong type or is out of range.
    """
    if section is None:
        return Settings()
    return cast("Settings", _read(document, section, Settings, "", lines))


def closest(word: str, words: list[str], cutoff: float = 0.6) -> str:
    """Return the word of *words* that *word* was probably meant to be, or nothing.

    >>> closest("acuracy", ["accuracy", "sample_size"])
    'accuracy'
    """
    return next(iter(get_close_matches(word, words, 1, cutoff)), "")


def _read(document: Document, entry: Entry, kind: type[Any], prefix: str, lines: dict[str, int]) -> Any:
    name = f"{SECTION}.{prefix}".rstrip(".")
    hints, known = get_type_hints(kind), {f.name: f for f in fields(kind)}
    given: dict[str, Any] = {}
    for item in document.entries(entry.value, name):
        if item.name not in known:
            hint = _meant(item.name, list(known), prefix)
            raise document.error(item.key, f"{name} has no setting '{plain(item.name)}'.", hint=hint)
        hint_type = hints[item.name]
        if is_dataclass(hint_type):
            given[item.name] = _read(document, item, cast("type[Any]", hint_type), f"{item.name}.", lines)
        else:
            reads = _load_options if hint_type == LoadOptions | None else _value
            given[item.name] = reads(document, item, hint_type, known[item.name], f"{name}.{item.name}")
            lines[f"{prefix}{item.name}"] = document.line(item.key)
    return kind(**given)


def _load_options(document: Document, entry: Entry, _kind: Any, _about: Field[Any], name: str) -> LoadOptions | None:
    """Read what the host sends for its own model; an empty mapping says that it sends nothing, no value says nothing."""
    example = "Write {} when your application sends none, else the same ones, as {num_ctx: 4096}."
    if entry.value.tag == NULL:
        return None
    given: list[tuple[str, int]] = []
    for item in document.entries(entry.value, name):
        kind = LOAD_OPTIONS.get(item.name)
        if kind is None:
            hint = f"Known here: {', '.join(LOAD_OPTIONS)}. Others do not load the model anew, and may be left out."
            raise document.error(item.key, f"{name} has no load option '{plain(item.name)}'.", hint=hint)
        value = document.scalar(item, f"{name}.{item.name}")
        if type(value) is not kind or (item.name == "num_ctx" and value < 1):
            raise document.error(item.key, f"{name}.{item.name} must be {KINDS[kind]}.", hint=example)
        given.append((item.name, value))
    return tuple(given)


def _value(document: Document, entry: Entry, kind: type[Any], about: Field[Any], name: str) -> Any:
    value = document.scalar(entry, name)
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        value = _as_float(value)
    if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
        hint = f"The default is {_shown(about.default)}. Remove the line to use it."
        raise document.error(entry.key, f"{name} must be {KINDS[kind]}.", hint=hint)
    limits = cast("About", about.metadata["about"])
    if limits.choices and value not in limits.choices:
        near = closest(value, list(limits.choices))
        hint = f"Did you mean '{near}'?" if near else f"Write {' or '.join(limits.choices)}."
        raise document.error(entry.key, f"{name} must be one of: {', '.join(limits.choices)}.", hint=hint)
    low, high = limits.low, limits.high
    if (low is not None and value < low) or (high is not None and value > high):
        between = f"at least {low:g}" if high is None else f"between {low:g} and {high:g}"
        hint = f"The default is {_shown(about.default)}."
        raise document.error(entry.key, f"{name} must be {between}{_unit(limits)}.", hint=hint)
    return value


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def _unit(about: About) -> str:
    return f" ({about.unit})" if about.unit else ""


def _shown(default: Any) -> str:
    return str(default).lower() if isinstance(default, bool) else f"{default}"


def _meant(name: str, known: list[str], prefix: str) -> str:
    here, everywhere = closest(name, known), _places()
    place = OTHER_NAMES.get(name) or everywhere.get(name) or (f"{prefix}{here}" if here else "")
    place = place or everywhere.get(closest(name, list(everywhere), 0.8), "")
    return f"Did you mean {SECTION}.{place}?" if place else f"Known here: {', '.join(known)}."


def _places() -> dict[str, str]:
    """Map the name of every setting to its place; a name that two sections share maps to one of them."""
    kinds = {name: kind for name, kind in get_type_hints(Settings).items() if is_dataclass(kind)}
    return {f.name: f"{section}.{f.name}" for section, kind in kinds.items() for f in fields(kind)}
