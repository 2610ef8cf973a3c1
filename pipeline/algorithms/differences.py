"""What a reader would call a real change between two texts that a vector calls the same.

Cosines cannot see that 60 became 30 or that "do" became "do not". The guard here looks at what carries such changes:
numbers, quotations, names, file extensions, capitals, negations, limits, conditions, the shape on the page and length.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable

_SHAPE_LIMIT = 0.35  # L1 distance of two shapes; 160 labelled pairs
_LENGTH_LIMIT = 0.30  # |ln| of the ratio of word counts; the same pairs
_MOST_CHARS = 65_536  # of each text that are compared

_QUOTES = str.maketrans({"\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00ab": '"', "\u00bb": '"'})
_DIGITS = re.compile(r"\d+(?:[.,:]\d+)*")
_NUMBER_WORD = re.compile(
    r"\b(?:zero|one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|(?:thir|four|fif|six|seven|eigh|nine)teen|"
    r"twenty|thirty|forty|fifty|sixty|seventy|eighty|ninety|hundred|thousand|million|dozen|once|twice|thrice|half|"
    r"single|both|double|triple)\b",
    re.IGNORECASE,
)
_QUOTED = re.compile(r"`([^`\n]{1,80})`|\"([^\"\n]{1,80})\"|(?<!\w)'([^'\n]{1,80})'(?!\w)")
_IDENTIFIER = re.compile(
    r"\b[a-zA-Z]\w*(?:_\w+)+|\b[a-zA-Z]+(?:-[a-zA-Z0-9]+)+|\b[a-z]+(?:[A-Z][a-z0-9]+)+|<\w+>|\{\w+\}"
)
_FILE_ENDING = re.compile(r"(?:(?<=\s)|(?<=^)|(?<=[\"'`*(])|(?<=\w))\.[a-z][a-z0-9]{1,4}\b(?!\.)")
_CAPITALS = re.compile(r"\b[A-Z][A-Z0-9]+\b")
_NEGATION = re.compile(
    r"\b(?:not|no|never|none|nothing|nobody|neither|nor|without|cannot|avoid\w*|except\w*|unless|omit\w*|exclud\w+|"
    r"skip\w*|ignor\w+|drop\w*|leave out|instead)\b|n't\b",
    re.IGNORECASE,
)
_SCOPE = re.compile(r"\b(only|just|solely|merely)\b|\b(most|least|first|last)\b", re.IGNORECASE)
_CONDITION = re.compile(r"\b(?:if|when|whenever|where|wherever|whether|unless|in case)\b", re.IGNORECASE)
_WORD = re.compile(r"\w+(?:'\w+)?")
_LINES = (
    re.compile(r"\s*[-*+\u2022]\s"),  # bullets
    re.compile(r"\s*\(?\d{1,3}[.):]\s"),  # numbered
    re.compile(r"\s*#{1,6}\s|\s*\*\*[^*]+\*\*\s*$"),  # headings
    re.compile(r"\s*\|.*\|\s*$"),  # table rows
    re.compile(r"\s*[A-Z][\w ]{0,24}:(?:\s|$)"),  # labels
    re.compile(r".*(?:->|=>|\u2192)"),  # arrows of examples
)
_BRACES = re.compile(r"[{}\[\]<>]")


def hard_difference(a: str, b: str) -> tuple[str, ...]:
    """Name what differs between two texts beyond wording; empty when nothing does.

    Returns:
        Some of `number`, `quoted`, `identifier`, `extension`, `capitals`, `negation`, `scope`, `condition`,
        `structure`, `length`, in this order.

    >>> hard_difference("Keep it under 60 characters.", "Keep it under 30 characters.")
    ('number',)
    >>> hard_difference("Name this file.", "Rename the file.")
    ()
    """
    one, other = (text[:_MOST_CHARS].translate(_QUOTES) for text in (a, b))
    return tuple(name for name, differs in _CHECKS if differs(one, other))


def normalise(text: str) -> str:
    r"""Return *text* without differences of case, white space and quotation marks, and without a closing full stop.

    >>> normalise("  Name it \u2018well\u2019.\n") == normalise("name  it 'well'")
    True
    """
    return " ".join(text.translate(_QUOTES).casefold().replace('"', "'").replace("`", "'").split()).rstrip(".")


def numbers(text: str) -> Counter[str]:
    """Count the numbers of a text, in digits or words."""
    found = Counter(_DIGITS.findall(text))
    found.update(word.lower() for word in _NUMBER_WORD.findall(text))
    return found


def negations(text: str) -> int:
    """Count the words that forbid, deny or leave out."""
    return len(_NEGATION.findall(text.translate(_QUOTES)))


def _quoted(text: str) -> set[str]:
    return {next(filter(None, groups)).strip().lower() for groups in _QUOTED.findall(text)}


def _identifiers(text: str) -> set[str]:
    return set(_IDENTIFIER.findall(text))


def _file_endings(text: str) -> set[str]:
    return set(_FILE_ENDING.findall(text))


def _capitals(text: str) -> set[str]:
    return set(_CAPITALS.findall(text))


def _scopes(text: str) -> tuple[int, int]:
    """Count the words that restrict ("only") and those that single out ("the most")."""
    found = _SCOPE.findall(text)
    return sum(bool(limit) for limit, _ in found), sum(bool(rank) for _, rank in found)


def _conditions(text: str) -> int:
    return len(_CONDITION.findall(text))


def _shape(text: str) -> tuple[float, ...]:
    """Return shares in [0, 1]: lines of each kind, brackets per word, and the number of lines on a log scale."""
    lines = [line for line in text.splitlines() if line.strip()] or [""]
    kinds = [sum(bool(kind.match(line)) for line in lines) / len(lines) for kind in _LINES]
    brackets = min(1.0, 2 * len(_BRACES.findall(text)) / max(_length(text), 1))
    return (*kinds, brackets, min(1.0, math.log2(len(lines)) / 5))


def _length(text: str) -> int:
    return len(_WORD.findall(text))


def _shapes_differ(a: str, b: str) -> bool:
    return sum(abs(one - other) for one, other in zip(_shape(a), _shape(b), strict=True)) >= _SHAPE_LIMIT


def _lengths_differ(a: str, b: str) -> bool:
    return abs(math.log((_length(a) + 1) / (_length(b) + 1))) >= _LENGTH_LIMIT


def _by(feature: Callable[[str], object]) -> Callable[[str, str], bool]:
    return lambda a, b: feature(a) != feature(b)


_CHECKS: tuple[tuple[str, Callable[[str, str], bool]], ...] = (
    ("number", _by(numbers)),
    ("quoted", _by(_quoted)),
    ("identifier", _by(_identifiers)),
    ("extension", _by(_file_endings)),
    ("capitals", _by(_capitals)),
    ("negation", _by(negations)),
    ("scope", _by(_scopes)),
    ("condition", _by(_conditions)),
    ("structure", _shapes_differ),
    ("length", _lengths_differ),
)
