"""Rewrites instructions as a small or a large model does, whichever optimiser asks: keeps, forgets, heeds hints, babbles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ops.simulator.world import Answer, Ask
from ops.simulator.worlds.draws import between, chance, choose, shuffled
from ops.simulator.worlds.generator_mind import gibberish
from ops.simulator.worlds.records_replies import formed, malformed
from ops.simulator.worlds.records_requests import Request, read_request
from ops.simulator.worlds.records_rules import RULES, read_instruction
from ops.simulator.worlds.records_stock import HARMFUL, MUTATIONS, NEUTRAL, OPENINGS, SOUND
from ops.simulator.worlds.records_task_mind import quick_tokens
from ops.simulator.worlds.requests import sentences
from ops.simulator.worlds.speech import spoken


@dataclass(frozen=True, slots=True, kw_only=True)
class Talent:
    """How able a generator is; every number is a chance.

    Attributes:
        keep: that a sentence of the parent is in the child.
        merge: that a sentence which only one of two parents has is taken over, before `keep`.
        hint: that a loss named in the request, whose rule the parent lacks, is answered by that rule.
        compared: the same for a loss that shows only between a shown answer and the wanted one.
        adds: that one sentence out of the blue is added when the request gives no hint.
        salad: that the whole reply is word salad, a loop or noise.
        malformed: that the reply does not have the form asked for.
    """

    keep: float
    merge: float = 0.75
    hint: float
    compared: float
    adds: float = 0.6
    salad: float
    malformed: float


TALENTS: Mapping[str, Talent] = {
    "small": Talent(keep=0.80, hint=0.35, compared=0.175, salad=0.15, malformed=0.10),
    "strong": Talent(keep=0.97, hint=0.80, compared=0.40, salad=0.0, malformed=0.0),
}
"""Profiles by name: a model of a third of a billion parameters, and a large hosted one."""


@dataclass(frozen=True, slots=True)
class RecordsGenerator:
    """Answers every request for instructions, advice and mutation prompts."""

    seed: int
    talent: Talent

    def answer(self, ask: Ask) -> Answer:
        """Write the reply with its log-probabilities."""
        request = read_request(ask.text, ask.messages[-1].content if ask.messages else "", ask.schema)
        key = (self.seed, ask.key)
        draw = chance("outcome", *key)
        if draw < self.talent.salad:
            text, style = gibberish(key)
            return Answer(mind="generator", tokens=spoken(text, *key, style=style))
        if request.task == "mutation-prompt":
            text = choose(MUTATIONS, "mutation", *key)
        elif draw < self.talent.salad + self.talent.malformed:
            text = malformed(self.child(request, key), request, key)
        else:
            text = formed(self.child(request, key), request)
        return Answer(mind="generator", tokens=quick_tokens(text, ask.key))

    def child(self, request: Request, key: tuple[object, ...]) -> str:
        """Write the new instruction, or only the advice when that is asked for."""
        parent = self._parent(request, key)
        kept = [one for one in parent if chance("keep", one, *key) < self.talent.keep]
        told = read_instruction("\n".join(parent)).rules if parent else 0
        wanted = [rule.lost for bit, rule in enumerate(RULES) if not told >> bit & 1]
        hinted = [lost for lost in wanted if lost in request.hints or lost in request.compared]
        heeded = [lost for lost in hinted if chance("hint", lost, *key) < self._share(lost, request)]
        added = [choose(SOUND[lost], "wording", lost, *key) for lost in shuffled(heeded, "order", *key)]
        if not parent and not request.advice:
            kept = self._afresh(key)
        elif not hinted and chance("adds", *key) < self.talent.adds:
            added = [stray((*key, "added"))]
        return " ".join(dict.fromkeys([*added] if request.advice else [*kept, *added]))

    def _share(self, lost: str, request: Request) -> float:
        return self.talent.hint if lost in request.hints else self.talent.compared

    def _parent(self, request: Request, key: tuple[object, ...]) -> list[str]:
        """Cut the parent into sentences; of many offered prompts two are drawn and merged."""
        texts: Sequence[str] = shuffled(request.parents, "parents", *key)[:2]
        lists = [list(dict.fromkeys(sentences(text))) for text in texts]
        if len(lists) < 2:  # noqa: PLR2004 - nothing to merge
            return lists[0] if lists else []
        shared = set(lists[0]) & set(lists[1])
        everything = dict.fromkeys([*lists[0], *lists[1]])
        return [one for one in everything if one in shared or chance("merge", one, *key) < self.talent.merge]

    def _afresh(self, key: tuple[object, ...]) -> list[str]:
        return [
            choose(OPENINGS, "opening", *key),
            *(stray((*key, index)) for index in range(between(2, 4, "count", *key))),
        ]


def stray(key: tuple[object, ...]) -> str:
    """Draw a sentence out of the blue: sound, idle and unwise ones are equally likely."""
    kind = choose(("sound", "neutral", "harmful"), "kind", *key)
    if kind == "sound":
        return choose(SOUND[choose([rule.lost for rule in RULES], "rule", *key)], "sentence", *key)
    return choose(NEUTRAL if kind == "neutral" else HARMFUL, "sentence", *key)
