"""Read `skills:`, the section of the host's configuration that names prompts, models and scorers."""

from __future__ import annotations

import json
import math
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from pipeline.domain import LabelSource, SkillName
from pipeline.errors import BadInput, ConfigError
from pipeline.skills import SkillSpec, check_name, parse_template
from workers.host_settings import KINDS, closest
from workers.host_templates import read_beside, read_template
from workers.yaml_tree import Document, Entry, plain

OURS = (  # every key of an entry that we read or write; all others are the host's
    *("prompt_template", "prompt_version", "model", "scorer", "about", "description", "enabled", "poor_candidate"),
    *("schema", "num_predict", "temperature", "labels", "evolved_at", "previous_accuracy", "current_accuracy"),
)
SCORERS = ("file-naming", "json-schema", "set-f1", "exact")
OUTSIDE_SCORER = re.compile(r"python:[A-Za-z_][\w.]*:[A-Za-z_]\w*|command:\s*\S.*")
POOR = "its rules are fixed; a wrong answer asks for a better model, not for another prompt"
POOR_BY_DEFAULT = ("code-linting-fast",)
NEAR_MISS = 0.88  # similarity above which a key of the host's is taken for a misspelt key of ours
DEFAULTS = {f.name: f.default for f in fields(SkillSpec)}
MAX_VERSION, MAX_TOKENS, MAX_TEMPERATURE = 1_000_000, 8192, 2.0


def read_skills(
    document: Document, section: Entry | None, path: Path, lines: dict[str, int]
) -> tuple[dict[SkillName, SkillSpec], tuple[str, ...]]:
    """Read every skill with a prompt, and the names of the entries without one, which are the host's own.

    *lines* receives the line of every key of ours.

    Raises:
        ConfigError: an entry, its template or its schema cannot be used.
    """
    skills: dict[SkillName, SkillSpec] = {}
    passed_over: list[str] = []
    for item in document.entries(section.value, "skills") if section else ():
        entry = _Skill(document, item, path, lines)
        if entry.has_prompt():
            spec = entry.read()
            skills[spec.name] = spec
        else:
            passed_over.append(item.name)
    return skills, tuple(passed_over)


class _Skill:
    """One entry of `skills:` on its way to a value."""

    def __init__(self, document: Document, item: Entry, path: Path, lines: dict[str, int]) -> None:
        self.document, self.item, self.path = document, item, path
        self.where = f"skills.{plain(item.name)}"
        self.keys = {entry.name: entry for entry in document.entries(item.value, self.where)}
        self._refuse_near_misses()
        lines |= {f"skills.{item.name}": document.line(item.key)}
        lines |= {f"skills.{item.name}.{k}": document.line(e.key) for k, e in self.keys.items() if k in OURS}

    def has_prompt(self) -> bool:
        """Tell whether the entry names a template; one that only has other keys of ours is a mistake."""
        if "prompt_template" not in self.keys and "prompt_version" in self.keys:
            hint = f"Add the line 'prompt_template: skills/{plain(self.item.name)}.md'."
            raise self._error(self.item, f"{self.where} has no prompt_template.", hint=hint)
        return "prompt_template" in self.keys

    def read(self) -> SkillSpec:
        """Check the entry and its files."""
        about = "about" if "about" in self.keys else "description"
        spec = SkillSpec(
            name=self._name(),
            template=self._template(),
            version=self._number("prompt_version", int, DEFAULTS["version"], 1, MAX_VERSION),
            task_model=self._text("model", DEFAULTS["task_model"]),
            scorer=self._scorer(),
            about=self._text(about, "", empty=True).strip(),
            enabled=self._value("enabled", bool, DEFAULTS["enabled"]),
            poor_candidate=self._poor(),
            schema=self._schema(),
            num_predict=self._number("num_predict", int, DEFAULTS["num_predict"], 1, MAX_TOKENS),
            temperature=self._number("temperature", float, DEFAULTS["temperature"], 0, MAX_TEMPERATURE),
            labels=self._labels(),
        )
        if spec.scorer == "json-schema" and not spec.schema:
            hint = f"Add 'schema: skills/{spec.name}.schema.json', or choose another scorer."
            raise self._error(self.keys["scorer"], f"{self.where} has the scorer json-schema but no schema.", hint=hint)
        return spec

    def _refuse_near_misses(self) -> None:
        missing = [name for name in OURS if name not in self.keys]
        for name, entry in self.keys.items():
            meant = closest(name, missing, NEAR_MISS) if name not in OURS else ""
            if meant:
                what = f"{self.where} has no setting '{plain(name)}'."
                raise self._error(entry, what, hint=f"Did you mean '{meant}'?")

    def _name(self) -> SkillName:
        try:
            return check_name(self.item.name)
        except BadInput as error:
            raise self._error(self.item, error.what, why=error.why) from error

    def _template(self) -> str:
        relative, entry = self._text("prompt_template", ""), self.keys["prompt_template"]
        try:
            parse_template(read_template(self.path, relative))
        except BadInput as error:
            what = f"The prompt template {plain(relative)} of {self.where} cannot be used."
            raise self._error(entry, what, why=error.what, hint=error.hint) from error
        except ConfigError as error:
            what = f"The prompt template {plain(relative)} of {self.where} cannot be used."
            raise self._error(entry, what, why=f"{error.what} {error.why}".strip(), hint=error.hint) from error
        return relative

    def _scorer(self) -> str:
        scorer = self._text("scorer", DEFAULTS["scorer"])
        if scorer in SCORERS or OUTSIDE_SCORER.fullmatch(scorer):
            return scorer
        near = closest(scorer, list(SCORERS))
        hint = f"Did you mean '{near}'?" if near else f"Use {', '.join(SCORERS)}, python:module:function or command:..."
        raise self._error(self.keys["scorer"], f"{self.where} has an unknown scorer '{plain(scorer)}'.", hint=hint)

    def _labels(self) -> tuple[str, ...]:
        entry = self.keys.get("labels")
        if entry is None:
            return tuple(LabelSource)
        data = self.document.data(entry, f"{self.where}.labels")
        if not isinstance(data, list) or not data or any(source not in tuple(LabelSource) for source in data):
            hint = f"Write a list of {', '.join(LabelSource)}."
            raise self._error(entry, f"{self.where}.labels must say whose verdicts count.", hint=hint)
        return tuple(data)

    def _poor(self) -> str:
        entry = self.keys.get("poor_candidate")
        if entry is None:
            return POOR if self.item.name in POOR_BY_DEFAULT else ""
        value = self.document.scalar(entry, f"{self.where}.poor_candidate")
        if not isinstance(value, bool | str):
            raise self._error(entry, f"{self.where}.poor_candidate must be true, false or the reason in words.")
        return (POOR if value else "") if isinstance(value, bool) else value.strip()

    def _schema(self) -> str:
        """Return the schema as one line of JSON; its order stays, because a model writes the keys in that order."""
        entry = self.keys.get("schema")
        if entry is None:
            return ""
        name = f"{self.where}.schema"
        data = self.document.data(entry, name)
        try:
            if isinstance(data, str):
                data = json.loads(read_beside(self.path, data, ".json"), parse_constant=_refuse_constant)
            text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        except ConfigError as error:
            raise self._error(entry, f"{name} cannot be used.", why=str(error)) from error
        except (ValueError, TypeError, RecursionError) as error:
            why = f"It is not plain JSON: {plain(str(error))}."
            raise self._error(entry, f"{name} cannot be used.", why=why) from error
        if not isinstance(data, dict):
            raise self._error(entry, f"{name} must be a JSON schema, or the path of a .json file with one.")
        return text

    def _number(self, key: str, kind: type[Any], default: Any, low: float, high: float) -> Any:
        value = self._value(key, kind, default)
        if not low <= value <= high:
            raise self._error(self.keys[key], f"{self.where}.{key} must be between {low:g} and {high:g}.")
        return value

    def _text(self, key: str, default: Any, *, empty: bool = False) -> str:
        value = str(self._value(key, str, default))
        if not empty and (not value or not value.isprintable()):
            raise self._error(self.keys[key], f"{self.where}.{key} must be one line of text.")
        return value

    def _value(self, key: str, kind: type[Any], default: Any) -> Any:
        entry = self.keys.get(key)
        if entry is None:
            return default
        value = self.document.scalar(entry, f"{self.where}.{key}")
        if kind is float and type(value) is int and abs(value) <= MAX_VERSION:
            value = float(value)
        if type(value) is not kind or (isinstance(value, float) and not math.isfinite(value)):
            raise self._error(entry, f"{self.where}.{key} must be {KINDS[kind]}.")
        return value

    def _error(self, entry: Entry, what: str, *, why: str = "", hint: str = "") -> ConfigError:
        return self.document.error(entry.key, what, why=why, hint=hint)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number")
