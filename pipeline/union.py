"""Siblings put together: the new rules of all children that gained make one more candidate, without a model."""

from __future__ import annotations

from dataclasses import dataclass

from pipeline import examples
from pipeline.breeding import Bred, fitting
from pipeline.domain import MutationType
from pipeline.drafting import why_refused
from pipeline.population import Draft, Member
from pipeline.search import Brood, MutateCase
from pipeline.sentences import added, graft


@dataclass(frozen=True, slots=True)
class Screened:
    """A child after its first samples.

    Attributes:
        gain: by how much it was better than its parent, in samples.
        better: whether that, or the same with fewer words, counts as an improvement; otherwise it goes on all the same.
    """

    member: Member
    parent: Member
    gain: float
    better: bool


@dataclass(frozen=True, slots=True)
class Union:
    """The candidate, and the ordinals of those whose rules it has."""

    candidate: Screened
    used: frozenset[int]


def united(case: MutateCase, brood: Brood, screened: list[Screened]) -> Union | None:
    """Put together the new rules of the child that gained most and of its siblings; None when there is nothing to.

    Args:
        case: the search.
        brood: the candidate is put into it.
        screened: children that gained, the best first.
    """
    if not screened:
        return None
    first, used = screened[0], [screened[0]]
    rules, carried = examples.split(first.member.draft.instruction)
    parent_rules = examples.rules_of(first.parent.draft.instruction)
    for one in screened[1:]:
        if one.parent.ordinal != first.parent.ordinal:
            continue
        fresh = added(examples.rules_of(one.member.draft.instruction), f"{parent_rules}\n{rules}")
        text = graft(rules, fresh)
        if fresh and len(text.split()) <= case.rules.settings.search.max_instruction_words:
            rules, used = text, [*used, one]
    taken = tuple(m.draft.instruction for m in (*case.finished, *brood.children))
    draft = Draft(
        instruction=examples.join(rules, carried), kind=MutationType.UNION,
        reasoning=f"the new rules of {len(used)} siblings that gained, put together",
        refused=why_refused(case.rules, rules, rules, tuple(map(examples.rules_of, taken))),
    )  # fmt: skip
    if len(used) < 2 or fitting(case, Bred(draft=draft, mutation=0)).draft.refused:  # noqa: PLR2004 - one is no union
        return None
    member = Member(
        ordinal=1 + max(m.ordinal for m in brood.children), slot=0, generation=case.generation,
        parent=first.parent.ordinal, second_parent=used[1].member.ordinal, mutation=first.member.mutation, draft=draft,
    )  # fmt: skip
    brood.put(member)
    candidate = Screened(member, first.parent, sum(one.gain for one in used), better=True)
    return Union(candidate, frozenset(one.member.ordinal for one in used))
