"""Stage 4 of 6 — dedupe: drop variants that say what another prompt says, and keep the most diverse of the rest.

A cosine alone is wrong in both directions (it throws away 19 to 37 % of real changes at 0.90), so a variant is redundant
only when the cosine is high *and* nothing hard differs: numbers, names, negations, structure, length.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from pipeline.algorithms.choice import most_diverse
from pipeline.algorithms.differences import hard_difference, normalise
from pipeline.algorithms.vectors import Singles, cosine_matrix
from pipeline.domain import Ending, Fate, Next, Stage, VariantId
from pipeline.flow import Embed, Failed, Flow, embed
from pipeline.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A variant the judge passed, best fitness first in the case."""

    variant: VariantId
    instruction: str
    fitness: float


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupeCase:
    """What to compare.

    Attributes:
        contenders: best first.
        incumbent: the instruction in use.
        earlier: instructions that already lost a vote for this skill; asking again would waste the person's time.
    """

    rules: Rules
    contenders: tuple[Contender, ...]
    incumbent: str
    earlier: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sorted:
    """What became of one contender."""

    variant: VariantId
    fate: Fate
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupeDecision:
    """Who goes on the ballots, in order of their names (variant_a first), and the vectors to remember.

    Attributes:
        vectors: one per text of `texts`, of the profile.
    """

    next: Next
    fates: tuple[Sorted, ...]
    arms: tuple[VariantId, ...]
    texts: tuple[str, ...]
    vectors: tuple[tuple[float, ...], ...]
    profile: str
    reason: str
    due: datetime | None = None  # only a wait has a timer


def dedupe(case: DedupeCase) -> Flow[DedupeDecision]:
    """Compare each contender with the incumbent, with earlier losers and with better contenders."""
    known = (("the prompt in use", case.incumbent), *(("an earlier loser", text) for text in case.earlier))
    texts = tuple(text for _, text in known) + tuple(c.instruction for c in case.contenders)
    reply = yield from embed(Embed(texts=texts))
    vectors = () if isinstance(reply, Failed) else reply.vectors
    cosines = cosine_matrix(vectors) if vectors else None  # without vectors only equal texts are redundant
    fates: list[Sorted] = []
    kept: list[int] = []
    for i, contender in enumerate(case.contenders):
        others = [
            *enumerate(known),
            *((len(known) + j, ("a better variant", case.contenders[j].instruction)) for j in kept),
        ]
        row = None if cosines is None else [float(cosines[len(known) + i, j]) for j, _ in others]
        twin = _twin(case.rules, contender.instruction, [other for _, other in others], row)
        if twin:
            fates.append(Sorted(variant=contender.variant, fate=Fate.REDUNDANT, reason=twin))
        else:
            kept.append(i)
    chosen = _choose(case, kept, None if cosines is None else cosines[len(known) :, len(known) :])
    fates += [
        Sorted(
            variant=case.contenders[i].variant,
            fate=Fate.ARM if i in chosen else Fate.SURPLUS,
            reason="on the ballots" if i in chosen else "others of its kind are more diverse or fitter",
        )
        for i in kept
    ]
    profile = "" if isinstance(reply, Failed) else reply.profile
    note = f" (no embeddings: {reply.message})" if isinstance(reply, Failed) else ""
    return DedupeDecision(
        next=Stage.BANDIT if chosen else Ending.ALL_REDUNDANT,
        fates=tuple(fates),
        arms=tuple(case.contenders[i].variant for i in chosen),
        texts=texts if vectors else (),
        vectors=vectors,
        profile=profile,
        reason=f"{len(kept)} of {len(case.contenders)} say something new; {len(chosen)} go on the ballots{note}",
    )


def _twin(rules: Rules, text: str, others: list[tuple[str, str]], cosines: list[float] | None) -> str:
    """Say which text makes *text* redundant; empty when none does."""
    for index, (name, other) in enumerate(others):
        if normalise(text) == normalise(other):
            return f"the same words as {name}"
        if cosines is None or cosines[index] <= rules.settings.deduping.cosine:
            continue
        if rules.settings.deduping.guard and hard_difference(text, other):
            continue
        return f"cosine {cosines[index]:.3f} with {name}, and nothing hard differs"
    return ""


def _choose(case: DedupeCase, kept: list[int], cosines: Singles | None) -> tuple[int, ...]:
    """Keep at most `variants`: the fittest always, the others for distance from it and from one another."""
    wanted = case.rules.settings.search.variants
    if len(kept) <= wanted or cosines is None:
        return tuple(kept[:wanted])
    distance = 1.0 - cosines[kept][:, kept]
    return tuple(kept[i] for i in (0, *most_diverse(distance, wanted - 1, fixed=(0,))))
