"""Reads the requests made to a generator or a judge: what is asked, and the texts between the fences."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache

FENCE = re.compile(r"<<<([A-Z]+)(?:-[0-9a-f]+)?[ \t]*\n(.*?)\n?[ \t]*\1(?:-[0-9a-f]+)?>>>", re.DOTALL)
TASK = re.compile(r"^\s*TASK:\s*([\w -]+?)\s*$", re.MULTILINE)
ABOUT = re.compile(r"^(?:The task|Task description|Problem|About)[^:\n]*:\s*(.+)$", re.MULTILINE | re.IGNORECASE)
QUOTED = re.compile(r"[\"“]([^\"”\n]{12,})[\"”]")


@dataclass(frozen=True, slots=True)
class Brief:
    """A request taken apart.

    Attributes:
        task: the word after `TASK:`, empty without such a line.
        prompts, mutations: the fenced texts, in order.
        failures: all that stands between failure fences.
        about: the description of the problem.
    """

    task: str
    prompts: tuple[str, ...]
    mutations: tuple[str, ...]
    failures: str
    about: str
    text: str


@lru_cache(maxsize=1024)
def read_brief(text: str) -> Brief:
    """Take a request apart; without any fence the last quoted text counts as the prompt to work on."""
    fences: dict[str, list[str]] = {}
    for name, body in FENCE.findall(text):
        fences.setdefault(name, []).append(body.strip())
    task = TASK.search(text)
    about = ABOUT.search(text)
    prompts = [body for body in fences.get("PROMPT", []) if body] or QUOTED.findall(text)[-1:]
    return Brief(
        task[1].strip().lower() if task else "", tuple(prompts), tuple(fences.get("MUTATION", [])),
        "\n".join(fences.get("FAILURES", [])), about[1].strip() if about else "", text,
    )  # fmt: skip


def sentences(text: str) -> list[str]:
    """Cut a text into sentences, list marks taken off.

    >>> sentences("Name it. Be brief!")
    ['Name it.', 'Be brief!']
    """
    parts = re.split(r"(?<=[.!?])\s+|\n+", text.strip())
    return [part for part in (re.sub(r"^\s*(?:\d+[.)]|[-*])\s+", "", part).strip() for part in parts) if part]
