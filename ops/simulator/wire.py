"""Reads request bodies the way Ollama's Go decoder does, with its error texts."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import TypeAlias

from ops.simulator.clock import FOREVER, SECOND
from ops.simulator.errors import BadBody, ServerError

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Body: TypeAlias = dict[str, Json]

SHARED = {
    "model": "string", "stream": "bool", "options": "map[string]interface {}", "truncate": "bool", "shift": "bool",
    "logprobs": "bool", "top_logprobs": "int",
}  # fmt: skip
FIELDS: Mapping[str, Mapping[str, str]] = {
    "GenerateRequest": SHARED
    | {"prompt": "string", "suffix": "string", "system": "string", "template": "string", "raw": "bool"},
    "ChatRequest": SHARED | {"messages": "[]api.Message", "tools": "api.Tools"},
    "EmbedRequest": {
        "model": "string", "truncate": "bool", "dimensions": "int", "options": "map[string]interface {}",
    },
    "ShowRequest": {"model": "string", "verbose": "bool"},
    "PullRequest": {"model": "string", "stream": "bool"},
    "DeleteRequest": {"model": "string"},
    "ChatCompletionRequest": {"model": "string", "stream": "bool", "seed": "int", "max_tokens": "int",
                              "temperature": "float64", "messages": "[]openai.Message", "logprobs": "bool",
                              "top_logprobs": "int"},
}  # fmt: skip
INTEGER_OPTIONS = frozenset(
    (
        "num_ctx",
        "num_batch",
        "num_gpu",
        "main_gpu",
        "num_thread",
        "draft_num_predict",
        "num_keep",
        "seed",
        "num_predict",
    )
) | {"top_k", "repeat_last_n"}
FLOAT_OPTIONS = frozenset(
    ("top_p", "min_p", "typical_p", "temperature", "repeat_penalty", "presence_penalty", "frequency_penalty")
)
LOAD_OPTIONS = ("num_ctx", "num_batch", "num_gpu", "main_gpu", "use_mmap", "num_thread", "draft_num_predict")
"""The options that are fixed when a model is loaded: other values force a reload."""

DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
UNITS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": SECOND, "m": 60 * SECOND, "h": 3600 * SECOND}


def read_body(raw: bytes, kind: str) -> Body:
    """Decode a request body and check the types of its known keys.

    Raises:
        BadBody: with the text that Go's decoder gives.
    """
    if not raw.strip():
        raise BadBody("missing request body")
    try:
        text = raw.decode("utf-8", "replace")
        body = json.loads(text)
    except json.JSONDecodeError as error:
        raise BadBody(go_syntax_error(text, error)) from error
    if not isinstance(body, dict):
        raise BadBody(f"json: cannot unmarshal {go_kind(body)} into Go value of type api.{kind}")
    for name, wanted in FIELDS[kind].items():
        check_type(kind, name, wanted, body.get(name))
    return body


def go_syntax_error(text: str, error: json.JSONDecodeError) -> str:
    """Say what Go's decoder says about malformed JSON."""
    rest = text[error.pos :].lstrip()
    if not rest or "Unterminated" in error.msg:
        return "unexpected EOF"
    where = "looking for beginning of value"
    if "delimiter" in error.msg:
        where = "after object key:value pair" if "{" in text[: error.pos] else "after array element"
    elif "property name" in error.msg:
        where = "looking for beginning of object key string"
    return f"invalid character '{rest[0]}' {where}"


def go_kind(value: Json) -> str:
    """Name a JSON value as Go's decoder does."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list) else "object"


def check_type(kind: str, name: str, wanted: str, value: Json) -> None:
    """Refuse a value that does not fit its Go field; null and absent always fit."""
    if value is None:
        return
    found = go_kind(value)
    if isinstance(value, float) and wanted == "int":
        found = f"number {value}"
    expected = {"string": "string", "bool": "bool", "int": "number", "float64": "number"}.get(wanted)
    if expected is None:
        expected = "object" if wanted.startswith("map") else "array"
    if found != expected:
        raise BadBody(f"json: cannot unmarshal {found} into Go struct field {kind}.{name} of type {wanted}")


def read_keep_alive(value: Json) -> int | None:
    """Read `keep_alive` as nanoseconds; None leaves the model's own, a negative time is forever.

    >>> read_keep_alive("1m30s") // SECOND, read_keep_alive(-1) == FOREVER
    (90, True)
    """
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise BadBody(f"Unsupported type: '{go_kind(value)}'")
    if isinstance(value, str):
        return read_duration(value)
    return FOREVER if value < 0 or not math.isfinite(value) else min(round(value * SECOND), FOREVER)


def read_duration(text: str) -> int:
    """Read a Go duration such as `5m` or `1h30m` as nanoseconds; a negative one is forever."""
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text.removeprefix("+"))
    if digits == "0":
        return 0
    total, position = 0.0, 0
    for match in DURATION.finditer(digits):
        if match.start() != position:
            break
        total += float(match[1]) * UNITS[match[2]]
        position = match.end()
    if not digits or position != len(digits):
        raise BadBody(duration_error(text, digits[position:]))
    return FOREVER if sign < 0 else min(round(total), FOREVER)


def duration_error(text: str, rest: str) -> str:
    """Say what Go says about a duration it cannot read."""
    number = re.match(r"\d+\.?\d*", rest)
    if number is None:
        return f'time: invalid duration "{text}"'
    unit = re.match(r"[^\d.]+", rest[number.end() :])
    return (
        f'time: unknown unit "{unit[0]}" in duration "{text}"' if unit else f'time: missing unit in duration "{text}"'
    )


def read_options(body: Body) -> Body:
    """Take the options, unknown ones left out.

    Raises:
        ServerError: 500, a known option has the wrong type.
    """
    found = body.get("options")
    options: Body = {}
    for name, value in found.items() if isinstance(found, dict) else ():
        wanted = option_type(name)
        if not wanted or value is None:
            continue
        if not option_fits(wanted, value):
            raise ServerError(500, f'option "{name}" must be of type {wanted}')
        options[name] = int(value) if wanted == "integer" and isinstance(value, float) else value
    return options


def option_type(name: str) -> str:
    """Name the type of a known option; empty for an unknown one."""
    if name in INTEGER_OPTIONS:
        return "integer"
    if name in FLOAT_OPTIONS:
        return "float32"
    return {"stop": "array", "use_mmap": "boolean"}.get(name, "")


def option_fits(wanted: str, value: Json) -> bool:
    """Tell whether *value* can be an option of type *wanted*."""
    if wanted == "array":
        return isinstance(value, list)
    if wanted == "boolean":
        return isinstance(value, bool)
    return isinstance(value, int | float) and not isinstance(value, bool)


def read_format(value: Json) -> tuple[str, bool]:
    """Read `format` as canonical schema text and whether any JSON is wanted.

    Raises:
        ServerError: 500, a string other than `json`.
    """
    if value is None or value == "":
        return "", False
    if isinstance(value, dict):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False), True
    if value == "json":
        return "", True
    text = json.dumps(json.dumps(value))[1:-1]
    raise ServerError(500, f'invalid format: "{text}"; expected "json" or a valid JSON Schema object')


def text_of(body: Body, name: str) -> str:
    """Take a text field; absent and null are empty."""
    value = body.get(name)
    return value if isinstance(value, str) else ""


def integer_of(body: Body, name: str, default: int) -> int:
    """Take an integer field or option."""
    value = body.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def number_of(body: Body, name: str, default: float) -> float:
    """Take a number field or option."""
    value = body.get(name)
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) else default
