"""Reads Markdown documents and source code, roughly: what the example skills ask for besides names and actions."""

from __future__ import annotations

import re
from collections.abc import Mapping

HEADING = re.compile(r"^#{1,6}\s+(.+?)\s*#*$", re.MULTILINE)
ASKS = re.compile(
    r"\b(?:please|todo|must|should|need to|needs to|action required|by (?:monday|tuesday|wednesday|thursday|friday))\b",
    re.IGNORECASE,
)
RULE_ID = re.compile(r"^\W*([a-z]+(?:-[a-z]+)+)\s*:", re.MULTILINE)
BREACHES: Mapping[str, re.Pattern[str]] = {
    "hardcoded-color": re.compile(r"#[0-9a-fA-F]{3,8}\b|\brgba?\("),
    "magic-number": re.compile(r"(?<![\w.#\"'])(?:[2-9]|\d{2,})(?![\w\"'])"),
    "console-output": re.compile(r"\bconsole\.\w+\(|\bprint\("),
    "missing-type": re.compile(r"\bdef \w+\((?:[^):]*)\)\s*:|\bfunction \w+\([^):]+\)\s*\{"),
}


def headings(document: str) -> list[str]:
    r"""List the headings of a Markdown text.

    >>> headings("# Plan\n## Costs")
    ['Plan', 'Costs']
    """
    return HEADING.findall(document)


def asks_for_action(document: str) -> bool:
    """Tell whether a text asks its reader to do something."""
    return bool(ASKS.search(document))


def broken_rules(instruction: str, code: str) -> list[str]:
    """Name the rules of an instruction that a piece of code breaks, in the instruction's order."""
    return [name for name in dict.fromkeys(RULE_ID.findall(instruction)) if breaks(name, code)]


def breaks(name: str, code: str) -> bool:
    """Tell whether code breaks one rule; rules without a pattern here are never seen broken."""
    if name == "unused-import":
        imported = re.findall(r"^\s*(?:from \S+ )?import (?:\{\s*)?(\w+)", code, re.MULTILINE)
        return any(len(re.findall(rf"\b{word}\b", code)) == 1 for word in imported)
    pattern = BREACHES.get(name)
    return pattern is not None and bool(pattern.search(code))
