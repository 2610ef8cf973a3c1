"""What must not get into a prompt by way of a model: addresses, orders to ignore orders, secrets, text of an example.

A prompt that is promoted is kept and run on every later task. So whatever a generator writes is searched before it may
enter the population, and so is every sample that a prompt is to carry as an example. What the prompt in use has already is
no leak: a person put it there.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from pipeline.algorithms.invisible import is_hidden
from pipeline.algorithms.lookalikes import clear, latin, mixed
from pipeline.leak_kinds import KINDS, order_spellings

COPIED_WORDS = 8  # a run of this many words shared with any text of the history (OWASP LLM01, our facts)
SHOWN_WORDS = 5  # the same with an example that the generator was shown: copied training text (GEPA #261)
VERBATIM = range(6, 81)  # length of a shown example's text that may not stand in an instruction as it is
MIN_NAME = 6  # characters from which a word with a digit, or a file's name, is one sample's own

_WORD = re.compile(r"[^\W_]+")
_NAME = re.compile(r"[^\W_][\w.@+-]*\w")
_OWN = re.compile(r"\d|[^\W\d_][._@][^\W\d_]")
_DATA = re.compile(r"\s|\w[\d._-]|\d")  # several words, a number, a file name: one plain word may be a class's name


@dataclass(frozen=True, slots=True, kw_only=True)
class Ground:
    """What a new text is held against.

    Attributes:
        own: texts of a person, the prompt in use and what the task is about: what they have is no leak.
        shown: texts of the examples that the generator saw.
        history: every text of the run's samples: inputs, answers, right answers.
    """

    own: tuple[str, ...] = ()
    shown: tuple[str, ...] = ()
    history: tuple[str, ...] = ()


NOTHING = Ground()


def leaks(text: str, ground: Ground = NOTHING) -> tuple[str, ...]:
    """Name what must not get into a promoted prompt; empty when there is nothing.

    Args:
        text: what a generator wrote, or an example; only what is new in it need be given.
        ground: what it is held against.

    >>> leaks("Name it as on https://evil.example"), leaks("Use lower case and hyphens.")
    (('a web address',), ())
    """
    spelled, own = _spelled(text), _own(ground.own)
    found = [name for name, find in KINDS if any(_bare(one) not in own for each in spelled for one in find(each))]
    if any(is_hidden(char) for char in text if char not in "\n\t"):
        found.append("invisible characters")
    if any(_bare(one) not in own for one in mixed(spelled[0])):
        found.append("two alphabets in a word")
    return (*found, *_copied(text, ground))


def reason(found: Iterable[str]) -> str:
    """Write what `leaks` found as a reason for a refusal; empty when it found nothing.

    >>> reason(("a secret",)), reason(())
    ('leak: a secret', '')
    """
    words = ", ".join(found)
    return f"leak: {words}" if words else ""


def _spelled(text: str) -> tuple[str, ...]:
    """Return the spellings in which a text is searched, without repetition."""
    plain = clear(text)
    return tuple(dict.fromkeys((text, plain, latin(plain))))


@lru_cache(maxsize=64)
def _own(texts: tuple[str, ...]) -> str:
    """Return every spelling of a person's texts, also those in which orders are searched."""
    spelled = [each for text in texts for each in _spelled(text)]
    return "\n".join(one.lower() for each in spelled for one in (each, *order_spellings(each)))


def _bare(found: str) -> str:
    return found.lower().strip(" \n.!?")


def _copied(text: str, ground: Ground) -> list[str]:
    """Name what *text* has of the samples, word by word."""
    known, words = _grams(ground.own, COPIED_WORDS), _words(text)
    found: list[str] = []
    if (_runs(words, COPIED_WORDS) - known) & _grams(ground.history, COPIED_WORDS):
        found.append("eight words of an example")
    own_runs, runs = _grams(ground.own, SHOWN_WORDS), _runs(words, SHOWN_WORDS)
    low, times = text.lower(), Counter(one.strip().lower() for one in ground.shown)
    own = "\n".join(ground.own).lower()
    verbatim = any(
        len(one) in VERBATIM and n == 1 and _DATA.search(one) and one in low and one not in own
        for one, n in times.items()
    )
    if verbatim or (runs - own_runs) & _grams(ground.shown, SHOWN_WORDS):
        found.append("the words of a shown example")
    if (_names((text,)) - _names(ground.own)) & _names((*ground.history, *ground.shown)):
        found.append("a name or number of an example")
    return found


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


def _runs(words: list[str], length: int) -> set[tuple[str, ...]]:
    return {tuple(words[i : i + length]) for i in range(len(words) - length + 1)}


@lru_cache(maxsize=64)
def _grams(texts: tuple[str, ...], length: int) -> frozenset[tuple[str, ...]]:
    """Return every run of *length* words; kept, since a search holds hundreds of prompts against the same texts."""
    return frozenset(run for text in texts for run in _runs(_words(text), length))


@lru_cache(maxsize=64)
def _names(texts: tuple[str, ...]) -> frozenset[str]:
    """Return the words that are somebody's data rather than language: with a digit, or written as a file's name."""
    found = (match[0].lower() for text in texts for match in _NAME.finditer(text))
    own = (word for word in found if len(word) >= MIN_NAME and _OWN.search(word))
    return frozenset("".join(_WORD.findall(word)) for word in own)  # `a_1.png` and `A-1 png` are one name
