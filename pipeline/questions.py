"""What the generator is asked for a child: each operator's question, never longer than there is room for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from pipeline import examples, operators
from pipeline.domain import MutationType
from pipeline.meta_prompt import Failure, Success, sealed
from pipeline.population import Member, MutationPrompt
from pipeline.room import Shown, fitted
from pipeline.search import MutateCase

_LISTED = 8  # most members in the lists of EDA and lineage


@dataclass(frozen=True, slots=True, kw_only=True)
class Mating:
    """Who is to have a child, and what may be looked at for it.

    Attributes:
        failed: the parent's own failures on the search split that the generator is shown.
        lost: how often each kind of loss occurred in all of its failures.
        mutation_prompts: of the run, those of this visit among them.
        taken: instructions that were tried before.
    """

    ordinal: int
    winner: Member
    failed: tuple[Failure, ...]
    lost: Counter[str]
    mutation_prompts: tuple[MutationPrompt, ...]
    taken: tuple[str, ...]

    @staticmethod
    def counted(member: Member) -> Counter[str]:
        """Count each kind of loss in all failures of *member*."""
        return Counter(word for outcome in member.outcomes if not outcome.correct for word in outcome.lost)


def question(
    case: MutateCase, mating: Mating, mates: list[Member], kind: MutationType, means: tuple[str, str],
    success: Success | None, rng: np.random.Generator,

) -> str:  # fmt: skip
    """Write the question to the generator, with as much of what it shows as there is room for.

    Args:
        case: the visit.
        mating: whose child it is for.
        mates: other members, for the operators that list prompts.
        kind: the operator.
        means: mutation prompt and thinking style.
        success: an accepted answer, for the operator that guesses its instruction.
        rng: draws the order of a list.

    Returns:
        The question; empty when it is too long even with nothing left to leave out.
    """
    parent = examples.rules_of(mating.winner.draft.instruction)
    shown, build = _with_examples_of(case, mating, kind) or (Shown(), None)
    if build is None:
        listed = _listed_for(case, mating, mates, kind, rng)
        shown, build = Shown(listed=listed), lambda left: _plainly(case, kind, means, parent, success, left.listed)
    return fitted(build, shown, case.room, sent=lambda text: sealed(text, case.seed))


def _with_examples_of(
    case: MutateCase, mating: Mating, kind: MutationType
) -> tuple[Shown, Callable[[Shown], str]] | None:
    """Return what the operators that show examples may show, and how they ask; None for the others."""
    about, parent = case.rules.skill.about, examples.rules_of(mating.winner.draft.instruction)
    logged = dict(case.lost) or None
    if kind is MutationType.REFLECTIVE:
        shown = Shown(failures=mating.failed)
        return shown, lambda left: operators.reflective(parent, about, left.failures, mating.lost, mating.winner.n)
    if kind is MutationType.DIRECT:
        shown = Shown(failures=case.failures, successes=case.successes)
        return shown, lambda left: operators.direct(parent, about, left.failures, left.successes, logged, case.failed)
    if kind is MutationType.ZERO_ORDER:
        if mating.failed:
            shown = Shown(failures=mating.failed)
            return shown, lambda left: operators.zero_order(about, left.failures, mating.lost, mating.winner.n)
        shown = Shown(failures=case.failures)
        return shown, lambda left: operators.zero_order(about, left.failures, logged, case.failed)
    return None


def _listed_for(
    case: MutateCase, mating: Mating, mates: list[Member], kind: MutationType, rng: np.random.Generator
) -> tuple[str, ...]:
    """Return the prompts that an operator lists, the most telling last; none for those that list none."""
    if kind is MutationType.EDA:
        listed = _distinct((mating.winner, *mates))
        return tuple(listed[int(i)] for i in rng.permutation(len(listed))[:_LISTED])
    if kind is MutationType.EDA_RANK:
        return tuple(_distinct(sorted((mating.winner, *mates), key=lambda m: (m.fitness, -m.ordinal)))[-_LISTED:])
    return tuple(ancestors(case, mating.winner)[-_LISTED:]) if kind is MutationType.LINEAGE else ()


def _plainly(
    case: MutateCase, kind: MutationType, means: tuple[str, str], parent: str, success: Success | None,
    listed: tuple[str, ...],
) -> str:  # fmt: skip
    """Ask as the operators do that show no failures."""
    (mutation, style), about = means, case.rules.skill.about
    if kind is MutationType.EDA:
        return operators.eda(listed, about)
    if kind is MutationType.EDA_RANK:
        return operators.eda_rank(listed, mutation, about)
    if kind is MutationType.LINEAGE:
        return operators.lineage(listed, about)
    if kind is MutationType.LAMARCKIAN and success is not None:
        return operators.lamarckian(success, about)
    if case.generation == 0:
        return operators.initial(mutation, style, parent, about)
    return operators.first_order(mutation, parent, about)


def ancestors(case: MutateCase, member: Member) -> list[str]:
    """The rules of *member* and its ancestors in order of time."""
    known = {m.ordinal: m for m in case.finished}
    line: list[str] = []
    at: Member | None = member
    while at is not None:
        line.append(examples.rules_of(at.draft.instruction))
        at = known.get(at.parent) if at.parent is not None else None
    return list(dict.fromkeys(reversed(line)))


def _distinct(members: Sequence[Member]) -> list[str]:
    return list(dict.fromkeys(examples.rules_of(m.draft.instruction) for m in members))
