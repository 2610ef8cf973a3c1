"""Running a prompt on labelled samples and scoring its answers."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.algorithms.streams import seed32
from pipeline.domain import Role, SampleId
from pipeline.flow import Failed, FailureKind, Flow, Generate, Sampling, Scored, ScoreOutside, generate, score_outside
from pipeline.population import Outcome
from pipeline.rules import Rules
from pipeline.scoring import is_correct, needs_outside, score
from pipeline.skills import PromptTemplate, render

MAX_KEPT = 1000  # characters of an answer that are remembered


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """A labelled sample: an input and its right answer.

    Attributes:
        fields: the input's named texts, as pairs so that an item can be hashed and frozen.
    """

    sample: SampleId
    fields: tuple[tuple[str, str], ...]
    expected: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """How one prompt did on some items.

    Attributes:
        outcomes: one per item that was run, in order; a failed call is worth 0.
        spent_out: the budget ended before the last item; the result must not be compared.
        trouble: why the skill's own scorer failed on every one of the first items; empty while it works.
    """

    outcomes: tuple[Outcome, ...] = ()
    spent_out: bool = False
    trouble: str = ""

    @property
    def values(self) -> tuple[float, ...]:
        """One score in [0, 1] per item."""
        return tuple(outcome.value for outcome in self.outcomes)

    @property
    def correct(self) -> tuple[bool, ...]:
        """One flag per item."""
        return tuple(outcome.correct for outcome in self.outcomes)

    @property
    def mean(self) -> float:
        """Mean score in [0, 1]; 0 without items."""
        return sum(self.values) / len(self.values) if self.outcomes else 0.0


def task_request(rules: Rules, template: PromptTemplate, fields: tuple[tuple[str, str], ...], seed: int) -> Generate:
    """Build the request that runs a skill's prompt on one input."""
    skill = rules.skill
    return Generate(
        role=Role.TASK,
        prompt=render(template, dict(fields)),
        sampling=Sampling(temperature=skill.temperature, seed=seed, num_predict=skill.num_predict),
        schema=skill.schema,
    )


def evaluate(
    rules: Rules, template: PromptTemplate, items: tuple[Item, ...], seed: int, *, give_up: int = 0
) -> Flow[Result]:
    """Run *template* on every item. The seed of a call depends on the item alone, so two prompts meet the same chance.

    Args:
        rules: the skill's.
        template: what is run.
        items: on what.
        seed: of the run.
        give_up: stop when the scorer failed on so many first items and on no other; 0 never stops.
    """
    outcomes: list[Outcome] = []
    failed = 0
    for item in items:
        reply = yield from generate(task_request(rules, template, item.fields, seed32(seed, "task", item.sample)))
        if isinstance(reply, Failed) and reply.kind is FailureKind.BUDGET:
            return Result(outcomes=tuple(outcomes), spent_out=True)
        scored, text = Scored(value=0.0, lost=("no-answer",)), ""
        if not isinstance(reply, Failed):
            scored, text = (yield from scored_answer(rules, item, reply.text)), reply.text[:MAX_KEPT]
        failed += bool(scored.note)
        if give_up and failed == len(outcomes) + 1 == min(give_up, len(items)):
            return Result(outcomes=tuple(outcomes), spent_out=True, trouble=scored.note)
        right = is_correct(rules.skill, scored)
        outcomes.append(Outcome(sample=item.sample, value=scored.value, correct=right, lost=scored.lost, output=text))
    return Result(outcomes=tuple(outcomes))


def scored_answer(rules: Rules, item: Item, output: str) -> Flow[Scored]:
    """Score one answer, by our own scorer or by the skill's callable or command; one that breaks scores 0."""
    if not needs_outside(rules.skill):
        return score(rules.skill, output, item.expected, dict(item.fields))
    reply = yield from score_outside(
        ScoreOutside(scorer=rules.skill.scorer, output=output, expected=item.expected, fields=item.fields)
    )
    if isinstance(reply, Failed):
        return Scored(value=0.0, lost=("scorer-failed",), note=reply.message or "no message")
    return reply
