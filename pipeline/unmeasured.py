"""A search without labelled samples: nothing can be measured, so patterns and a few rewrites go to judge and votes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

from pipeline.breeding import Mating, available, breed
from pipeline.domain import Ending, Fate, MutationType, Next, Stage
from pipeline.flow import Flow
from pipeline.population import Draft, Member
from pipeline.search import MutateCase, MutateDecision
from pipeline.tournament import first_prompts

_WAYS = (MutationType.PATTERN, MutationType.DIRECT, MutationType.PATTERN, MutationType.FIRST_ORDER)


def unmeasured(case: MutateCase) -> Flow[MutateDecision]:
    """Breed as many finalists as the judge is to see, half of them from the pattern library, and run none."""
    search = case.rules.settings.search
    wanted = search.finalists_per_variant * search.variants
    prompts = tuple(first_prompts(case, wanted))
    seed = Draft(instruction=case.template.instruction, kind=MutationType.SEED, reasoning="the prompt in use")
    incumbent = Member(ordinal=0, slot=0, generation=0, parent=None, second_parent=None, mutation=0, draft=seed)
    children = [incumbent]
    lost = Counter(word for failure in case.failures for word in failure.lost)
    for ordinal in range(1, min(wanted, max(0, case.calls_left)) + 1):
        mating = Mating(
            ordinal=ordinal, winner=replace(incumbent, mutation=ordinal - 1), failed=(), lost=lost,
            mutation_prompts=prompts, taken=tuple(child.draft.instruction for child in children),
        )  # fmt: skip
        kind = _WAYS[ordinal % len(_WAYS)]
        if kind not in available(case, mating, ()):
            kind = MutationType.FIRST_ORDER
        bred = yield from breed(case, mating, kind)
        if bred.draft.spent_out:
            break
        member = Member(
            ordinal=ordinal,
            slot=0,
            generation=0,
            parent=0,
            second_parent=None,
            mutation=bred.mutation,
            draft=bred.draft,
        )
        refused = bred.draft.refused
        children.append(replace(member, fate=Fate.REFUSED if refused else Fate.ALIVE, fate_reason=refused))
    finalists = tuple(child.ordinal for child in children[1:] if child.fate is Fate.ALIVE)
    to: Next = Stage.JUDGE if finalists else Ending.NO_IMPROVEMENT
    why = "no sample has a known right answer, so nothing could be measured: judge, patterns and votes decide"
    return MutateDecision(
        next=to, generation=0, children=tuple(children), mutation_prompts=prompts, tally=(), stale=0, best_fitness=0.0,
        finalists=finalists, reason=f"{why}; {len(finalists)} finalists",
    )  # fmt: skip
