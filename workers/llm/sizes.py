"""How much memory evolution's models take beside the user's, by what Ollama's lists say.

A loaded model's size is exact. Of one that is not loaded Ollama's own prediction is made, from its file and its context;
where its metadata do not carry that, only its file is known. What the server does not say stays unknown.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.domain import Role
from pipeline.memory import predicted_bytes
from pipeline.rules import Rules
from workers.llm.lists import TROUBLES, count_of, described, info_of, listed
from workers.llm.load_options import own_options, used_tags
from workers.llm.tags import normal

TOGETHER = ((Role.GENERATOR, Role.TASK), (Role.JUDGE, Role.SECOND_JUDGE), (Role.EMBEDDER,))
"""Roles that one stage asks in turns, so that their models are loaded at the same time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """The memory of one model of evolution's own.

    Attributes:
        memory_bytes: None while it is not known.
        exact: the model is loaded.
        predicted: it is not, and this is what Ollama will predict; with neither, it is the file, and the context comes
            on top.
    """

    tag: str
    memory_bytes: int | None
    exact: bool
    predicted: bool = False


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
        files, loaded = listed(url, "/api/tags", timeout_s), listed(url, "/api/ps", timeout_s)
    except TROUBLES as error:
        trouble = f"Ollama at {url} gives no list ({type(error).__name__})"
    theirs = _same_as(rules.settings.foreground.model, files)
    sizes = {
        normal(tag): _size(rules, tag, files, loaded, timeout_s)
        for tag in used_tags(rules)
        if normal(tag) not in theirs
    }
    return Need(
        foreground=rules.settings.foreground.model,
        models=tuple(sizes.values()),
        at_once_bytes=_at_once(rules, sizes),
        trouble=trouble,
    )


def _size(
    rules: Rules,
    tag: str,
    files: Mapping[str, Mapping[str, object]],
    loaded: Mapping[str, Mapping[str, object]],
    timeout_s: float,
) -> Size:
    exact, file = count_of(loaded.get(normal(tag)), "size"), count_of(files.get(normal(tag)), "size")
    if exact is not None or file is None:
        return Size(tag=tag, memory_bytes=exact, exact=exact is not None)
    need = None
    with contextlib.suppress(*TROUBLES):
        info = info_of(described(rules.settings.models.ollama_url, tag, timeout_s))
        parallel = rules.settings.memory.num_parallel or 1
        need = predicted_bytes(file, info, own_options(rules, tag)["num_ctx"], parallel)
    return Size(tag=tag, memory_bytes=need or file, exact=False, predicted=need is not None)


def _at_once(rules: Rules, sizes: Mapping[str, Size]) -> int | None:
    if any(size.memory_bytes is None for size in sizes.values()):
        return None
    groups: Iterable[set[str]] = ({normal(rules.tag(role)) for role in roles} for roles in TOGETHER)
    return max(sum(sizes[name].memory_bytes or 0 for name in names if name in sizes) for names in groups)


def _same_as(tag: str, files: Mapping[str, Mapping[str, object]]) -> set[str]:
    """Return the names of the model that *tag* names: those with its digest, and its own."""
    digest = files.get(normal(tag), {}).get("digest")
    return {normal(tag)} | {name for name, entry in files.items() if digest and entry.get("digest") == digest}
