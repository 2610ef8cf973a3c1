"""How alike two texts are by their words and letters, without any model."""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_SHORTEST, _LONGEST = 3, 5  # letters of an n-gram
_SIGN_BIT = 1 << 31  # of the hash; the place comes from the low bits
_WORD = re.compile(r"\w+|[^\w\s]+")
_PLURALS = (
    (re.compile(r"(?<=..)ies$"), "y"),
    (re.compile(r"(?<=[sxz])es$"), ""),
    (re.compile(r"(?<=..)(?<![sui])s$"), ""),
)
_SUFFIX = re.compile(r"(?<=...)(?:ing|ed)$")
_DOUBLED = re.compile(r"([^lsz])\1$")
_FINAL_E = re.compile(r"(?<=..)e$")


def overlap(found: set[str], wanted: set[str]) -> tuple[float, float, float]:
    """Return (precision, recall, F1) of two sets, each in [0, 1]; two empty sets agree fully.

    >>> overlap({"a", "b"}, {"a"})
    (0.5, 1.0, 0.6666666666666666)
    """
    if not found or not wanted:
        same = float(found == wanted)
        return same, same, same
    hits = len(found & wanted)
    return hits / len(found), hits / len(wanted), 2 * hits / (len(found) + len(wanted))


def stem(word: str) -> str:
    """Cut plural, -ing and -ed from a lower-case English word, roughly: stems are for comparing, not for showing.

    >>> [stem(word) for word in ("settings", "copies", "boxes", "running", "named", "name", "bus")]
    ['set', 'copy', 'box', 'run', 'nam', 'nam', 'bus']
    """
    for plural, singular in _PLURALS:
        if plural.search(word):
            word = plural.sub(singular, word)
            break
    word, cut = _SUFFIX.subn("", word)
    if cut:
        word = _DOUBLED.sub(r"\1", word)
    return _FINAL_E.sub("", word)


def hashed_ngrams(text: str, dims: int = 1024) -> Floats:
    """Turn a text into a unit vector without any model: signed hashes of the 3- to 5-letter pieces of its words.

    The same text gives the same vector in every process. Cosines are on a scale of their own: paraphrases of a prompt
    have a median near 0.69, and 0.53 parts near from far as 0.70 does for all-MiniLM-L6-v2.

    Args:
        text: any; case and white space do not count.
        dims: length of the vector, a power of two.

    Returns:
        Shape (dims,), unit length, or all zeros for a text without words.
    """
    vector = np.zeros(dims)
    for gram, count in Counter(_grams(text)).items():
        code = zlib.crc32(gram.encode("utf-8", "surrogatepass"))
        vector[code % dims] += (1 + math.log(count)) * (1 if code & _SIGN_BIT else -1)
    length = float(np.linalg.norm(vector))
    return vector / length if length else vector


def _grams(text: str) -> Iterator[str]:
    """Yield the pieces of each word, its ends marked by spaces; pieces never cross words."""
    for word in _WORD.findall(text.casefold()):
        padded = f" {word} "
        for size in range(_SHORTEST, min(_LONGEST, len(padded)) + 1):
            for start in range(len(padded) - size + 1):
                yield padded[start : start + size]
