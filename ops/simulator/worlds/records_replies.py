"""Puts a new instruction into the form that a request asks for, and spoils that form in the ways small models do."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ops.simulator.worlds.draws import between
from ops.simulator.worlds.records_requests import Request

RECORD = "order=10442; date=2026-05-03; qty=4 kg; lang=de"  # an answer to the task where an instruction was wanted
THOUGHT = "The parts that went wrong need a rule each."
MODULE = "self"  # the name that DSPy gives to the only module of a program


def formed(text: str, request: Request) -> str:
    """Write *text* as the request asks for it."""
    if request.form == "code":
        return f"```\n{text}\n```"
    if request.form == "tags":
        return f"<prompt>{text}</prompt>"
    if request.form == "sections":
        sections = [f"[[ ## {name} ## ]]\n{written(value)}" for name, value in values_of(text, request).items()]
        return "\n\n".join([*sections, "[[ ## completed ## ]]"])
    if request.form == "json":
        return json.dumps(values_of(text, request), ensure_ascii=False)
    return text


def values_of(text: str, request: Request) -> dict[str, object]:
    """Fill the wanted names: advice by module, the instruction where one is meant, a remark elsewhere."""
    names = request.names or keys_of(request.schema) or ("instruction",)
    values: dict[str, object] = {}
    for name in names:
        if name == "module_advice":
            values[name] = {MODULE: text}
        elif "prefix" in name:
            values[name] = "Record:"
        else:
            values[name] = (
                THOUGHT if any(word in name for word in ("discussion", "reason", "thought", "analysis")) else text
            )
    return values


def keys_of(schema: str) -> tuple[str, ...]:
    """Name the properties of a JSON schema, in its order."""
    value = json.loads(schema) if schema else {}
    found = value.get("properties") if isinstance(value, Mapping) else None
    return tuple(found) if isinstance(found, Mapping) else ()


def written(value: object) -> str:
    """Write one value of a section."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def malformed(text: str, request: Request, key: tuple[object, ...]) -> str:
    """Spoil a reply: talk around it, no marks, cut off, empty, or an answer in place of an instruction."""
    kind = between(0, 4, "malformed", *key)
    good = formed(text, request)
    if kind == 0:
        return f"Sure! Here is the improved instruction:\n\n{good}\n\nLet me know if you would like any changes!"
    if kind == 1:
        return f"The new instruction is: {text}"
    if kind == 2:  # noqa: PLR2004 - one of five kinds
        return good[: max(len(good) * 2 // 3, 10)]
    return "" if kind == 3 else RECORD  # noqa: PLR2004 - same
