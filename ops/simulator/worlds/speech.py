"""Turns text into tokens with log-probabilities as a model of that text would give: fluent high, salad low, loops highest."""

from __future__ import annotations

from collections.abc import Sequence

from ops.simulator.world import Token, pieces
from ops.simulator.worlds.draws import chance

FLUENT = (-0.45, 0.35)  # mean and half width of the log-probability of a token
UNSURE = (-3.2, 1.6)
LOOP = (-0.02, 0.015)
REPEAT = 3  # a piece seen so often in a row counts as a loop


def spoken(text: str, *key: object, style: tuple[float, float] = FLUENT) -> tuple[Token, ...]:
    """Cut *text* into tokens; from the third repetition of a phrase on they are nearly certain."""
    words = pieces(text)
    middle, width = style
    tokens = []
    for index, word in enumerate(words):
        if looping(words, index):
            value = LOOP[0] - LOOP[1] * chance("loop", index, *key)
        else:
            value = min(middle + width * (2 * chance("logprob", index, word, *key) - 1), -0.0005)
        tokens.append(Token(word, round(value, 5)))
    return tuple(tokens)


def looping(words: Sequence[str], index: int) -> bool:
    """Tell whether the piece at *index* continues a phrase of up to 12 pieces that stands there for the third time."""
    for length in range(1, 13):
        start = index - REPEAT * length + 1
        if start < 0:
            break
        if words[index] != words[index - length]:
            continue
        phrase = words[index - length + 1 : index + 1]
        if all(
            words[index - (back + 1) * length + 1 : index - back * length + 1] == phrase for back in range(1, REPEAT)
        ):
            return True
    return False
