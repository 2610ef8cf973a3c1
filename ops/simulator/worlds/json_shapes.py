"""Fills JSON schemas: a value for every property, in the schema's own order, within its bounds."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

Json: TypeAlias = "bool | int | float | str | list[Json] | dict[str, Json] | None"
Leaf: TypeAlias = Callable[[str, str], "Json"]
"""Gives a value for a property's path and type (`string`, `integer`, `number`, `boolean`, `array`, `choice`: a number of an option)."""

DEPTH = 8  # levels of nesting after which a schema is cut off


def filled(schema: Json, leaf: Leaf, path: str = "", depth: int = 0) -> Json:
    """Build a value that fits *schema*; *leaf* chooses within the bounds."""
    if not isinstance(schema, dict) or depth > DEPTH:
        return None
    fixed = schema.get("enum", [schema["const"]] if "const" in schema else None)
    if isinstance(fixed, list) and fixed:
        picked = leaf(path, "choice")
        return fixed[picked % len(fixed) if isinstance(picked, int) else 0]
    for word in ("anyOf", "oneOf", "allOf"):
        branches = schema.get(word)
        if isinstance(branches, list) and branches:
            return filled(branches[0], leaf, path, depth + 1)
    kind = schema.get("type")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    properties = schema.get("properties")
    if kind == "object" or isinstance(properties, dict):
        rows = properties.items() if isinstance(properties, dict) else ()
        return {name: filled(part, leaf, f"{path}.{name}".lstrip("."), depth + 1) for name, part in rows}
    if kind == "array":
        return array(schema, leaf, path, depth)
    return bounded(schema, leaf(path, str(kind)))


def array(schema: dict[str, Json], leaf: Leaf, path: str, depth: int) -> Json:
    """Build a list: what *leaf* gives when the items are texts, else one item."""
    items = schema.get("items")
    if isinstance(items, dict) and items.get("type") == "string" and "enum" not in items:
        found = leaf(path, "array")
        if isinstance(found, list):
            most = schema.get("maxItems")
            return found[:most] if isinstance(most, int) else found
    return [filled(items, leaf, f"{path}[]", depth + 1)]


def bounded(schema: dict[str, Json], value: Json) -> Json:
    """Bring a number or a text into the schema's bounds."""
    if isinstance(value, str):
        most = schema.get("maxLength")
        return value[:most] if isinstance(most, int) else value
    if isinstance(value, bool) or not isinstance(value, int | float):
        return value
    low, high = schema.get("minimum"), schema.get("maximum")
    if isinstance(low, int | float):
        value = max(value, low)
    if isinstance(high, int | float):
        value = min(value, high)
    return value
