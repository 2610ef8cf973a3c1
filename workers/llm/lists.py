"""What an Ollama server lists and tells of its models, by the standard library alone, within a given time."""

from __future__ import annotations

import http.client
from collections.abc import Mapping
from pathlib import PurePath
from typing import Any

from workers.llm.light_http import Down, Unknown, fetch
from workers.llm.replies import parsed
from workers.llm.tags import normal

TROUBLES = (Down, Unknown, ValueError, LookupError, TypeError, AttributeError)
"""What a server that is away, hangs or sends something else may raise here."""


def listed(url: str, path: str, timeout_s: float) -> dict[str, Mapping[str, object]]:
    """Return the entries of `/api/tags` or `/api/ps`, by normal tag; raises one of `TROUBLES`."""
    return {normal(str(entry["name"])): entry for entry in asked(url, path, None, timeout_s)["models"] or ()}


def described(url: str, tag: str, timeout_s: float) -> Mapping[str, Any]:
    """Return what `/api/show` tells of *tag*; raises one of `TROUBLES`."""
    found: Any = asked(url, "/api/show", {"model": tag}, timeout_s)
    if not isinstance(found, dict):
        raise TypeError("no object")
    return found


def asked(url: str, path: str, body: Mapping[str, object] | None, timeout_s: float) -> Any:
    """Send one request and return the JSON of its reply; raises one of `TROUBLES`, also for a status other than 200."""
    answer = fetch(url, path, timeout_s, body)
    if answer.status != http.client.OK:
        raise ValueError(f"status {answer.status}")
    return parsed(answer.body)


def blob_of(modelfile: object) -> str:
    """Return the name of the model file that a modelfile of `/api/show` names; empty where it names none.

    >>> blob_of("# FROM x:1b" + chr(10) + "FROM /models/blobs/sha256-ab" + chr(10))
    'sha256-ab'
    """
    for line in str(modelfile or "").splitlines():
        if line.startswith("FROM "):
            name = PurePath(line.removeprefix("FROM ").strip().strip('"').replace("\\", "/")).name
            return name if name.startswith("sha256-") else ""
    return ""


def count_of(entry: Mapping[str, object] | None, name: str) -> int | None:
    """Return a positive whole number of *entry*, None where there is none."""
    size = entry.get(name) if entry is not None else None
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None


def info_of(description: Mapping[str, Any]) -> Mapping[str, object]:
    """Return the `model_info` of what `described` returned; empty where there is none."""
    info = description.get("model_info")
    return info if isinstance(info, dict) else {}
