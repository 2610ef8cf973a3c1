"""Ballots: results of the prompt in use and of challengers on one real task, in an order that tells nothing.

A ballot always holds the incumbent's result, except under the research notes' policy. Challengers are drawn by Thompson
sampling when there are more than places. Orders come in permuted blocks: within each block of k! ballots with k cards
every order stands once, so that a habit of the voter favours no prompt.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import permutations

from pipeline.algorithms.beta import thompson
from pipeline.algorithms.streams import seed32, stream
from pipeline.decision import INCUMBENT, Tally, Verdict
from pipeline.domain import SampleId, VariantId
from pipeline.fitness import Item, scored_answer, task_request
from pipeline.flow import Failed, Flow, generate
from pipeline.policies import SEEDS
from pipeline.rules import Rules
from pipeline.scoring import is_correct
from pipeline.skills import PromptTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """An input that may become a ballot.

    Attributes:
        expected: its right answer; None where nobody knows it.
    """

    sample: SampleId
    fields: tuple[tuple[str, str], ...]
    expected: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """One distinct result; identical results share a card, so that no look tells them apart.

    Attributes:
        correct: whether the scorer accepts it; None where the right answer is not known.
    """

    output: str
    arms: tuple[VariantId, ...]
    correct: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ballot:
    """A task's results in the order they are shown; a single card needs no vote."""

    sample: SampleId
    cards: tuple[Card, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Making:
    """What ballots are made from.

    Attributes:
        templates: the prompt in use under INCUMBENT, and the challengers.
        made: how many ballots of the run have so many cards.
    """

    rules: Rules
    seed: int
    templates: Mapping[VariantId, PromptTemplate]
    tally: Tally
    verdict: Verdict
    made: Mapping[int, int]


def ballot(making: Making, task: Task) -> Flow[Ballot | None]:
    """Run the drawn prompts on one task; None when a call failed."""
    outputs: dict[str, list[VariantId]] = {}
    for variant in draw(making, task):
        seed = seed32(making.seed, "task", task.sample)
        reply = yield from generate(task_request(making.rules, making.templates[variant], task.fields, seed))
        if isinstance(reply, Failed):
            return None
        outputs.setdefault(_keepable(reply.text).strip(), []).append(variant)
    cards: list[Card] = []
    for output, arms in outputs.items():
        correct = yield from _correct(making.rules, task, output)
        cards.append(Card(output=output, arms=tuple(arms), correct=correct))
    order = arrangement(making.seed, len(cards), making.made.get(len(cards), 0))
    return Ballot(sample=task.sample, cards=tuple(cards[i] for i in order))


def draw(making: Making, task: Task) -> tuple[VariantId, ...]:
    """Draw the prompts of one ballot: the incumbent, and challengers by Thompson sampling from Beta(1 + wins, 1 + losses).

    The research notes draw all of them at random instead, the incumbent like any other.
    """
    places, tally = making.rules.settings.voting.cards, making.tally
    rng = stream(making.seed, "thompson", task.sample, tally.votes)
    arms = [arm for arm in tally.arms if arm.variant not in making.verdict.dropped]
    if making.rules.settings.voting.policy == SEEDS:
        everybody = (INCUMBENT, *(arm.variant for arm in arms))
        return tuple(everybody[int(i)] for i in rng.permutation(len(everybody))[:places])
    draws = thompson(rng, tuple(arm.wins for arm in arms), tuple(arm.losses for arm in arms))
    best = sorted(range(len(arms)), key=lambda i: -draws[i])[: places - 1]
    return (INCUMBENT, *sorted(arms[i].variant for i in best))


def arrangement(seed: int, cards: int, number: int) -> tuple[int, ...]:
    """Return the order of ballot *number* (from 0) among those with so many cards.

    >>> sorted(arrangement(7, 2, n) for n in range(2))
    [(0, 1), (1, 0)]
    """
    orders = list(permutations(range(cards)))
    block, place = divmod(number, len(orders))
    return orders[int(stream(seed, "order", cards, block).permutation(len(orders))[place])]


def _correct(rules: Rules, task: Task, output: str) -> Flow[bool | None]:
    if task.expected is None:
        return None
    item = Item(sample=task.sample, fields=task.fields, expected=task.expected)
    scored = yield from scored_answer(rules, item, output)
    return None if scored.note else is_correct(rules.skill, scored)


def _keepable(text: str) -> str:
    """Replace what no database keeps as text: zero bytes, and halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")
