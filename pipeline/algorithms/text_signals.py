"""Tell text that means something from text that a small model wrote when it fell apart, without any model.

Four named detectors, each with its own cut, rather than one learned score: learned weights did not carry over to kinds
of gibberish that they had not seen. Semi-grammatical nonsense passes all of them; that is for a judge.
"""

from __future__ import annotations

import math
import re
import zlib
from dataclasses import dataclass
from itertools import pairwise

from pipeline.algorithms.word_order import order_gain

LOOP, SALAD, NOISE, SHUFFLE = "loop", "salad", "noise", "shuffle"

_MOST_CHARS = 65_536  # of a text that are looked at
_LOOP_TRIGRAMS = 0.22  # share of word trigrams that occurred before
_LOOP_ZLIB, _LOOP_UNIQUE = 0.42, 0.35  # compressed size by size, and share of different words; both below
_LOOP_WORDS = 12  # fewest words for either
_SALAD_RUN = 7  # content words in a row, no function word or punctuation between
_SALAD_FUNCTION = 0.12  # share of function words, with
_SALAD_MARKS = 0.12  # punctuation marks per word, and
_SALAD_OTHER = 0.06  # share of characters that are neither letters, digits nor space
_SALAD_WORDS = 6  # fewest words for the shares
_NOISE_BITS = 2.95  # mean rarity of letter pairs: good English texts reach 2.77, corrupted ones start at 3.00
_NOISE_SLACK = 1.5  # added by the square root of the number of pairs: short texts scatter
_NOISE_PAIRS = 30  # fewest pairs
_NOISE_FOREIGN = 0.05  # share of words with letters beyond a-z above which the table says nothing

_SHUFFLE_GAIN = -0.15  # bits: 162 good prompts have -0.02 or more, 22 of 24 shuffled ones less than -0.15
_SHUFFLE_TOKENS = 18  # fewest: a sentence such as "Leave out the, a, of and in." is good
_SHUFFLE_FUNCTION = 0.10  # fewest English function words among the words: other languages are not judged

_TOKEN = re.compile(r"[^\W\d_]+(?:['\u2019-][^\W\d_]+)*|\d+|[^\w\s]|_|\n")
_PLAIN_WORD = re.compile(r"[A-Za-z]+")
_FUNCTION_WORD = re.compile(
    # English
    r"a|about|above|across|after|again|against|all|along|also|although|always|am|among|an|and|any|anything|are|around|as|"
    r"at|back|be|because|been|before|being|below|between|both|but|by|can|cannot|could|did|do|does|done|down|during|each|"
    r"either|else|enough|even|ever|every|everything|few|for|from|further|had|has|have|he|her|here|him|his|how|however|i|if|"
    r"in|into|is|it|its|itself|just|least|less|like|many|may|me|might|more|most|much|must|my|near|neither|never|no|none|"
    r"nor|not|nothing|now|of|off|often|on|once|one|only|onto|or|other|others|our|out|over|own|per|rather|same|shall|she|"
    r"should|since|so|some|something|still|such|than|that|the|their|them|then|there|these|they|this|those|though|through|"
    r"to|too|under|until|up|upon|us|very|was|we|were|what|when|where|whether|which|while|who|whom|whose|why|will|with|"
    r"within|without|would|yet|you|your|yours|"
    # German, French, Spanish, Italian, Dutch: the few that keep a prompt in them from being called salad
    r"der|die|das|den|dem|des|ein|eine|einen|einem|einer|und|oder|ist|sind|nicht|mit|von|zu|im|auf|nach|aus|wenn|nur|als|"
    r"le|la|les|un|une|du|de|et|ou|est|en|dans|avec|pour|par|sur|sans|que|qui|el|los|las|y|o|es|con|por|para|del|al|sin|"
    r"il|lo|gli|e|di|che|per|non|della|het|een|van|op|voor|naar|niet|met|dit|bij"
)
_RARITY = (
    # Bits of each letter after another, less one, as a digit 0 to 9: 27 x 27 in the order " abc...z", row by row; from the
    # words of the Python standard library's documentation.
    "934233454376434437323454777573349648496242949231556758325452778359167369435389949329462992493378188452499969"
    "047751779278587489547479969247325558798442756224857479339762369189376279364399949049882853399464489346498987"
    "219881899299566299463599959644344449997341258433949694229641399344999267739197969136961659257485659625594979"
    "227741689297387269844469939314971899298647329947499969238333527385675479832559979455337659585331439244344789"
    "328762885397298239243499959379779999999596999656099999227551659296545369533567959059472784396577449832398969"
    "238571793199579369334497949643453559499232539222899799419790989299988499779898999227852992299583299336996899"
    "236362685299657729862889656087564769499554439644976996329790597299767497695999956"
)


@dataclass(frozen=True, slots=True)
class Sign:
    """What a detector saw.

    Attributes:
        detector: its name.
        evidence: the measured value beside its limit, in words without any of the text.
    """

    detector: str
    evidence: str

    def __str__(self) -> str:
        """Join both."""
        return f"{self.detector} ({self.evidence})"


def gibberish(text: str) -> str:
    """Return the name of the detector that refuses *text*, or "" when none does; see `examine`.

    >>> gibberish("Name the file after what the picture shows.")
    ''
    >>> gibberish("File rename descriptive visual content structured format examples")
    'salad'
    """
    found = examine(text)
    return found.detector if found is not None else ""


def examine(text: str) -> Sign | None:
    """Return the first detector that refuses *text* (`loop`, `noise`, `salad` or `shuffle`), with what it measured.

    >>> print(examine("the the file what picture after shows name that of keep and must with it in is a short of"))
    shuffle (its words follow one another -0.52 bits better than by chance; at least -0.15)
    """
    text = text[:_MOST_CHARS]
    tokens = _TOKEN.findall(text)
    words = [token.lower() for token in tokens if token[0].isalpha()]
    return _loops(text, words) or _noise(text, words) or _salad(text, tokens, len(words)) or _shuffled(tokens, words)


def content_words(text: str) -> list[str]:
    """Return the words of *text* in lower case without the small ones that every text has.

    >>> content_words("Name the file after what it shows.")
    ['name', 'file', 'shows']
    """
    words = (token.lower() for token in _TOKEN.findall(text[:_MOST_CHARS]) if token[0].isalpha())
    return [word for word in words if not _FUNCTION_WORD.fullmatch(word)]


def _loops(text: str, words: list[str]) -> Sign | None:
    """Tell whether the text repeats itself."""
    if len(words) < _LOOP_WORDS:
        return None
    trigrams = list(zip(words, words[1:], words[2:], strict=False))
    again = 1 - len(set(trigrams)) / len(trigrams)
    if again > _LOOP_TRIGRAMS:
        return Sign(LOOP, f"{again:.0%} of its word trigrams occurred before; at most {_LOOP_TRIGRAMS:.0%}")
    if len(set(words)) / len(words) >= _LOOP_UNIQUE:
        return None
    data = text.encode("utf-8", "surrogatepass")
    size = len(zlib.compress(data)) / len(data)
    return Sign(LOOP, f"compresses to {size:.0%}; at least {_LOOP_ZLIB:.0%}") if size < _LOOP_ZLIB else None


def _noise(text: str, words: list[str]) -> Sign | None:
    """Tell whether letters follow one another as they do not in English; words in capitals are names and left out."""
    if sum(not word.isascii() for word in words) > _NOISE_FOREIGN * len(words):
        return None
    bits = pairs = 0
    for word in _PLAIN_WORD.findall(text):
        if not word.isupper():
            places = [0, *(ord(letter) - 96 for letter in word.lower()), 0]
            pairs += len(places) - 1
            bits += sum(_BITS[27 * one + other] for one, other in pairwise(places))
    if pairs < _NOISE_PAIRS:
        return None
    rarity, limit = bits / pairs, _NOISE_BITS + _NOISE_SLACK / math.sqrt(pairs)
    return (
        Sign(NOISE, f"its letters follow one another at {rarity:.2f} bits; at most {limit:.2f}")
        if rarity > limit
        else None
    )


def _salad(text: str, tokens: list[str], words: int) -> Sign | None:
    """Tell whether content words stand in a row without the small words that would bind them."""
    run = longest = function = marks = 0
    for token in tokens:
        if not token[0].isalpha():
            marks += not token.isspace() and not token.isdigit()
            run = 0
        elif _FUNCTION_WORD.fullmatch(token.lower()):
            function, run = function + 1, 0
        else:
            run += 1
            longest = max(longest, run)
    if longest >= _SALAD_RUN:
        return Sign(SALAD, f"{longest} content words in a row; at most {_SALAD_RUN - 1}")
    if words < _SALAD_WORDS:
        return None
    other = sum(not character.isalnum() and not character.isspace() for character in text)
    bare = (
        function < _SALAD_FUNCTION * words and marks < _SALAD_MARKS * words and other < _SALAD_OTHER * max(len(text), 1)
    )
    words_of_use = f"{function / words:.0%} function words, at least {_SALAD_FUNCTION:.0%}, and hardly a mark between"
    return Sign(SALAD, words_of_use) if bare else None


def _shuffled(tokens: list[str], words: list[str]) -> Sign | None:
    """Tell whether the words stand in an order that English does not have."""
    if len(tokens) < _SHUFFLE_TOKENS:
        return None
    function = sum(_FUNCTION_WORD.fullmatch(word) is not None for word in words)
    gain = order_gain(tokens)
    if function < _SHUFFLE_FUNCTION * len(words) or gain >= _SHUFFLE_GAIN:
        return None
    return Sign(
        SHUFFLE, f"its words follow one another {gain:.2f} bits better than by chance; at least {_SHUFFLE_GAIN}"
    )


_BITS = tuple(int(digit) for digit in _RARITY)
