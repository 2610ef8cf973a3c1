"""Instructions as sentences: the small edits that need no model, and what a reply adds to its parent."""

from __future__ import annotations

import re

from pipeline.algorithms.differences import normalise
from pipeline.algorithms.similarity import overlap, stem

SAME = 0.75  # F1 of stems from which two sentences say the same; ours
_FEW_WORDS = 3  # a shorter sentence is none
_END = re.compile(r"(?<=[.!?])(?<!e\.g\.)(?<!i\.e\.)(?<!etc\.)(?:[\"'\u201d)])?\s+|\n+")
_MARK = re.compile(r"^\s*(?:\d{1,3}[.)]|[-*\u2022])\s+")
_WORD = re.compile(r"[^\W_]+")


def spans(text: str) -> list[tuple[int, int]]:
    """Return where each sentence or list line of *text* begins and ends.

    >>> [("Name it. Be brief!"[a:b]) for a, b in spans("Name it. Be brief!")]
    ['Name it.', 'Be brief!']
    """
    found: list[tuple[int, int]] = []
    start = 0
    for match in _END.finditer(text):
        found.append((start, match.start()))
        start = match.end()
    found.append((start, len(text)))
    return [(a, b) for a, b in found if text[a:b].strip()]


def sentences(text: str) -> list[str]:
    r"""Cut *text* into sentences without list marks.

    >>> sentences("1. Name it.\\n2. Be brief, e.g. two words.")
    ['Name it.', 'Be brief, e.g. two words.']
    """
    return [_MARK.sub("", text[a:b]).strip() for a, b in spans(text)]


def same(one: str, other: str) -> bool:
    """Tell whether two sentences say the same: nearly the same words, and the same numbers and denials.

    >>> same("Use lower case letters.", "Use lower-case letters only."), same("Use 3 words.", "Use 5 words.")
    (True, False)
    """
    if normalise(one) == normalise(other):
        return True
    first, second = _stems(one), _stems(other)
    if {w for w in first ^ second if w.isdigit() or w in _DENIALS}:
        return False
    return overlap(first, second)[2] >= SAME


def added(reply: str, parent: str) -> list[str]:
    """Return the sentences of *reply* that say what no sentence of *parent* says."""
    known, said = sentences(parent), sentences(reply)
    if len(said) > 1 and said[-1][-1].isalnum():
        said.pop()  # torn off, more likely than not
    fresh: list[str] = []
    for sentence in said:
        if len(_WORD.findall(sentence)) >= _FEW_WORDS and not any(same(sentence, one) for one in (*known, *fresh)):
            fresh.append(sentence)
    return fresh


def graft(parent: str, fresh: list[str]) -> str:
    """Put new sentences at the parent's end: its own words stay as they are, and so does what a cache knows of them.

    >>> graft("Name it.", ["Be brief."])
    'Name it. Be brief.'
    """
    lines = parent.rstrip().split("\n")
    listed = _MARK.match(lines[-1]) is not None and len(lines) > 1
    mark = "\n- " if listed else " "
    return parent.rstrip() + "".join(f"{mark}{sentence}" for sentence in fresh)


def without(text: str, index: int) -> str:
    """Delete one sentence.

    >>> without("Name it. Be brief! Thanks.", 1)
    'Name it. Thanks.'
    """
    a, b = spans(text)[index]
    head, tail = text[:a].rstrip(" "), text[b:].lstrip(" ")
    joint = "" if not head or not tail or head.endswith("\n") or tail.startswith("\n") else " "
    return re.sub(r"\n{3,}", "\n\n", f"{head}{joint}{tail}").strip()


def swapped(text: str, one: int, other: int) -> str:
    """Let two sentences change places.

    >>> swapped("Name it. Be brief!", 0, 1)
    'Be brief! Name it.'
    """
    (a, b), (c, d) = sorted((spans(text)[one], spans(text)[other]))
    return text[:a] + text[c:d] + text[b:c] + text[a:b] + text[d:]


_DENIALS = frozenset({"not", "no", "never", "without", "avoid", "don", "t"})


def _stems(text: str) -> set[str]:
    return {stem(word) for word in _WORD.findall(text.lower())}
