"""A search without labelled samples: nothing can be measured, so patterns and a few rewrites go to judge and votes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from pipeline.breeding import available, breed
from pipeline.domain import Ending, Fate, MutationType, Next, Stage
from pipeline.flow import Flow
from pipeline.population import Draft, Member, MutationPrompt
from pipeline.questions import Mating
from pipeline.search import MutateCase, MutateDecision
from pipeline.tournament import first_prompts

_WAYS = (MutationType.PATTERN, MutationType.DIRECT, MutationType.PATTERN, MutationType.FIRST_ORDER)


def unmeasured(case: MutateCase) -> Flow[MutateDecision]:
    """Breed as many finalists as the judge is to see, half of them from the pattern library, and run none."""
    if case.generation:
        return _decided(case, (), (), "the samples that prompts were measured on are gone")
    search = case.rules.settings.search
    wanted = search.finalists_per_variant * search.variants
    prompts = tuple(first_prompts(case, wanted))
    seed = Draft(instruction=case.template.instruction, kind=MutationType.SEED, reasoning="the prompt in use")
    children = [Member(ordinal=0, slot=0, generation=0, parent=None, second_parent=None, mutation=0, draft=seed)]
    for ordinal in range(1, min(wanted, max(0, case.calls_left)) + 1):
        child = yield from _child(case, children, ordinal, prompts)
        if child.draft.spent_out:
            break
        children.append(child)
    why = "no sample has a known right answer, so nothing could be measured: judge, patterns and votes decide"
    return _decided(case, tuple(children), prompts, why)


def _child(case: MutateCase, children: list[Member], ordinal: int, prompts: tuple[MutationPrompt, ...]) -> Flow[Member]:
    mating = Mating(
        ordinal=ordinal, winner=replace(children[0], mutation=ordinal - 1), failed=(),
        lost=Counter(word for failure in case.failures for word in failure.lost), mutation_prompts=prompts,
        taken=tuple(child.draft.instruction for child in children),
    )  # fmt: skip
    kind = _WAYS[ordinal % len(_WAYS)]
    bred = yield from breed(case, mating, kind if kind in available(case, mating, ()) else MutationType.FIRST_ORDER)
    refused = bred.draft.refused
    return Member(
        ordinal=ordinal, slot=0, generation=0, parent=0, second_parent=None, mutation=bred.mutation, draft=bred.draft,
        fate=Fate.REFUSED if refused else Fate.ALIVE, fate_reason=refused,
    )  # fmt: skip


def _decided(
    case: MutateCase, children: tuple[Member, ...], prompts: tuple[MutationPrompt, ...], why: str
) -> MutateDecision:
    finalists = tuple(child.ordinal for child in children[1:] if child.fate is Fate.ALIVE)
    to: Next = Stage.JUDGE if finalists else Ending.NO_IMPROVEMENT
    return MutateDecision(
        next=to, generation=case.generation, children=children, mutation_prompts=prompts, tally=(), stale=0,
        best_fitness=0.0, finalists=finalists, reason=f"{why}; {len(finalists)} finalists",
    )  # fmt: skip
