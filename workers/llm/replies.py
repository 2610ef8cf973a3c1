"""JSON that a server sent: the one place where it is read."""

from __future__ import annotations

import json
from typing import Any

DEEPEST = 64  # lists and objects within one another; the deepest honest reply, a tool's schema, has a dozen


def parsed(data: bytes | str) -> Any:
    """Read JSON, also of a server that means harm.

    Raises:
        ValueError: it is none, or it is nested so deeply that whoever walks through it might not come back.

    >>> parsed(b'{"models": []}')
    {'models': []}
    """
    try:
        found = json.loads(data)
    except RecursionError:
        raise _bottomless() from None
    opened = data.count(b"[") + data.count(b"{") if isinstance(data, bytes) else data.count("[") + data.count("{")
    if opened > DEEPEST and _is_deeper(found, DEEPEST):
        raise _bottomless()
    return found


def _is_deeper(found: Any, most: int) -> bool:
    """Tell whether lists and objects lie more than *most* deep in one another, without any recursion."""
    level: list[Any] = [found]
    for _ in range(most):
        inner: list[Any] = []
        for one in level:
            values = one.values() if isinstance(one, dict) else one if isinstance(one, list) else ()
            inner += [value for value in values if isinstance(value, dict | list)]
        if not inner:
            return False
        level = inner
    return True


def _bottomless() -> ValueError:
    return ValueError(f"JSON that is nested more than {DEEPEST} deep")
