"""Members of a population and the mutation prompts they carry."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline.domain import Fate, MutationType


@dataclass(frozen=True, slots=True, kw_only=True)
class Draft:
    """An instruction as an operator left it.

    Attributes:
        reasoning: one sentence on how it came about, for people.
        refused: why it is not worth an evaluation; empty when it is.
        spent_out: the budget ended before the generator answered; there is no instruction to speak of.
    """

    instruction: str
    kind: MutationType
    reasoning: str
    refused: str = ""
    spent_out: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class MutationPrompt:
    """An instruction for changing instructions; `ordinal` counts within the run."""

    ordinal: int
    text: str
    parent: int | None


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
    improved: bool = False
    fate: Fate = Fate.ALIVE
    fate_reason: str = ""
