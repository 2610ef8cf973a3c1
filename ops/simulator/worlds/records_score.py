"""Compares a record line with the right one and says in words what it lost; it knows the form of each part, no task."""

from __future__ import annotations

import re

from ops.simulator.worlds.records_rules import RULES

START = re.compile(r"order=\d")
PART = re.compile(r"(?:^|(?<=[;/\s]))(order|date|name|qty|item|code|price|phone|lang|country|flag)=")
WORD_FOR = {rule.key: rule.lost for rule in RULES if rule.key}
WELL_FORMED = {
    "date": re.compile(r"\d{4}-\d\d-\d\d"),
    "name": re.compile(r"[A-Z]\w+, [A-Z]\w+"),
    "qty": re.compile(r"\d+ [a-z]+"),
    "item": re.compile(r"[a-z ]+"),
    "code": re.compile(r"[A-Z]{2}-\d{4}"),
    "price": re.compile(r"\d+\.\d\d [A-Z]{3}"),
    "phone": re.compile(r"\+\d+"),
    "lang": re.compile(r"[a-z]{2}"),
    "country": re.compile(r"[A-Z]{2}"),
    "flag": re.compile(r"URGENT"),
}
"""How a part looks when its rule was kept; a value that looks so and still differs is simply wrong."""


def lost_words(output: str, expected: str) -> tuple[str, ...]:
    """Say what an answer lost against the expected record, without repetition, in the order of the line.

    A text cut with an ellipsis is compared as far as it goes.

    >>> lost_words("Sure! order=10000 / date=March 4 / qty=3 kg", "order=10000; date=2026-03-04; qty=3 kg")
    ('extra-text', 'separator-wrong', 'date-format')
    """
    output, expected = output.strip(), expected.strip()
    if output == expected:
        return ()
    start = START.search(output)
    if start is None or "{" in output:
        return ("no-record",)
    body, mark, _ = output[start.start() :].partition(" (")
    lost = ["extra-text"] if start.start() or mark or "\n" in body else []
    if re.search(r" / \w+=", body):
        lost.append("separator-wrong")
    found = parts_of(body)
    for key, value in parts_of(expected).items():
        if key not in found and not body.endswith("…"):
            lost.append("flag-missing" if key == "flag" else "part-missing")
        elif key in found and found[key] != value and not (value.endswith("…") or found[key].endswith("…")):
            lost.append(word_for(key, found[key], value))
    return tuple(dict.fromkeys(lost)) or (() if "…" in body + expected else ("wrong-value",))


def word_for(key: str, found: str, value: str) -> str:
    """Name the loss of one part: its form, or its value when the form is right."""
    kept = WELL_FORMED[key].fullmatch(found) if key in WELL_FORMED else found
    formal = key in WORD_FOR and not kept
    return WORD_FOR[key] if formal or (key == "item" and found.lower() == value) else "wrong-value"


def parts_of(record: str) -> dict[str, str]:
    """Take a record apart, whatever stands between its parts."""
    starts = [*PART.finditer(record)]
    ends = [match.start() for match in starts[1:]] + [len(record)]
    values = [record[match.end() : end].strip(" ;/\n") for match, end in zip(starts, ends, strict=True)]
    return {match[1]: value for match, value in zip(starts, values, strict=True)}
