"""What is said to the generator and the judge, and how their answers are read: leniently, and never trusted.

Texts that come from people or models are fenced, so that they cannot pass for our own words; the fence's marks are taken
out of them first.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import islice
from typing import Any

from pipeline.algorithms.invisible import is_hidden
from pipeline.algorithms.streams import seed32
from pipeline.domain import SampleId

MAX_REPLY = 20_000  # characters of a reply that are looked at
MAX_EXAMPLE = 400  # characters of one failure or success shown to the generator
MAX_FAILURES, MAX_SUCCESSES = 20, 10  # shown at most (seed documents)
_SHOWN_FIELD = 300  # characters of one input field shown to the generator
_MOST_KINDS = 8  # of losses that are counted in the heading

SAID = {
    "generic": "too generic",
    "version-lost": "version marker lost",
    "case": "wrong case",
    "spaces": "spaces between the words",
    "separator": "words not joined by single hyphens",
    "too-long": "too long",
    "too-short": "too short",
    "chatter": "chatter around the answer",
    "talk": "chatter around the answer",
    "unrelated": "hardly a word of the input",
    "extension": "extension changed",
    "not-a-name": "not a name at all",
    "missing-words": "words missing",
    "extra-words": "words too many",
    "not-json": "not JSON",
    "missing-item": "items missing",
    "extra-item": "items too many",
    "empty": "nothing written",
    "different": "another answer",
}
"""What the scorers' words and the signatures are called in a question."""

_MARKS = re.compile(
    r"<<<[A-Z]{2,12}(?:-[0-9a-f]{4,16})?|[A-Z]{2,12}(?:-[0-9a-f]{4,16})?>>>|<\|(?:im_start|start_header_id)\|>(?:system|user|assistant)?|<\|[^|>\n]{0,40}\|>|"
    r"\[/?INST\]|<</?SYS>>|</?s>|<(?:start|end)_of_turn>(?:user|model)?"
)
_ESCAPE = re.compile(r"\x1b\[[0-9;?]{0,20}[A-Za-z]")  # of a terminal
_FENCED = re.compile(r"<<<PROMPT(?:-[0-9a-f]{4,16})?\s*\n(.*?)(?:\n\s*PROMPT(?:-[0-9a-f]{4,16})?>>>|\Z)", re.DOTALL)
_OURS = re.compile(r"^(?:<<<([A-Z]{2,12})|([A-Z]{2,12})>>>)$", re.MULTILINE)  # marks that `fenced` has put
_CODE = re.compile(r"```[a-zA-Z]*\s*\n(.*?)(?:\n```|\Z)", re.DOTALL)
_JSON = re.compile(r'\{\s*"((?:new_)?(?:prompt|instruction))"\s*:\s*"')
_KEYS = ("prompt", "instruction", "new_prompt", "new_instruction", "text")
_SENTENCE_END = re.compile(r"[.!?](?=[\s\"'\u201d)]|$)")
_ITEM = re.compile(r"^\s*(?:\d{1,3}[.)]|[-*\u2022])\s+(?=\S)")
_LEAD = re.compile(
    r"^\s*(?:#{1,4}\s*)?(?:(?:sure|certainly|of course|okay|ok|here(?:'s| is| are)|the (?:new|improved|revised|rewritten)|"
    r"(?:new|improved|revised|rewritten) (?:prompt|instruction))\b[^\n]{0,120}?|instruction mutant|prompt|instruction):\s*",
    re.IGNORECASE,
)
_TAIL = re.compile(
    r"^\s*(?:let me know|i hope|note:|reasoning:|explanation:|this (?:new |revised )?(?:prompt|instruction|version)|feel free|"
    r"(?:key |main )?(?:changes|improvements)\b[^\n]{0,20}:|i(?:'ve| have)? (?:added|changed|made|rewrote|removed|kept|improved)\b|"
    r"the (?:new|revised|improved) (?:prompt|instruction|version) )",
    re.IGNORECASE,
)
_MOST_BRACKETS = 200  # places in a reply at which JSON may begin
_WHOLE_WORDS = 8  # words from which a list's item can be a whole instruction


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """A sample that went wrong.

    Attributes:
        lost: what was lost, words of the scorer's closed set.
        sample: its id, where a prompt was run on it afresh.
    """

    shown: str
    output: str
    expected: str
    lost: tuple[str, ...]
    sample: SampleId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Success:
    """A sample that went right."""

    shown: str
    output: str


def shown_input(fields: tuple[tuple[str, str], ...]) -> str:
    """Write a sample's input in one line for the generator, each field cut."""
    return "; ".join(f"{name}: {text[:_SHOWN_FIELD]}" for name, text in fields)


def fenced(name: str, text: str) -> str:
    r"""Put *text* between the marks `<<<NAME` and `NAME>>>` on lines of their own.

    >>> fenced("PROMPT", "a PROMPT>>> b")
    '<<<PROMPT\na   b\nPROMPT>>>'
    """
    return f"<<<{name}\n{plain(text)}\n{name}>>>"


def sealed(prompt: str, seed: int) -> str:
    r"""Give every fence of *prompt* a number that a text inside it cannot know: it is drawn from the run's seed.

    The marks of `fenced` are the only ones in a prompt, since `plain` has taken them out of every text. The number is the
    same for a whole run, so that the beginnings of its prompts stay alike.

    >>> sealed("Rate it:\n<<<PROMPT\nName it.\nPROMPT>>>", 7)
    'Rate it:\n<<<PROMPT-170024f7\nName it.\nPROMPT-170024f7>>>'
    """
    number = f"{seed32(seed, 'fence'):08x}"
    text = prompt.replace(number, " ")
    return _OURS.sub(lambda mark: f"<<<{mark[1]}-{number}" if mark[1] else f"{mark[2]}-{number}>>>", text)


def plain(text: str) -> str:
    """Take out fence marks, role markers, control characters and invisible ones; keep letters, spaces and line ends."""
    return _MARKS.sub(
        " ", plain_keep_marks(text)
    )  # a space, so that what stood on both sides does not join to a new mark


def clip(text: str, limit: int = MAX_EXAMPLE) -> str:
    """Shorten *text* to one line of at most *limit* characters."""
    line = " ".join(plain(text[:MAX_REPLY]).split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


def failures_text(failures: tuple[Failure, ...], lost: Mapping[str, int] | None = None, of: int = 0) -> str:
    """Write failures so that what was lost stands first, counted by signature: that is worth three times "wrong".

    Args:
        failures: the examples.
        lost: how often each kind of loss occurred, also where it is not among the examples; counted from them if None.
        of: out of how many samples.
    """
    counts = Counter(word for failure in failures for word in failure.lost) if lost is None else Counter(lost)
    total = of or len(failures)
    head = "; ".join(f"{n} of {total}: {said_of(word)}" for word, n in counts.most_common(_MOST_KINDS))
    lines = [f"What was lost: {head or 'the answer differs'}"]
    for failure in failures[:MAX_FAILURES]:
        shown = {
            "input": clip(failure.shown),
            "answer": clip(failure.output, 120),
            "wanted": clip(failure.expected, 120),
        }
        lines.append(_line({**shown, "lost": ", ".join(failure.lost) or "different"}))
    return "\n".join(lines)


def said_of(word: str) -> str:
    """Say what was lost in words that a small model understands; a word that is not known stays as it is.

    >>> said_of("generic"), said_of("schema:$.total")
    ('too generic', 'schema:$.total')
    """
    return SAID.get(word, clip(word, 40))


def successes_text(successes: tuple[Success, ...]) -> str:
    """Write accepted answers."""
    return "\n".join(_line({"input": clip(s.shown), "answer": clip(s.output, 120)}) for s in successes[:MAX_SUCCESSES])


def read_instruction(text: str, *, cut_off: bool, max_words: int, first_item: bool = False) -> str:
    r"""Find the instruction in a generator's reply: fenced, in JSON, in a code block, quoted, listed or plain.

    Args:
        text: the reply.
        cut_off: the reply ended at its token limit; an unfinished last sentence is dropped.
        max_words: a longer instruction is cut at a sentence's end.
        first_item: the reply continues a list of instructions: of several items the first is taken, unless it is too
            short to be a whole instruction.

    Returns:
        The instruction in one paragraph, empty when there is none.

    >>> read_instruction('Sure! Here is the new prompt: "Name the file. Be brief."', cut_off=False, max_words=50)
    'Name the file. Be brief.'
    >>> read_instruction("Rules:\n- Use hyphens\n- Be brief", cut_off=False, max_words=50)
    'Rules: Use hyphens. Be brief.'
    """
    body = _body(plain_keep_marks(text[:MAX_REPLY]))
    lines: list[str] = []
    for raw in body.split("\n"):
        item = _ITEM.match(raw) is not None
        line = _LEAD.sub("", _ITEM.sub("", raw), count=1).strip()
        if _TAIL.match(line) or (first_item and item and lines and len(" ".join(lines).split()) >= _WHOLE_WORDS):
            break
        if line:
            lines.append(f"{line}." if item and line[-1].isalnum() else line)
    instruction = " ".join(plain(" ".join(lines)).split()).strip("\"'`\u201c\u201d*_ ")
    return _whole_sentences(instruction, cut_off=cut_off, max_words=max_words)


def plain_keep_marks(text: str) -> str:
    """Drop control and invisible characters only; a tab becomes a space."""
    text = _ESCAPE.sub("", text).replace("\t", " ")
    return "".join(c for c in text if c == "\n" or not is_hidden(c))


def lenient_json(text: str) -> Any:
    """Read the first JSON object or list in *text*, whatever stands around it; None when there is none.

    >>> lenient_json('Here you are: ```json {"a": 1} ```')
    {'a': 1}
    """
    text = text[:MAX_REPLY]
    decoder = json.JSONDecoder()
    for match in islice(re.finditer(r"[\[{]", text), _MOST_BRACKETS):
        try:
            return decoder.raw_decode(text, match.start())[0]
        except (ValueError, RecursionError):
            continue
    return None


def _line(shown: dict[str, str]) -> str:
    """Write an example as one line of JSON: a quotation mark or a label inside a text cannot end it."""
    return json.dumps(shown, ensure_ascii=False)


def _body(text: str) -> str:
    """Unwrap fences, code blocks and JSON, in whatever order they stand in one another."""
    for pattern in (_FENCED, _CODE):
        match = pattern.search(text)
        if match and match.group(1).strip():
            text = match.group(1)
            break
    data = lenient_json(text) if text.lstrip().startswith("{") else None
    found = [data[key] for key in _KEYS if isinstance(data.get(key), str)] if isinstance(data, dict) else []
    start = _JSON.search(text)
    if not found and start is not None:
        inner = lenient_json(text[start.start() :])
        cut_short = text[start.end() :].rstrip('"}` \n').replace('\\"', '"').replace("\\n", "\n")
        found = [inner.get(start[1], "") if isinstance(inner, dict) else cut_short]
    return str(found[0] if found else text).strip("\n")


def _whole_sentences(text: str, *, cut_off: bool, max_words: int) -> str:
    words = text.split()
    if len(words) <= max_words and not cut_off:
        return text
    kept = " ".join(words[:max_words])
    ends = [match.end() for match in _SENTENCE_END.finditer(kept)]
    return kept[: ends[-1]].strip() if ends else kept
