"""Members of a population, the mutation prompts they carry, and what they did on each sample."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from pipeline.domain import Fate, MutationType, SampleId

PARTLY = (Fate.DROPPED, Fate.MERGED)
"""Fates of those that were run on chosen samples only: their mean is no fitness."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An instruction as an operator left it.

    Attributes:
        instruction: rules, with the prompt's examples where it carries some (`pipeline.examples`).
        reasoning: one sentence on how it came about, for people.
        refused: why it is not worth an evaluation; empty when it is.
        spent_out: the budget ended before the generator answered; there is no instruction to speak of.
        mean_logprob, min_logprob: of the tokens of the generator's reply; None where it wrote none or does not say.
        flags: what makes the instruction suspect (`pipeline.algorithms.text_flags`).
    """

    instruction: str
    kind: MutationType
    reasoning: str
    refused: str = ""
    spent_out: bool = False
    mean_logprob: float | None = None
    min_logprob: float | None = None
    flags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationPrompt:
    """An instruction for changing instructions; `ordinal` counts within the run."""

    ordinal: int
    text: str
    parent: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a prompt did on one sample.

    Attributes:
        value: score in [0, 1].
        lost: what was lost, words of the scorer's closed set.
        output: the answer, cut at `fitness.MAX_KEPT` characters.
    """

    sample: SampleId
    value: float
    correct: bool
    lost: tuple[str, ...] = ()
    output: str = ""


def values_of(outcomes: Iterable[Outcome]) -> dict[SampleId, float]:
    """Return the score on each sample."""
    return {outcome.sample: outcome.value for outcome in outcomes}


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A variant in the population.

    Attributes:
        ordinal: counts the run's variants; 0 is the incumbent.
        slot: place in the population.
        parent, second_parent: ordinals.
        mutation: ordinal of the mutation prompt it carries.
        fitness: in [0, 1]; meaningful when `n` is not 0.
        correct, n: samples answered right, samples run.
        outcomes: on samples of the search split.
        improved: fitter than its parent.
    """

    ordinal: int
    slot: int
    generation: int
    parent: int | None
    second_parent: int | None
    mutation: int | None
    draft: Draft
    fitness: float = 0.0
    correct: int = 0
    n: int = 0
    outcomes: tuple[Outcome, ...] = ()
    improved: bool = False
    fate: Fate = Fate.ALIVE
    fate_reason: str = ""

    @property
    def whole(self) -> bool:
        """Whether its fitness may be compared: it was run on all samples that its mode asks for."""
        return self.n > 0 and self.fate not in PARTLY

    @property
    def values(self) -> dict[SampleId, float]:
        """The score on each sample of the search split that it was run on."""
        return values_of(self.outcomes)
