"""Making one child: an operator is drawn, applied, and its draft gated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from pipeline import edits, examples, operators
from pipeline.algorithms.streams import seed32, stream
from pipeline.algorithms.text_signals import gibberish
from pipeline.domain import MutationType
from pipeline.drafting import MIN_WORDS, Ask, draft, request, why_refused
from pipeline.flow import Failed, Flow, generate
from pipeline.leaks import Ground, leaks
from pipeline.meta_prompt import read_instruction, sealed
from pipeline.operator_choice import GRAFT, OURS, PAPER, WHOLE
from pipeline.operator_choice import draw as draw_operator
from pipeline.patterns import suited
from pipeline.phrasebook import THINKING_STYLES
from pipeline.population import Draft, Member, MutationPrompt
from pipeline.questions import Mating, ancestors, question
from pipeline.room import Shown, fitted
from pipeline.search import MutateCase
from pipeline.sentences import added
from pipeline.skills import PLACEHOLDER, parse_template

_MUTATION_WORDS = 60  # longest mutation prompt
_ALIKE = 2  # members that a list needs

BY_HAND = frozenset(
    {
        MutationType.PATTERN,
        MutationType.CROSS_SKILL,
        MutationType.CROSSOVER,
        MutationType.CONTEXT_SHUFFLE,
        MutationType.EDIT,
    }
)
"""Operators that need no model."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bred:
    """A child's draft, the mutation prompt it carries, and a new mutation prompt where hypermutation made one.

    Attributes:
        names: what is tallied when the child has been measured: the operator, and how its reply was taken.
    """

    draft: Draft
    mutation: int
    mutation_prompt: MutationPrompt | None = None
    second_parent: int | None = None
    names: tuple[str, ...] = ()


def breed(case: MutateCase, mating: Mating, kind: str = "") -> Flow[Bred]:
    """Draw an operator, unless *kind* names it, and make one mutated copy of the winner."""
    rng = stream(case.seed, "breed", case.generation, mating.ordinal)
    mates = [m for m in case.population if m.ordinal != mating.winner.ordinal and m.n]
    kind = kind or draw_operator(
        available(case, mating, mates), case.tallies, rng, adapt=case.rules.settings.search.adapt_operators
    )
    if kind in BY_HAND:
        return fitting(case, _by_hand(case, mating, mates, MutationType(kind), rng))
    bred = yield from _by_generator(case, mating, mates, MutationType(kind), rng)
    return fitting(case, bred)


def fitting(case: MutateCase, bred: Bred) -> Bred:
    """Refuse a draft that would not come back from a template file as it went in."""
    draft = bred.draft
    if draft.refused or draft.spent_out:
        return bred
    whole = case.template.with_instruction(draft.instruction)
    if parse_template(whole.text) == whole:
        return bred
    return replace(bred, draft=replace(draft, refused="breaks the template"))


def available(case: MutateCase, mating: Mating, mates: Sequence[Member]) -> tuple[str, ...]:
    """Name the operators that have what they need."""
    listed = len({m.draft.instruction for m in (mating.winner, *mates)}) >= _ALIKE
    race = case.rules.settings.search.mode == "race"
    wanting = {
        MutationType.EDA: listed,
        MutationType.EDA_RANK: listed,
        MutationType.LINEAGE: len(ancestors(case, mating.winner)) >= _ALIKE,
        MutationType.LAMARCKIAN: bool(case.successes),
        MutationType.REFLECTIVE: bool(mating.failed),
        MutationType.DIRECT: bool(case.failures),
        MutationType.CROSS_SKILL: bool(case.foreign),
        MutationType.CROSSOVER: race and bool(mates),
        MutationType.CONTEXT_SHUFFLE: bool(case.example_items),
    }
    return tuple(str(kind) for kind in (*PAPER, *OURS) if wanting.get(kind, True))


def _by_hand(
    case: MutateCase, mating: Mating, mates: list[Member], kind: MutationType, rng: np.random.Generator
) -> Bred:
    """Make a child without a model."""
    winner = mating.winner
    rules, carried = examples.split(winner.draft.instruction)
    text, why, mate = "", "", None
    if kind is MutationType.PATTERN:
        text, name = edits.with_pattern(rules, suited(case.rules.skill, mating.lost), rng)
        why = f"with the pattern '{name}' of the library"
    elif kind is MutationType.CROSS_SKILL:
        fresh = [one for one in case.foreign if added(one, rules)]
        text = edits.crossed(rules, fresh[int(rng.integers(len(fresh)))]) if fresh else ""
        why = "with a rule that won for another skill"
    elif kind is MutationType.CROSSOVER:
        mate = edits.complement(winner, mates, rng)
        text = edits.crossed(rules, examples.rules_of(mate.draft.instruction)) if mate else ""
        why = "with the rules of a prompt that is right where this one is wrong"
    elif kind is MutationType.CONTEXT_SHUFFLE:
        text, why = rules, "with other examples"
        whole = edits.shuffled(
            case.template, winner.draft.instruction, case.example_items, case.rules.settings.search.examples, rng
        )
        carried = examples.split(whole)[1]
    else:
        text, why = edits.edited(rules, [examples.rules_of(m.draft.instruction) for m in mates], rng)
    instruction = examples.join(text, carried)
    refused = why_refused(case.rules, text, rules, (), ground(case, mating)) or (
        "copy" if instruction in mating.taken else ""
    )
    done = Draft(instruction=instruction, kind=kind, reasoning=why, refused=refused)
    second = mate.ordinal if mate else None
    return Bred(draft=done, mutation=_carried(winner), second_parent=second, names=(kind,))


def _by_generator(
    case: MutateCase, mating: Mating, mates: list[Member], kind: MutationType, rng: np.random.Generator
) -> Flow[Bred]:
    """Ask the generator; hypermutation asks for a new mutation prompt first."""
    winner, known = mating.winner, mating.mutation_prompts
    carried, fresh = _carried(winner), None
    mutation = known[carried].text
    style = THINKING_STYLES[int(rng.integers(len(THINKING_STYLES)))]
    if kind in (MutationType.HYPER_ZERO, MutationType.HYPER_FIRST):
        fresh = yield from _new_mutation(case, mating, kind, style)
        mutation = fresh.text if fresh else mutation
    rules, kept = examples.split(winner.draft.instruction)
    success = case.successes[int(rng.integers(len(case.successes)))] if case.successes else None
    search = case.rules.settings.search
    graft = search.mode == "race" and kind is not MutationType.ZERO_ORDER
    taking = draw_operator((GRAFT, WHOLE), case.tallies, rng, adapt=search.adapt_operators) if graft else WHOLE
    if case.generation == 0 and kind not in _REASONS:  # initialisation: a style of its own
        style = THINKING_STYLES[int(rng.integers(len(THINKING_STYLES)))]
    ask = Ask(
        rules=case.rules, seed=case.seed, label=("breed", case.generation, mating.ordinal),
        prompt=question(case, mating, mates, kind, (mutation, style), success, rng), kind=kind,
        reasoning=_REASONS.get(kind, f"{mutation} {style}" if case.generation == 0 else mutation), parent=rules,
        grafted=taking == GRAFT, taken=tuple(examples.rules_of(text) for text in mating.taken),
        ground=ground(case, mating),
    )  # fmt: skip
    made = yield from draft(ask)
    return Bred(
        draft=_with_examples(made, kept),
        mutation=fresh.ordinal if fresh else carried,
        mutation_prompt=fresh,
        names=(kind, taking) if graft else (kind,),
    )  # fmt: skip


_REASONS: dict[str, str] = {
    MutationType.DIRECT: "rewritten from what the log says failed and succeeded",
    MutationType.REFLECTIVE: "with rules against what its parent lost",
    MutationType.ZERO_ORDER: "from the task's description alone",
    MutationType.EDA: "the next of a list of the population",
    MutationType.EDA_RANK: "the next of the population ranked by fitness",
    MutationType.LINEAGE: "the next in the line of its ancestors",
    MutationType.LAMARCKIAN: "guessed back from an answer that a person accepted",
}


def crossed(case: MutateCase, mating: Mating, mate: Member) -> Flow[Bred]:
    """Ask the generator for the best of two parents (promptbreeder mode)."""
    about, kind = case.rules.skill.about, MutationType.CROSSOVER
    rules, kept = examples.split(mating.winner.draft.instruction)
    ask = Ask(
        rules=case.rules, seed=case.seed, label=("breed", case.generation, mating.ordinal),
        prompt=_fitting_question(case, operators.crossover(rules, examples.rules_of(mate.draft.instruction), about)), kind=kind,
        reasoning="the best rules of two parents", parent=rules, grafted=False,
        taken=tuple(examples.rules_of(text) for text in mating.taken),
        ground=ground(case, mating),
    )  # fmt: skip
    made = yield from draft(ask)
    whole = _with_examples(made, kept)
    return Bred(draft=whole, mutation=_carried(mating.winner), second_parent=mate.ordinal, names=(kind,))


def _fitting_question(case: MutateCase, question: str) -> str:
    """Return a question from which nothing can be left out, or none where there is no room for it."""
    return fitted(lambda _: question, Shown(), case.room, sent=lambda text: sealed(text, case.seed))


def _new_mutation(case: MutateCase, mating: Mating, kind: MutationType, style: str) -> Flow[MutationPrompt | None]:
    """Let the generator write a new mutation prompt; None when what it wrote is of no use."""
    zero, known, carried = kind is MutationType.HYPER_ZERO, mating.mutation_prompts, _carried(mating.winner)
    prompt = operators.hyper_zero(case.rules.skill.about, style) if zero else operators.hyper_first(known[carried].text)
    if not _fitting_question(case, prompt):
        return None
    reply = yield from generate(
        request(case.rules, sealed(prompt, case.seed), seed32(case.seed, "hyper", mating.ordinal), 0)
    )
    if isinstance(reply, Failed):
        return None
    text = read_instruction(reply.text, cut_off=reply.done_reason == "length", max_words=_MUTATION_WORDS)
    if len(text.split()) < MIN_WORDS or gibberish(text) or leaks(text, ground(case, mating)):
        return None
    return MutationPrompt(ordinal=len(known), text=text, parent=None if zero else carried)


def _with_examples(made: Draft, kept: tuple[str, ...]) -> Draft:
    """Give a draft of rules its parent's examples."""
    return replace(made, instruction=examples.join(made.instruction, kept)) if made.instruction else made


def _carried(member: Member) -> int:
    return member.mutation if member.mutation is not None else 0


def ground(case: MutateCase, mating: Mating) -> Ground:
    """Return what a child's new sentences are held against: all that a prompt of this run can have seen of the samples."""
    skill, template = case.rules.skill, case.template
    items, failures = (*case.items, *case.confirm_items), (*mating.failed, *case.failures)
    return Ground(
        own=(template.instruction, PLACEHOLDER.sub(" ", template.frame), skill.about, skill.schema),
        shown=(
            *(text for f in failures for text in (f.shown, f.output, f.expected)),
            *(text for s in case.successes for text in (s.shown, s.output)),
        ),
        history=tuple(text for item in items for text in (*(value for _, value in item.fields), item.expected)),
    )
