"""Stage 4 of 6 — dedupe: drop variants that say what another prompt says, and keep the most diverse of the rest.

Equal behaviour on the tasks that both prompts were run on is the authority; where too few are shared, the words decide
(see `pipeline.redundancy`). One redundant variant is dropped, never the batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np

from pipeline.algorithms.choice import most_diverse
from pipeline.algorithms.differences import normalise
from pipeline.algorithms.vectors import Singles, cosines_above, unit_rows
from pipeline.domain import Ending, Fate, Next, Stage, VariantId
from pipeline.flow import Embed, Failed, Flow, embed
from pipeline.redundancy import (
    HASHED,
    SEEDS_COSINE,
    Behaviour,
    LabelledPair,
    Limits,
    behaviour,
    calibrate,
    distance,
    hashed,
    same_words,
)
from pipeline.rules import Rules

MOST_FRESH = 200  # earlier prompts without a vector that are embedded at most; the newest come first


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A variant the judge passed, best fitness first in the case.

    Attributes:
        score: the judge's, 0 to 100; None when there is none that counts.
        outputs: what it answered, by sample.
    """

    variant: VariantId
    instruction: str
    fitness: float
    score: float | None = None
    outputs: Mapping[int, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Earlier:
    """An earlier variant of the skill, and the verdict that a hit on it brings back."""

    instruction: str
    verdict: str


@dataclass(frozen=True, slots=True)
class Remembered:
    """Vectors that were made before, all of one profile: the row of each text."""

    profile: str
    rows: Mapping[str, int]
    vectors: Singles


@dataclass(frozen=True, slots=True, kw_only=True)
class DedupeCase:
    """What to compare.

    Attributes:
        contenders: best first.
        incumbent: the instruction in use; `incumbent_outputs`: what it answered, by sample.
        earlier: variants that a person has decided about; newest first.
        pairs: labelled, to calibrate a profile on.
        remembered: by profile.
    """

    rules: Rules
    contenders: tuple[Contender, ...]
    incumbent: str
    incumbent_outputs: Mapping[int, str] = field(default_factory=dict)
    earlier: tuple[Earlier, ...] = ()
    pairs: tuple[LabelledPair, ...] = ()
    remembered: tuple[Remembered, ...] = ()


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
        limits: that the words were compared by.
    """

    next: Next
    fates: tuple[Sorted, ...]
    arms: tuple[VariantId, ...]
    texts: tuple[str, ...]
    vectors: tuple[tuple[float, ...], ...]
    profile: str
    reason: str
    limits: Limits | None = None
    due: datetime | None = None  # only a wait has a timer


@dataclass(frozen=True, slots=True)
class _Space:
    """All texts as vectors of one profile, and what was made anew."""

    limits: Limits | None
    rows: Mapping[str, int]
    vectors: Singles
    fresh: tuple[str, ...]
    profile: str
    note: str = ""

    def cosine(self, one: str, other: str) -> float | None:
        """Return the cosine of two texts; None when one has no vector."""
        first, second = self.rows.get(one), self.rows.get(other)
        return None if first is None or second is None else float(self.vectors[first] @ self.vectors[second])


@dataclass(frozen=True, slots=True)
class _Past:
    """All earlier variants, so that twenty thousand of them are looked through in one product."""

    by_words: Mapping[str, Earlier]
    with_vectors: tuple[Earlier, ...]
    vectors: Singles

    @classmethod
    def of(cls, case: DedupeCase, space: _Space) -> _Past:
        """Gather them; the newest verdict counts where the words are the same."""
        known = tuple(one for one in case.earlier if one.instruction in space.rows)
        rows = [space.rows[one.instruction] for one in known]
        words = {normalise(one.instruction): one for one in reversed(case.earlier)}
        return cls(words, known, space.vectors[rows])

    def verdict(self, case: DedupeCase, text: str, space: _Space) -> str:
        """Return the old verdict that a hit brings back; empty without one."""
        same = self.by_words.get(normalise(text))
        if same is not None:
            return f"{same.verdict}: the same words"
        near = SEEDS_COSINE if case.rules.settings.deduping.policy == "seeds" else _near(space)
        (hits,) = cosines_above(self.vectors, space.vectors[[space.rows[text]]], near)
        for row, _ in hits:
            words = _words(case, text, self.with_vectors[row].instruction, space)
            if words:
                return f"{self.with_vectors[row].verdict}: {words}"
        return ""


def dedupe(case: DedupeCase) -> Flow[DedupeDecision]:
    """Compare each contender with the incumbent, with earlier variants and with better contenders."""
    space = yield from _space(case)
    past = _Past.of(case, space)
    fates: list[Sorted] = []
    kept: list[Contender] = []
    for contender in case.contenders:
        twin = _twin(case, contender, kept, space, past)
        if twin:
            fates.append(Sorted(variant=contender.variant, fate=Fate.REDUNDANT, reason=twin))
        else:
            kept.append(contender)
    chosen = _choose(case, kept, space)
    fates += [
        Sorted(
            variant=one.variant,
            fate=Fate.ARM if one in chosen else Fate.SURPLUS,
            reason="on the ballots"
            if one in chosen
            else "others of its kind are more diverse, fitter or judged better",
        )
        for one in kept
    ]
    made = () if space.profile == HASHED else space.fresh
    return DedupeDecision(
        next=Stage.BANDIT if chosen else Ending.ALL_REDUNDANT,
        fates=tuple(fates),
        arms=tuple(one.variant for one in chosen),
        texts=made,
        vectors=tuple(tuple(map(float, space.vectors[space.rows[text]])) for text in made),
        profile=space.profile,
        reason=_reason(case, len(kept), len(chosen), space),
        limits=space.limits,
    )


def _space(case: DedupeCase) -> Flow[_Space]:
    """Turn all texts into vectors: of the embedder, or of hashed letters where there is none."""
    needed = tuple(dict.fromkeys((case.incumbent, *(one.instruction for one in case.contenders))))
    if not case.rules.settings.models.embedder:
        return _hashed_space(case, "no embedder is set")
    reply = yield from embed(Embed(texts=needed))
    if isinstance(reply, Failed):
        return _hashed_space(case, reply.message)
    known = next((one for one in case.remembered if one.profile == reply.profile), None)
    rows, parts = {text: row for row, text in enumerate(needed)}, [unit_rows(reply.vectors)]
    if known is not None:
        parts.append(known.vectors)
        rows |= {text: len(needed) + row for text, row in known.rows.items() if text not in rows}
    kit = [text for pair in case.pairs for text in (pair.a, pair.b)]
    earlier = [one.instruction for one in case.earlier if one.instruction not in rows][:MOST_FRESH]
    missing = tuple(text for text in dict.fromkeys((*kit, *earlier)) if text not in rows)
    if missing:
        more = yield from embed(Embed(texts=missing))
        if isinstance(more, Failed) or more.profile != reply.profile:
            return _hashed_space(case, more.message if isinstance(more, Failed) else "the embedder was replaced")
        start = sum(map(len, parts))
        parts.append(unit_rows(more.vectors))
        rows |= {text: start + row for row, text in enumerate(missing)}
    vectors = np.concatenate(parts)
    return _Space(_limits(case, reply.profile, rows, vectors), rows, vectors, (*needed, *missing), reply.profile)


def _hashed_space(case: DedupeCase, why: str) -> _Space:
    texts = tuple(
        dict.fromkeys(
            (
                case.incumbent,
                *(one.instruction for one in case.contenders),
                *(one.instruction for one in case.earlier[:MOST_FRESH]),
                *(text for pair in case.pairs for text in (pair.a, pair.b)),
            )
        )
    )
    rows, vectors = {text: row for row, text in enumerate(texts)}, hashed(texts)
    return _Space(_limits(case, HASHED, rows, vectors), rows, vectors, texts, HASHED, f"no embeddings: {why}")


def _limits(case: DedupeCase, profile: str, rows: Mapping[str, int], vectors: Singles) -> Limits | None:
    if not case.pairs:
        return None
    cosines = [float(vectors[rows[pair.a]] @ vectors[rows[pair.b]]) for pair in case.pairs]
    return calibrate(profile, case.pairs, cosines)


def _twin(case: DedupeCase, one: Contender, kept: list[Contender], space: _Space, past: _Past) -> str:
    """Say which prompt makes *one* redundant; empty when none does."""
    known = (
        ("the prompt in use", case.incumbent, case.incumbent_outputs),
        *(("a better variant", better.instruction, better.outputs) for better in kept),
    )
    for name, text, outputs in known:
        found, differ, shared = behaviour(one.outputs, outputs)
        if found is Behaviour.SAME:
            return f"{name} gives the same output on {shared - differ} of {shared} tasks"
        words = "" if found is Behaviour.DIFFERENT else _words(case, one.instruction, text, space)
        if words:
            return f"{words} as {name}" if words == "the same words" else f"{words} ({name})"
    return past.verdict(case, one.instruction, space)


def _words(case: DedupeCase, text: str, other: str, space: _Space) -> str:
    cosine = space.cosine(text, other)
    if case.rules.settings.deduping.policy == "seeds":
        return f"cosine {cosine:.3f}, above {SEEDS_COSINE}" if cosine is not None and cosine > SEEDS_COSINE else ""
    return same_words(text, other, cosine, _near(space))


def _near(space: _Space) -> float:
    return space.limits.near if space.limits else SEEDS_COSINE


def _choose(case: DedupeCase, kept: list[Contender], space: _Space) -> tuple[Contender, ...]:
    """Keep at most `variants`: the fittest always, the others for distance from it, from the prompt in use and each other."""
    wanted = case.rules.settings.search.variants
    if len(kept) <= wanted:
        return tuple(kept)
    texts = [case.incumbent, *(one.instruction for one in kept)]
    matrix = np.array([[0.0 if a == b else distance(space.cosine(a, b) or 0.0, a, b) for b in texts] for a in texts])
    weight = case.rules.settings.deduping.judge_weight / 100
    scores = [0.0, *((one.score if one.score is not None else 0.0) * weight for one in kept)]
    return tuple(kept[i - 1] for i in (1, *most_diverse(matrix, wanted - 1, fixed=(0, 1), weight=scores)))


def _reason(case: DedupeCase, kept: int, chosen: int, space: _Space) -> str:
    alike = sum((space.cosine(one.instruction, case.incumbent) or 0.0) > SEEDS_COSINE for one in case.contenders)
    parts = [f"{kept} of {len(case.contenders)} say something new; {chosen} go on the ballots"]
    parts += [f"a cosine above {SEEDS_COSINE} alone would have dropped {alike}"] if space.profile != HASHED else []
    return "; ".join((*parts, space.note) if space.note else parts)
