"""How much memory evolution's models take beside the user's, by what Ollama's lists say.

A loaded model's size is exact. Of one that is not loaded only its file is known; the context comes on top of that. What
the server does not say stays unknown.
"""

from __future__ import annotations

import http.client
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from pipeline.domain import Role
from pipeline.rules import Rules
from workers.llm.light_http import read_all
from workers.llm.tags import normal

TOGETHER = ((Role.GENERATOR, Role.TASK), (Role.JUDGE,), (Role.EMBEDDER,))
"""Roles that one stage asks in turns, so that their models are loaded at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The memory of one model of evolution's own.

    Attributes:
        memory_bytes: None while it is not known.
        exact: the model is loaded; else this is its file, and the context comes on top.
    """

    tag: str
    memory_bytes: int | None
    exact: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Need:
    """The memory that a run needs beside the user's model.

    Attributes:
        foreground: the user's model, which is there anyway.
        models: evolution's own; empty when the user's model plays every role.
        at_once_bytes: of those that one stage needs together; None when one of them is not known.
        trouble: why nothing is known; empty when the server answered.
    """

    foreground: str
    models: tuple[Size, ...]
    at_once_bytes: int | None
    trouble: str = ""


def memory_need(rules: Rules, *, timeout_s: float) -> Need:
    """Ask the Ollama server of *rules* how large the models are; a server that is away makes them unknown."""
    url, trouble = rules.settings.models.ollama_url, ""
    files: dict[str, Mapping[str, object]] = {}
    loaded: dict[str, Mapping[str, object]] = {}
    try:
        files, loaded = _listed(url, "/api/tags", timeout_s), _listed(url, "/api/ps", timeout_s)
    except (
        OSError,
        http.client.HTTPException,
        ValueError,
        LookupError,
        TypeError,
        AttributeError,
        RecursionError,
    ) as error:
        trouble = f"Ollama at {url} gives no list ({type(error).__name__})"
    theirs = _same_as(rules.settings.foreground.model, files)
    sizes = {
        normal(tag): _size(tag, files, loaded)
        for tag in dict.fromkeys(rules.tag(role) for role in Role)
        if normal(tag) not in theirs
    }
    return Need(
        foreground=rules.settings.foreground.model,
        models=tuple(sizes.values()),
        at_once_bytes=_at_once(rules, sizes),
        trouble=trouble,
    )


def _size(tag: str, files: Mapping[str, Mapping[str, object]], loaded: Mapping[str, Mapping[str, object]]) -> Size:
    name = normal(tag)
    exact = _bytes(loaded.get(name))
    return Size(tag=tag, memory_bytes=_bytes(files.get(name)) if exact is None else exact, exact=exact is not None)


def _at_once(rules: Rules, sizes: Mapping[str, Size]) -> int | None:
    if any(size.memory_bytes is None for size in sizes.values()):
        return None
    groups: Iterable[set[str]] = ({normal(rules.tag(role)) for role in roles} for roles in TOGETHER)
    return max(sum(sizes[name].memory_bytes or 0 for name in names if name in sizes) for names in groups)


def _same_as(tag: str, files: Mapping[str, Mapping[str, object]]) -> set[str]:
    """Return the names of the model that *tag* names: those with its digest, and its own."""
    digest = files.get(normal(tag), {}).get("digest")
    return {normal(tag)} | {name for name, entry in files.items() if digest and entry.get("digest") == digest}


def _bytes(entry: Mapping[str, object] | None) -> int | None:
    size = entry.get("size") if entry is not None else None
    return size if isinstance(size, int) and not isinstance(size, bool) and size > 0 else None


def _listed(url: str, path: str, timeout_s: float) -> dict[str, Mapping[str, object]]:
    """Return the entries of one of the server's lists, by normal tag."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=timeout_s)
    try:
        connection.request("GET", f"{parts.path.rstrip('/')}{path}")
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise ValueError(f"status {response.status}")
        return {
            normal(str(entry["name"])): entry for entry in json.loads(read_all(response, timeout_s))["models"] or ()
        }
    finally:
        connection.close()
