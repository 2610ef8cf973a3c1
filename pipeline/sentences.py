"""Instructions as sentences: the small edits that need no model, and what a reply adds to its parent."""

from __future__ import annotations

import re

from pipeline.algorithms.differences import negations, normalise, numbers
from pipeline.algorithms.similarity import overlap, stem

SAME = 0.75  # F1 of stems from which two sentences say the same; ours
_FEW_WORDS = 3  # a shorter sentence is none
# White space after a closing mark, unless after an abbreviation of single letters (e.g., i.e., z.B., d.h.); or a line's end.
_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\"'\u201d)]))(?<!\b[^\W\d_]\.)(?<!etc\.)(?<!bzw\.)(?<!usw\.)\s+|\n+")
_MARK = re.compile(r"^\s*(?:(\d{1,3})[.)]|[-*\u2022])\s+")
_BARE_MARK = re.compile(r"\s*(?:\d{1,3}[.)]|[-*\u2022])")
_CODE = re.compile(r"^[ \t]*```.*?(?:^[ \t]*```[ \t]*$|\Z)", re.MULTILINE | re.DOTALL)
_WORD = re.compile(r"[^\W_]+")


def spans(text: str) -> list[tuple[int, int]]:
    """Return where each sentence, list line or code block of *text* begins and ends.

    >>> [("Name it. Be brief!"[a:b]) for a, b in spans("Name it. Be brief!")]
    ['Name it.', 'Be brief!']
    """
    code = [match.span() for match in _CODE.finditer(text)]
    found: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        inside = any(a < match.start() < b for a, b in code)
        if inside or ("\n" not in match[0] and _BARE_MARK.fullmatch(text, start, match.start())):
            continue
        found.append((start, match.start()))
        start = match.end()
    found.append((start, len(text)))
    return [(a, b) for a, b in found if _MARK.sub("", text[a:b]).strip()]


def sentences(text: str) -> list[str]:
    r"""Cut *text* into sentences without list marks.

    >>> sentences("1. Name it.\n2. Be brief, e.g. two words.")
    ['Name it.', 'Be brief, e.g. two words.']
    """
    return [_MARK.sub("", text[a:b]).strip() for a, b in spans(text)]


def same(one: str, other: str) -> bool:
    """Tell whether two sentences say the same: nearly the same words, and the same numbers, denials and directions.

    >>> same("Use lower case letters.", "Use lower-case letters only."), same("Use 3 words.", "Use 5 words.")
    (True, False)
    """
    if normalise(one) == normalise(other):
        return True
    first, second = _stems(one), _stems(other)
    if overlap(first, second)[2] < SAME or (first ^ second) & _TURNS:
        return False
    return numbers(one) == numbers(other) and negations(one) == negations(other)


def added(reply: str, parent: str) -> list[str]:
    """Return the sentences of *reply* that say what no sentence of *parent* says.

    A last sentence without a mark at its end is torn off, more likely than not, and left out; not so in a list of lines
    that have none.
    """
    known, said = sentences(parent), sentences(reply)
    if len(said) > 1 and said[-1][-1].isalnum() and not said[-2][-1].isalnum():
        said.pop()
    fresh: list[str] = []
    for sentence in said:
        if len(_WORD.findall(sentence)) >= _FEW_WORDS and not any(same(sentence, one) for one in (*known, *fresh)):
            fresh.append(sentence)
    return fresh


def graft(parent: str, fresh: list[str]) -> str:
    r"""Put new sentences at the parent's end: its own words stay as they are, and so does what a cache knows of them.

    After a list they are lines of the list, after words without a closing mark or after code lines of their own.

    >>> graft("Name it.", ["Be brief."]), graft("Rules:\n1. Name it.", ["Be brief."])
    ('Name it. Be brief.', 'Rules:\n1. Name it.\n2. Be brief.')
    """
    text = parent.rstrip()
    last = text.rpartition("\n")[2]
    item = _MARK.match(last) if last != text else None
    number = int(item[1]) if item and item[1] else 0
    for sentence in fresh:
        if sentence.startswith("```") or not text:
            joint = "\n" if text else ""
        elif item and number:
            number += 1
            joint = f"\n{item[0].replace(item[1], str(number), 1)}"
        elif item:
            joint = f"\n{item[0]}"
        else:
            joint = " " if _END.match(f"{text} ", len(text)) else "\n"
        text += f"{joint}{sentence}"
    return text


def without(text: str, index: int) -> str:
    r"""Delete one sentence, and the mark of its line when nothing else stands there.

    >>> without("Name it. Be brief! Thanks.", 1), without("- Name it. Be brief!\n- Thanks.", 0)
    ('Name it. Thanks.', '- Be brief!\n- Thanks.')
    """
    found = spans(text)
    a, b = found[index]
    before = text[found[index - 1][1] : a] if index else text[:a]
    if index + 1 == len(found):
        return (text[: a - len(before)] + text[b:]).strip()
    after = text[b : found[index + 1][0]]
    if "\n" not in after:  # the rest of its line stays, and so does the line's mark
        a += _mark_length(text, a, b)
        return (text[:a] + text[b + len(after) :]).strip()
    gap = max(before, after, key=lambda one: one.count("\n")) if index else ""
    return (text[: a - len(before)] + gap + text[b + len(after) :]).strip()


def swapped(text: str, one: int, other: int) -> str:
    r"""Let two sentences change places; the marks of their lines stay where they are.

    >>> swapped("Name it. Be brief!", 0, 1), swapped("1. Name it.\n2. Be brief!", 0, 1)
    ('Be brief! Name it.', '1. Be brief!\n2. Name it.')
    """
    if one == other:
        return text
    (a, b), (c, d) = sorted((spans(text)[one], spans(text)[other]))
    a, c = a + _mark_length(text, a, b), c + _mark_length(text, c, d)
    first, second = text[c:d], text[a:b]
    between, rest = text[b:c], text[d:]
    gap = _gap_after(first, between[: len(between) - len(between.lstrip())])
    last = _gap_after(second, rest[: len(rest) - len(rest.lstrip())]) if rest.strip() else ""
    return f"{text[:a]}{first}{gap}{between.lstrip()}{second}{last}{rest.lstrip() if rest.strip() else rest}"


_OPPOSITES = (
    "t upper lower uppercase lowercase capital small large short long shorter longer first last before after above below "
    "begin start end more less fewer most least minimum maximum keep remove delete add include always all any every "
    "singular plural yes true false left right"
)
_DENIALS_ELSEWHERE = (
    "nicht kein keine keinen keiner keinem nie niemals ohne nur pas jamais sans aucun aucune sin nunca non senza mai niet "
    "geen nooit zonder"
)
# Words whose coming or going turns a rule round, beside the English denials that `negations` knows.
_TURNS = frozenset(map(stem, f"{_OPPOSITES} {_DENIALS_ELSEWHERE}".split()))


def _gap_after(sentence: str, gap: str) -> str:
    """Return *gap*, or a line's end in its place when *sentence* has no end that a reader would see."""
    return gap if "\n" in gap or _END.match(f"{sentence} ", len(sentence)) else "\n"


def _mark_length(text: str, start: int, end: int) -> int:
    match = _MARK.match(text[start:end])
    return match.end() if match else 0


def _stems(text: str) -> set[str]:
    return {stem(word) for word in _WORD.findall(text.lower())}
