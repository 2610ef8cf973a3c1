"""How many tokens a text has for a model whose vocabulary cannot be read: an estimate, and a bound that learns.

The estimate counts words, long words, digits, marks and foreign letters with weights fitted to one large vocabulary; what
another model and its chat template make of that is learned from the counts that the server sends back with every reply.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass

_PIECE = re.compile(
    r"(?P<cjk>[\u2e80-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef])|(?P<word>[A-Za-z]+)|(?P<foreign>[^\W\d_A-Za-z]+)|"
    r"(?P<digit>\d)|(?P<line>\n)|(?P<gap>[^\S\n]{2,})|(?P<mark>[!-/:-@\[-`{-~])|(?P<other>[^\w\s])"
)
_WORD, _LETTER, _DIGIT, _MARK, _LINE, _GAP = 1.01, 0.116, 0.754, 0.496, 0.408, 1.25  # tokens; peer study, cl100k
_FOREIGN, _CJK, _CAPITAL = 0.476, 1.02, 0.09
_HUMP, _STRANGE = 0.6, 0.35  # a capital inside a word, a letter beyond the 14th: random text has many of both
_OTHER = 0.7  # per byte of a character that is neither: emoji, signs
_SHORT, _LONG = 5, 14  # letters up to which a word is one token; up to which it is a word

PRIOR_OFFSET, PRIOR_SLOPE = 8.0, 1.0  # tokens of a chat template, tokens by estimate (peer study)
_OFFSET_SPREAD, _SLOPE_SPREAD, _NOISE = 24.0, 0.2, 0.05  # of the prior, and of one count relative to its size
_FORGET = 0.995  # weight of a call after the next one
_RATIOS = 200  # newest calls whose highest ratio makes the bound: the next one is below it in 99.5 % of all orders
_FIRST = 0.6  # added to the bound before the first call; it fades as calls are counted
_FADE = 1.2
_LEARNING = 5  # first calls, at least, and the first quarter: their surprises say nothing of a gauge that has learned
_LEAST, _MOST = 1.03, 2.0  # of the bound's factor
_OFFSETS, _SLOPES = (0.0, 1000.0), (0.3, 4.0)  # beyond them a server's counts are no counts of this text


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """What the counts of one model and kind of job have taught.

    Attributes:
        offset: tokens that its chat template adds.
        slope: tokens by estimated token.
        factor: on the expected count; the count is below it in 99 of 100 calls.
        calls: what it was learned from.
    """

    offset: float = PRIOR_OFFSET
    slope: float = PRIOR_SLOPE
    factor: float = 1 + _FIRST
    calls: int = 0

    def expected(self, guess: float) -> float:
        """Return the tokens to be expected for an estimate."""
        return self.offset + self.slope * guess

    def at_most(self, text: str) -> int:
        """Return the tokens that *text* has at most, in 99 of 100 calls.

        >>> Gauge().at_most("Name the file.")
        17
        """
        return math.ceil(self.expected(estimate(text)) * self.factor)


UNTAUGHT = Gauge()


def estimate(text: str) -> float:
    """Estimate the tokens of *text*, without any template.

    >>> estimate("Name the file."), estimate("")
    (3.526, 0.0)
    """
    total = 0.0
    for piece in _PIECE.finditer(text):
        kind, found = piece.lastgroup, piece[0]
        if kind == "word":
            total += _word(found)
        elif kind == "foreign":
            total += _FOREIGN * len(found) + _WORD / 2
        elif kind == "other":
            total += _OTHER * len(found.encode("utf-8", "surrogatepass"))
        else:
            total += _WEIGHTS[kind or "mark"]
    return total


def calibrated(calls: Iterable[tuple[float, int]], most: int) -> Gauge:
    """Learn offset, slope and bound by recursive least squares on the relative error.

    Args:
        calls: (estimate, tokens that the server counted), oldest first.
        most: counts of as many tokens or more are left out: the server may have cut the prompt.

    Returns:
        What they taught; the prior where there is none.
    """
    a, b = PRIOR_OFFSET, PRIOR_SLOPE
    paa, pab, pbb = _OFFSET_SPREAD**2, 0.0, _SLOPE_SPREAD**2
    used = [(guess, count) for guess, count in calls if 0 < count < most and 0 <= guess < most * _SLOPES[1]]
    ratios = list[float]()
    for guess, count in used:
        ratios.append(count / max(a + b * guess, 1.0))
        va, vb = paa + pab * guess, pab + pbb * guess  # P x
        spread = va + vb * guess + (_NOISE * count) ** 2
        error = count - (a + b * guess)
        a, b = _within(a + va / spread * error, _OFFSETS), _within(b + vb / spread * error, _SLOPES)
        paa, pab, pbb = (
            (p - one * other / spread) / _FORGET for p, one, other in ((paa, va, va), (pab, va, vb), (pbb, vb, vb))
        )
        paa, pbb = min(paa, _OFFSET_SPREAD**2), min(pbb, _SLOPE_SPREAD**2)
    after = [count / max(a + b * guess, 1.0) for guess, count in used]
    return Gauge(offset=a, slope=b, factor=_factor(ratios, after), calls=len(used))


def _factor(before: list[float], after: list[float]) -> float:
    """Return the factor that held in every one of the newest calls, with a reserve while there are few.

    Args:
        before: each count by what was expected before it was known: honest, but of a gauge that had learned less.
        after: each count by what is expected now: of the gauge as it is, but it has seen the count.
    """
    high = max(after[-_RATIOS:], default=1.0)
    surprise = max(before[max(_LEARNING, len(before) // 4) :][-_RATIOS:], default=1.0)
    return _within(max(high, surprise) + _FIRST / math.sqrt(1 + len(before)) ** _FADE, (_LEAST, _MOST))


def _word(found: str) -> float:
    capitals = 0 if found.islower() else sum(letter.isupper() for letter in found)
    humps = 0 if found.isupper() or not capitals else capitals - found[0].isupper()
    extra = _LETTER * max(0, len(found) - _SHORT) + _STRANGE * max(0, len(found) - _LONG)
    return _WORD + extra + _CAPITAL * capitals + _HUMP * humps


def _within(value: float, limits: tuple[float, float]) -> float:
    return min(max(value, limits[0]), limits[1])


_WEIGHTS = {"cjk": _CJK, "digit": _DIGIT, "line": _LINE, "gap": _GAP, "mark": _MARK}
