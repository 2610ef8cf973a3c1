"""Reads a request for a better instruction, from whatever optimiser: the prompts it offers, and what went wrong with them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from ops.simulator.worlds.records_score import lost_words
from ops.simulator.worlds.records_stock import CUES
from ops.simulator.worlds.requests import QUOTED, TASK

FENCED = re.compile(r"<<<PROMPT(?:-[0-9a-f]+)?[ \t]*\n(.*?)\n?[ \t]*PROMPT(?:-[0-9a-f]+)?>>>", re.DOTALL)
NUMBERED = re.compile(
    r"^(?:Prompt|Instruction|Input) ?#?(\d+)?:[ \t]*(\S.*?)(?=\n[ \t]*\n|\n(?:Prompt|Instruction|Input) ?#?\d*:|\n\d+\. |\Z)",
    re.DOTALL | re.MULTILINE,
)
CODE = re.compile(r"```[a-z]*[ \t]*\n(.*?)\n?[ \t]*```", re.DOTALL)
TAGGED = re.compile(r"<(prompt|instruction|current_prompt|text)>\s*(.*?)\s*</\1>", re.DOTALL)
SECTION = re.compile(
    r"\[\[ ## (\w*(?:instruction|prompt)\w*) ## \]\][ \t]*\n(.*?)(?=\n\s*\n?\[\[ ##|\n\s*\n?Respond with|\Z)", re.DOTALL
)
ATTEMPT = re.compile(r"Instruction #\d+: (.*?)»", re.DOTALL)
ORIGINAL = re.compile(r"Original Instructions:\s*(.*?)\n-{20}", re.DOTALL)
EXAMPLES = re.compile(r"order=\d|\bFeedback\b|# (?:Example|Item)\b|\bwanted:", re.IGNORECASE)
FEWEST = 3  # words of a text that can be a prompt

RECORD = re.compile(r"[^\n|\"`«»]*order=\d{5}[^\n|\"`«»]*")
LABEL = re.compile(
    r"(?P<skip>better_program\w*|input)|(?P<got>worse_program\w*|answer(?:ed)?|got|generated outputs?|outputs?|response|returned|produced)(?= ?\W)|"
    r"(?P<wanted>wanted|expected\w*(?: answer| output)?|correct (?:answer|output|record)(?: is| was)?|oracle_metadata|should (?:have been|be)|target|reference)(?=\W)",
    re.IGNORECASE,
)
NEAR = 160  # characters in front of a record in which its label stands

HINTS = {lost: re.compile(rf"\b{lost}\b|{cue}", re.IGNORECASE) for lost, cue in CUES.items()}

WANTED_SECTIONS = re.compile(
    r"Respond with the corresponding output fields, starting with the field (.*?)(?:and then ending|\Z)", re.DOTALL
)
SECTION_NAME = re.compile(r"\[\[ ## (\w+) ## \]\]")
WANTED_KEYS = re.compile(r"JSON object in the following order of fields: (.+?)\.(?:\n|\Z)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request taken apart.

    Attributes:
        task: the word after `TASK:`, empty without such a line.
        parents: the prompts that it offers, in order.
        hints: lost words that it names.
        compared: lost words that follow from a shown answer and the wanted one.
        form: `plain`, `code`, `tags`, `sections` or `json`.
        names: sections or JSON keys of the reply.
        advice: only advice is asked for, which will be put behind the old instruction.
    """

    task: str
    parents: tuple[str, ...]
    hints: frozenset[str]
    compared: frozenset[str]
    form: str
    names: tuple[str, ...]
    advice: bool
    schema: str = ""


@lru_cache(maxsize=256)
def read_request(text: str, last: str, schema: str) -> Request:
    """Take a request apart; *last* is its last message, where DSPy's sections have values."""
    parents, rest = parents_of(text, last)
    task = TASK.search(text)
    form, names = form_of(text, last, schema)
    hints = frozenset(lost for lost, pattern in HINTS.items() if pattern.search(rest))
    return Request(
        task=task[1].strip().lower() if task else "", parents=parents, hints=hints, compared=differences(rest) - hints,
        form=form, names=names, advice="module_advice" in names, schema=schema,
    )  # fmt: skip


def parents_of(text: str, last: str) -> tuple[tuple[str, ...], str]:
    """Find the prompts on offer, and give the text without them; the surest marks are looked for first."""
    for found in (
        [(match[1], match[0]) for match in FENCED.finditer(text)],
        [(match[2], match[0]) for match in newest(text)],
        [(match[1], match[0]) for match in CODE.finditer(text)],
        [(match[2], match[0]) for match in TAGGED.finditer(text)],
        [(match[1], match[0]) for match in ATTEMPT.finditer(last)],
        [(match[2], match[0]) for match in SECTION.finditer(last)],
        [(match[1], match[0]) for match in ORIGINAL.finditer(last)],
        [(one, one) for one in QUOTED.findall(text)[-1:]],
    ):
        offered = [(body.strip(), whole) for body, whole in found if usable(body)]
        if offered:
            rest = text
            for _, whole in offered:
                rest = rest.replace(whole, "\n")
            return tuple(dict.fromkeys(body for body, _ in offered)), rest
    return (), text


def usable(body: str) -> bool:
    """Tell whether a marked text can be a prompt rather than examples, an input, or a gap to fill in."""
    gap = body.strip().startswith(("{", "and "))  # as in "begin with <prompt> and end with </prompt>"
    return len(body.split()) >= FEWEST and not EXAMPLES.search(body) and not gap


def newest(text: str) -> Iterator[re.Match[str]]:
    """Find prompts behind a label at the start of a line; of equal labels the last counts, since examples come first."""
    yield from {match[1]: match for match in NUMBERED.finditer(text)}.values()


def differences(text: str) -> frozenset[str]:
    """Find answers and wanted records of the same order, and say what the answers lost."""
    got: dict[str, set[str]] = {}
    wanted: dict[str, str] = {}
    for match in RECORD.finditer(text):
        labels = [*LABEL.finditer(text, max(match.start() - NEAR, 0), match.start() + match[0].index("order="))]
        if not labels or labels[-1]["skip"]:
            continue
        value = text[max(labels[-1].end(), match.start()) : match.end()].strip(" \t:=*>'#")
        number = value[value.index("order=") :][6:11]
        if labels[-1]["wanted"]:
            wanted[number] = value.removesuffix(".")
        else:
            got.setdefault(number, set()).add(value)
    found = {
        lost for number, record in wanted.items() for value in got.get(number, ()) for lost in lost_words(value, record)
    }
    return frozenset(found & set(CUES))


def form_of(text: str, last: str, schema: str) -> tuple[str, tuple[str, ...]]:
    """Find the form of the reply that is asked for."""
    sections = WANTED_SECTIONS.search(last)
    if sections is not None:
        return "sections", tuple(name for name in SECTION_NAME.findall(sections[1]) if name != "completed")
    keys = WANTED_KEYS.search(last)
    if keys is not None:
        return "json", tuple(re.findall(r"`(\w+)`", keys[1]))
    if schema:
        return "json", ()
    if re.search(r"(?:within|inside|between|in) (?:a |an |the )?(?:triple[- ]backticks?|```|code block)", text):
        return "code", ()
    return ("tags", ()) if "</prompt>" in text else ("plain", ())
