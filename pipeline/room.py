"""How long a question to the generator may be, and how one that is too long is made shorter: never by the server.

Successes go first, then failures one by one; the counts of what was lost stay, so that nothing is forgotten but wording.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from pipeline.algorithms.tokens import UNTAUGHT, Gauge
from pipeline.domain import Role
from pipeline.meta_prompt import Failure, Success, failures_text, successes_text
from pipeline.rules import Rules

MARGIN = 32  # tokens kept free beside the reply
TEMPLATE = 256  # tokens that a chat template adds at most to an exact count, where more has not been seen
LEAST_LISTED = 2  # prompts of a list that is to be continued
_SERVER_CONTEXT = 4096  # of a foreground model whose own context the configuration does not name; Ollama's default

Exact = Callable[[str], int | None]
"""Counts a text by the model's own vocabulary; None where it cannot be read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What a question may be made shorter by.

    Attributes:
        listed: prompts of a list, the most telling last.
    """

    failures: tuple[Failure, ...] = ()
    successes: tuple[Success, ...] = ()
    listed: tuple[str, ...] = ()

    def smaller(self) -> Shown | None:
        """Leave one thing out: a success, then a failure, then the list's first prompt; None when nothing is left."""
        if self.successes:
            return replace(self, successes=self.successes[:-1])
        if self.failures:
            return replace(self, failures=self.failures[:-1])
        return replace(self, listed=self.listed[1:]) if len(self.listed) > LEAST_LISTED else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """What a question to the generator may measure, in its tokens.

    Attributes:
        prompt: of all of it, its chat template included.
        examples: of failures and successes together.
        gauge: bounds a count where the vocabulary cannot be read.
        exact: counts by the vocabulary; asked only where a text has more bytes than there is room for tokens.
    """

    prompt: int
    examples: int
    gauge: Gauge = UNTAUGHT
    exact: Exact | None = None

    def holds(self, text: str, limit: int) -> bool:
        """Tell whether *text*, sent as a prompt, has at most *limit* tokens.

        No byte-level vocabulary makes more tokens than a text has bytes; the gauge decides only where there is none to
        be read, since texts can be written that any estimate takes for shorter than they are.
        """
        if len(text.encode("utf-8", "replace")) + self._template <= limit:
            return True
        exact = self.exact(text) if self.exact is not None else None
        return self.gauge.at_most(text) <= limit if exact is None else exact + self._template <= limit

    @property
    def _template(self) -> int:
        return max(TEMPLATE, math.ceil(self.gauge.offset * self.gauge.factor))


def room_of(rules: Rules, gauge: Gauge = UNTAUGHT, exact: Exact | None = None) -> Room:
    """Return the room under *rules*: as much as the settings allow and the generator's context holds beside its reply."""
    models = rules.settings.models
    prompt = min(models.generator_prompt_tokens, most_counted(rules))
    return Room(prompt=prompt, examples=min(models.generator_example_tokens, prompt), gauge=gauge, exact=exact)


def most_counted(rules: Rules) -> int:
    """Return the tokens that a question has at most when it was not cut; a count above it teaches nothing."""
    models, foreground = rules.settings.models, rules.settings.foreground
    shared = rules.tag(Role.GENERATOR) == foreground.model
    context = dict(foreground.options or ()).get("num_ctx", _SERVER_CONTEXT) if shared else models.generator_num_ctx
    return max(context - models.generator_num_predict - MARGIN, 1)


def fitted(build: Callable[[Shown], str], shown: Shown, room: Room, *, sent: Callable[[str], str] = str) -> str:
    """Build a question of at most the room's tokens.

    Args:
        build: writes the question from what is shown; what it writes beside that is never cut.
        shown: all that could be shown.
        room: the limits.
        sent: makes of the question what is sent, which is what counts.

    Returns:
        The question; empty when it is too long even with nothing left to leave out.
    """
    left: Shown | None = shown
    while left is not None:
        examples = f"{failures_text(left.failures)}\n{successes_text(left.successes)}"
        if not (left.failures or left.successes) or room.holds(examples, room.examples):
            question = build(left)
            if room.holds(sent(question), room.prompt):
                return question
        left = left.smaller()
    return ""
