"""The built-in scorers: how good one answer is in [0, 1], and what was lost, in words from a closed set.

`value >= 0.5` means correct for `file-naming`, `value >= 0.8` for `set-f1`, and 1 for `json-schema` and `exact`. No
reason repeats text of the answer, so reasons can be counted, logged and shown to a model.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from pipeline.algorithms.similarity import overlap, stem
from pipeline.errors import BadInput
from pipeline.flow import Scored
from pipeline.skills import SkillSpec

MAX_CHARS = 65_536  # of an answer; what follows is not looked at
NAME_CORRECT = 0.5  # stem F1 from which a file name counts as correct; 230 names given by people
SET_CORRECT = 0.8  # F1 from which a list counts as correct; ours
MAX_NAME_CHARS = 60  # of a file name with its extension; the file-naming skill's own rule
_FORMAT_COST = 0.05  # value lost per broken format rule; never enough to make a correct name incorrect
_EXTENSION_FACTOR = 0.45  # on the value when the extension is not kept: always below NAME_CORRECT
_INVALID_FACTOR = 0.5  # on the value of JSON that parses but breaks its schema
_MAX_PROSE_WORDS = 8  # a line of more words and no extension is a sentence, not a name
_MAX_LINE = 1000  # characters of a first line that are looked at; no file system takes a longer name
_MAX_REASONS = 8  # of one answer
_OUTSIDE = ("python:", "command:")

_FUNCTION_WORD = re.compile(
    r"an?|the|of|in|on|at|to|for|from|with|by|and|or|that|this|these|those|is|are|was|were|be|been|its?|as|into"
)
_GENERIC = re.compile(
    r"images?|img|photos?|pictures?|pics?|untitled|document|doc|file|screenshot|screen|shot|scan|new|unnamed|\d+"
)
_CHATTER = re.compile(
    r"\b(?:sure|certainly|here(?:['\u2019]s| is| are)|file ?name|name:|i would|i['\u2019](?:d|m)|i am|let me|would be|could be|"
    r"suggest\w*|sorry|please|because|as requested|as an ai)\b|:\s",
    re.IGNORECASE,
)
_EXTENSION = re.compile(r"\.((?=[0-9]*[A-Za-z])[A-Za-z0-9]{1,5})$")
_EMBEDDED = re.compile(r"[^\s\"'`*()<>:,]{1,200}\.(?=[0-9]{0,4}[A-Za-z])[A-Za-z0-9]{1,5}(?![\w.-])")
_UNSAFE = re.compile(r"[/\\\x00-\x1f\x7f\ud800-\udfff]|^\.")
_KEBAB = re.compile(r"[^\W_]+(?:-[^\W_]+)*")
_HUMP = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_WORD = re.compile(r"[^\W_]+")
_VERSION = re.compile(r"(?<![a-z])(?:v|ver|version|rev|draft)[-_ ]?(\d{1,4})(?!\d)")
_TYPES: dict[str, type | tuple[type, ...]] = {
    "object": dict, "array": list, "string": str, "boolean": bool, "null": type(None), "number": (int, float)
}  # fmt: skip
_FENCE = re.compile(r"\s*```[A-Za-z0-9]*[ \t]*\n(.*?)(?:\n[ \t]*```|\Z)", re.DOTALL)
_BULLET = re.compile(r"^\s*(?:[-*+\u2022]|\(?\d{1,3}[.):])\s+(?:\[[ xX]\]\s+)?")


def score(spec: SkillSpec, output: str, expected: str, fields: dict[str, str]) -> Scored:
    """Score *output* by the skill's built-in scorer.

    Args:
        spec: names the scorer, and the schema for `json-schema`.
        output: the model's answer, however long or malformed.
        expected: the accepted answer; empty where only the form can be checked.
        fields: the sample's input; `file-naming` reads `original_name` for the extension.

    Raises:
        BadInput: the scorer is not a built-in one, or the schema is no JSON object.
    """
    scorer = _SCORERS.get(spec.scorer)
    if scorer is None:
        raise BadInput(f"{spec.scorer[:80]!r} is no built-in scorer.", hint=f"Use one of: {', '.join(_SCORERS)}.")
    return scorer(spec, output[:MAX_CHARS], expected[:MAX_CHARS], fields)


def is_correct(spec: SkillSpec, scored: Scored) -> bool:
    """Tell whether a scored answer counts as right; outside scorers count from 0.5."""
    marks = {"set-f1": SET_CORRECT, "json-schema": 1.0, "exact": 1.0}
    return scored.value >= marks.get(spec.scorer, NAME_CORRECT)


def needs_outside(spec: SkillSpec) -> bool:
    """Tell whether the skill is scored by its own callable or command instead."""
    return spec.scorer.startswith(_OUTSIDE)


def _file_naming(_: SkillSpec, output: str, expected: str, fields: dict[str, str]) -> Scored:
    line, chatter = _first_line(output)
    found = _EMBEDDED.findall(line) if chatter else [line]
    if not found:
        return Scored(value=0.0, lost=("chatter",))
    name = found[0]
    root, extension = _parts(name)
    words = _stems(root)
    if not words or _UNSAFE.search(name) or (not extension and len(line.split()) > _MAX_PROSE_WORDS):
        return Scored(value=0.0, lost=(*(("chatter",) if chatter else ()), "not-a-name"))
    original, accepted = fields.get("original_name", "")[:MAX_CHARS], expected.strip()
    kept = extension == (_parts(original)[1] or _parts(accepted)[1] or extension)
    broken = [*(["chatter"] if chatter else []), *_broken_rules(name, root, accepted or original)]
    lost = [*([] if kept else ["extension"]), *broken]
    if not accepted:
        return Scored(value=0.0 if lost else 1.0, lost=tuple(lost))
    precision, recall, f1 = overlap(words, _stems(_parts(accepted)[0]))
    lost += [
        *(["missing-words"] if recall < NAME_CORRECT else []),
        *(["extra-words"] if precision < NAME_CORRECT else []),
    ]
    value = max(min(f1, NAME_CORRECT), f1 - _FORMAT_COST * len(broken))
    return Scored(value=value if kept else value * _EXTENSION_FACTOR, lost=tuple(lost))


def _first_line(output: str) -> tuple[str, bool]:
    """Return the first line that says something, without quotes and full stop, and whether there is chatter around."""
    lines = [line.strip() for line in output.splitlines()]
    lines = [line for line in lines if line and not line.startswith("```")]
    if not lines:
        return "", False
    line = lines[0][:_MAX_LINE].strip("\"'`*\u201c\u201d\u2018\u2019 ").rstrip(".").rstrip("\"'`*\u201d ")
    embedded = " " in line and _EMBEDDED.search(line)
    talk = " " in line and (_CHATTER.search(line) or (embedded and embedded.end() < len(line)))
    return line, bool(talk) or len(lines) > 1


def _broken_rules(name: str, root: str, model: str) -> Iterator[str]:
    """Yield the format rules that *name* breaks; *model* is the name whose version marker must survive."""
    words = _WORD.findall(_HUMP.sub(" ", root).lower())
    if root != root.lower():
        yield "case"
    if not _KEBAB.fullmatch(root):
        yield "separator"
    if all(_GENERIC.fullmatch(word) for word in words):
        yield "generic"
    elif len(words) == 1:
        yield "too-short"
    if len(name) > MAX_NAME_CHARS:
        yield "too-long"
    if not set(_VERSION.findall(model.lower())) <= set(_VERSION.findall(root.lower())):
        yield "version-lost"


def _parts(name: str) -> tuple[str, str]:
    """Split a file name into root and lower-case extension; the latter is empty where there is none."""
    match = _EXTENSION.search(name.strip())
    return (name.strip()[: match.start()], match[1].lower()) if match else (name.strip(), "")


def _stems(root: str) -> set[str]:
    """Return the stems of a name's words, without function words unless it has no others."""
    words = _WORD.findall(_HUMP.sub(" ", root).lower())
    return {stem(word) for word in [word for word in words if not _FUNCTION_WORD.fullmatch(word)] or words}


def _json_schema(spec: SkillSpec, output: str, expected: str, _: dict[str, str]) -> Scored:
    schema = _schema(spec)
    try:
        value = _read_json(output)
        broken = list(dict.fromkeys(violations(value, schema)))
        share, wrong = _compare(value, expected)
    except (ValueError, RecursionError):  # RecursionError: nested deeper than any answer that is meant
        return Scored(value=0.0, lost=("not-json",))
    lost = [*(f"schema:{path}"[:80] for path in broken), *(f"value:{key}"[:80] for key in wrong)]
    return Scored(value=share * _INVALID_FACTOR if broken else share, lost=tuple(lost[:_MAX_REASONS]))


def _schema(spec: SkillSpec) -> dict[str, Any]:
    try:
        schema = json.loads(spec.schema or "{}")
    except ValueError:
        schema = None
    if not isinstance(schema, dict):
        raise BadInput(f"The schema of {spec.name} is no JSON object.", hint="Correct `schema` in the skill's entry.")
    return schema


def _read_json(text: str) -> Any:
    """Parse JSON, in a code fence or not; NaN and infinities are no JSON."""
    fenced = _FENCE.match(text)
    return json.loads(fenced[1] if fenced else text, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"not a finite number: {text[:20]}")
    return number


def _compare(value: Any, expected: str) -> tuple[float, list[str]]:
    """Return the share of the expected object's fields that *value* has right, and the keys it has not."""
    if not expected.strip():
        return 1.0, []
    try:
        wanted = _read_json(expected)
    except (ValueError, RecursionError):
        return 0.0, ["$"]
    if not isinstance(wanted, dict):
        return (1.0, []) if _same(value, wanted) else (0.0, ["$"])
    found = value if isinstance(value, dict) else {}
    wrong = [key for key, want in wanted.items() if key not in found or not _same(found[key], want)]
    return (1 - len(wrong) / len(wanted) if wanted else float(found == wanted)), wrong


def violations(value: Any, schema: Any, path: str = "$") -> Iterator[str]:
    """Yield the path of each part of *value* that breaks *schema*, in the schema's words; `[]` stands for any index.

    Understood: type, enum, const, properties, required, additionalProperties, items, and least and most value, length
    and number of items. Other keywords are passed over: Ollama's `format` has enforced them already, or nobody has.
    """
    if not isinstance(schema, dict):
        yield from [path] if schema is False else []
        return
    types = [schema["type"]] if isinstance(schema.get("type"), str) else schema.get("type", [])
    options = [schema["const"]] if "const" in schema else schema.get("enum", [value])
    if (types and not any(_is_a(value, kind) for kind in types)) or not any(_same(value, option) for option in options):
        yield path
        return
    if not _within(value, schema):
        yield path
    if isinstance(value, list):
        for item in value:
            yield from violations(item, schema.get("items", True), f"{path}[]")
    if isinstance(value, dict):
        yield from _in_fields(value, schema, path)


def _in_fields(value: dict[str, Any], schema: dict[str, Any], path: str) -> Iterator[str]:
    known, required = schema.get("properties", {}), schema.get("required", [])
    for key in {**known, **dict.fromkeys(required)}:
        if key in value:
            yield from violations(value[key], known.get(key, True), f"{path}.{key}")
        elif key in required:
            yield f"{path}.{key}"
    for key, item in value.items():
        if key not in known and key not in required:
            yield from violations(item, schema.get("additionalProperties", True), f"{path}.*")


def _is_a(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, _TYPES.get(kind, ()))


def _within(value: Any, schema: dict[str, Any]) -> bool:
    kind = "Items" if isinstance(value, list) else "Length" if isinstance(value, str) else "imum"
    if kind == "imum" and not _is_a(value, "number"):
        return True
    size = value if kind == "imum" else len(value)
    return bool(schema.get(f"min{kind}", -math.inf) <= size <= schema.get(f"max{kind}", math.inf))


def _same(one: Any, other: Any) -> bool:
    """Compare JSON values; true is not 1, and white space around text does not count."""
    if isinstance(one, str) and isinstance(other, str):
        return one.split() == other.split()
    return isinstance(one, bool) == isinstance(other, bool) and bool(one == other)


def _set_f1(_: SkillSpec, output: str, expected: str, _fields: dict[str, str]) -> Scored:
    found, wanted = _items(output), _items(expected)
    f1 = overlap(found, wanted)[2]
    lost = [
        *(["empty"] if wanted and not found else []),
        *(["missing-item"] if wanted - found else []),
        *(["extra-item"] if found - wanted else []),
    ]
    return Scored(value=f1, lost=tuple(lost))


def _items(text: str) -> set[str]:
    """Return a list's items, from JSON or lines, without bullets, numbers, case and closing punctuation."""
    fenced = _FENCE.match(text)
    body = fenced[1] if fenced else text
    lines = body.splitlines()
    if body.lstrip().startswith("["):
        with suppress(ValueError, RecursionError):
            lines = [item if isinstance(item, str) else json.dumps(item) for item in _read_json(body)]
    plain = (" ".join(_BULLET.sub("", line).casefold().split()).rstrip(".,;:!") for line in lines)
    return {line for line in plain if line}


def _exact(_: SkillSpec, output: str, expected: str, _fields: dict[str, str]) -> Scored:
    if output.split() == expected.split():
        return Scored(value=1.0)
    return Scored(value=0.0, lost=("different",))


_SCORERS: dict[str, Callable[[SkillSpec, str, str, dict[str, str]], Scored]] = {
    "file-naming": _file_naming,
    "json-schema": _json_schema,
    "set-f1": _set_f1,
    "exact": _exact,
}
