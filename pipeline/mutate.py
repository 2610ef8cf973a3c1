"""Stage 2 of 6 — mutate: breed better prompts with PromptBreeder's loop (Fernando et al. 2023, arXiv 2309.16797).

A population of instructions, each with the mutation prompt that it carries. One visit is one generation: all members are
paired at random, in each pair the fitter one wins (ties: the first), and a mutated copy of the winner overwrites the loser.
Fitness is the mean score on labelled samples, the same for every candidate and the incumbent among them, less a small
penalty for length. Departures from the paper, for a budget of a thousand calls instead of 200,000: population 8 instead
of 50, 20 fixed samples instead of 100 fresh ones, and a gate before any evaluation.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from pipeline.algorithms.streams import stream
from pipeline.breeding import breed, first_draft
from pipeline.domain import Ending, Fate, MutationType, Next, Stage
from pipeline.fitness import Item, Result, evaluate
from pipeline.flow import Flow
from pipeline.meta_prompt import Failure, Success
from pipeline.phrasebook import MUTATION_PROMPTS
from pipeline.population import Draft, Member, MutationPrompt
from pipeline.rules import Rules
from pipeline.skills import PromptTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class MutateCase:
    """One generation's work.

    Attributes:
        generation: 0 makes the first population, later ones change it.
        population: one member per slot, in the order of slots; empty in generation 0.
        finished: every evaluated variant of this run, for choosing finalists over the whole run.
        mutation_prompts: those of this run, in the order of their ordinals.
        items: the samples for fitness, all from the search split.
        failures, successes: shown to the generator, from the search split too.
        next_ordinal: ordinal of the first new variant.
        stale: generations since the best member last improved.
        calls_left: what the budget still allows.
        minutes_left: model time the budget still allows.
    """

    rules: Rules
    seed: int
    generation: int
    template: PromptTemplate
    population: tuple[Member, ...]
    finished: tuple[Member, ...]
    mutation_prompts: tuple[MutationPrompt, ...]
    items: tuple[Item, ...]
    failures: tuple[Failure, ...]
    successes: tuple[Success, ...]
    next_ordinal: int
    stale: int
    calls_left: int
    minutes_left: float


@dataclass(frozen=True, slots=True, kw_only=True)
class MutateDecision:
    """What a generation brought.

    Attributes:
        children: new variants, evaluated or refused; their slot tells whom they overwrite.
        mutation_prompts: new ones.
        tally: per mutation prompt's ordinal, how often it was applied and how often the child was fitter.
        finalists: ordinals handed to the judge, fittest first; empty while the search goes on.
    """

    next: Next
    generation: int
    children: tuple[Member, ...]
    mutation_prompts: tuple[MutationPrompt, ...]
    tally: tuple[tuple[int, int, int], ...]
    stale: int
    best_fitness: float
    finalists: tuple[int, ...]
    reason: str
    due: datetime | None = None  # only a wait has a timer


@dataclass(frozen=True, slots=True)
class _Brood:
    """What one generation made; `spent_out`: the budget ended before it was complete."""

    children: list[Member]
    prompts: list[MutationPrompt]
    spent_out: bool = False


def mutate(case: MutateCase) -> Flow[MutateDecision]:
    """Make or change the population once, then decide whether to go on."""
    if not case.items:  # nothing to measure a prompt on: no call is worth its time
        return _decide(case, _Brood([], []))
    brood = yield from (_first_population(case) if case.generation == 0 else _next_generation(case))
    return _decide(case, brood)


def _first_population(case: MutateCase) -> Flow[_Brood]:
    """Evaluate the incumbent afresh, then fill the other slots from mutation prompts and thinking styles."""
    rng = stream(case.seed, "initialise")
    size = case.rules.settings.search.population
    order = rng.permutation(len(MUTATION_PROMPTS))
    prompts = [
        MutationPrompt(ordinal=i, text=MUTATION_PROMPTS[int(order[i % len(order)])], parent=None) for i in range(size)
    ]
    seed_draft = Draft(instruction=case.template.instruction, kind=MutationType.SEED, reasoning="the prompt in use")
    first = Member(ordinal=0, slot=0, generation=0, parent=None, second_parent=None, mutation=0, draft=seed_draft)
    incumbent, spent_out = yield from _measured(case, first, None)
    children = [incumbent]
    for slot in range(1, size):
        if spent_out or _spent_out(case):
            return _Brood(children, prompts, spent_out=True)
        taken = tuple(child.draft.instruction for child in children)
        draft = yield from first_draft(
            case.rules, case.seed, slot, prompts[slot].text, case.template.instruction, case.failures, taken
        )
        member = Member(ordinal=slot, slot=slot, generation=0, parent=0, second_parent=None, mutation=slot, draft=draft)
        measured, spent_out = yield from _measured(case, member, incumbent)
        if not spent_out:
            children.append(measured)
    return _Brood(children, prompts, spent_out)


def _next_generation(case: MutateCase) -> Flow[_Brood]:
    """Put a mutated copy of each match's winner into the slot that it won."""
    children: list[Member] = []
    prompts: list[MutationPrompt] = []
    taken = tuple(member.draft.instruction for member in case.finished)
    for winner, slot in _matches(case):
        ordinal = case.next_ordinal + len(children)
        bred = yield from breed(
            rules=case.rules, seed=case.seed, ordinal=ordinal, generation=case.generation, winner=winner,
            population=case.population, mutation_prompts=(*case.mutation_prompts, *prompts),
            failures=case.failures, successes=case.successes,
            taken=(*taken, *(child.draft.instruction for child in children)),
        )  # fmt: skip
        if bred.mutation_prompt is not None:
            prompts.append(bred.mutation_prompt)
        member = Member(
            ordinal=ordinal, slot=slot, generation=case.generation, parent=winner.ordinal,
            second_parent=bred.second_parent, mutation=bred.mutation, draft=bred.draft,
        )  # fmt: skip
        measured, spent_out = yield from _measured(case, member, winner)
        if spent_out:
            return _Brood(children, prompts, spent_out=True)
        children.append(measured)
    return _Brood(children, prompts)


def _matches(case: MutateCase) -> list[tuple[Member, int]]:
    """Pair all members at random: the fitter of each pair wins the other's slot (ties: the one in the first slot).

    A slot that is empty, because every draft for it was refused, goes to a member without a fight.
    """
    rng = stream(case.seed, "tournament", case.generation)
    order = [case.population[int(i)] for i in rng.permutation(len(case.population))]
    matches: list[tuple[Member, int]] = []
    for pair in zip(order[::2], order[1::2], strict=False):
        one, other = sorted(pair, key=lambda member: member.slot)
        winner, loser = (other, one) if other.fitness > one.fitness else (one, other)
        matches.append((winner, loser.slot))
    filled = {member.slot for member in order}
    empty = [slot for slot in range(case.rules.settings.search.population) if slot not in filled]
    return matches + [(order[i % len(order)], slot) for i, slot in enumerate(empty) if order]


def _measured(case: MutateCase, member: Member, parent: Member | None) -> Flow[tuple[Member, bool]]:
    """Run a member on the items unless the gate refused it; the flag says that the budget ended on the way."""
    if member.draft.spent_out:
        return member, True
    if member.draft.refused:
        return replace(member, fate=Fate.REFUSED, fate_reason=member.draft.refused), False
    result = yield from evaluate(
        case.rules, case.template.with_instruction(member.draft.instruction), case.items, case.seed
    )
    if result.spent_out:
        return member, True
    fitness = _fitness(case, member, result)
    improved = parent is not None and fitness > parent.fitness
    return (
        replace(member, fitness=fitness, correct=sum(result.correct), n=len(result.values), improved=improved),
        False,
    )


def _fitness(case: MutateCase, member: Member, result: Result) -> float:
    """Mean score less the penalty for length, in proportion to the longest instruction allowed (CAPO)."""
    search = case.rules.settings.search
    length = len(member.draft.instruction.split()) / search.max_instruction_words
    return max(0.0, result.mean - search.length_penalty * length)


def _decide(case: MutateCase, brood: _Brood) -> MutateDecision:
    """Go on while there is budget and hope; otherwise hand the best of the whole run to the judge."""
    search, children = case.rules.settings.search, brood.children
    before = max((m.fitness for m in case.finished), default=-1.0)
    best = max((m.fitness for m in (*case.finished, *children) if m.n), default=0.0)
    stale = 0 if best > before else case.stale + 1
    why = _why_stop(case, stale, spent_out=brood.spent_out)
    base = MutateDecision(
        next=Stage.MUTATE, generation=case.generation, children=tuple(children), mutation_prompts=tuple(brood.prompts),
        tally=_tally(children), stale=stale, best_fitness=best, finalists=(), reason=why,
    )  # fmt: skip
    if not why:
        return base
    finalists = _finalists(case, children)
    to: Next = Stage.JUDGE if finalists else Ending.NO_IMPROVEMENT
    words = f"{len(finalists)} finalists" if finalists else "nothing did better than the prompt in use"
    return replace(
        base,
        next=to,
        finalists=finalists,
        reason=f"{why}: {words}",
        generation=min(case.generation, search.generations),
    )


def _why_stop(case: MutateCase, stale: int, *, spent_out: bool) -> str:
    search = case.rules.settings.search
    if not case.items:
        return "no sample has a known right answer"
    if case.generation >= search.generations:
        return f"all {search.generations} generations are done"
    if stale >= search.patience:
        return f"{stale} generations brought nothing better"
    if spent_out or _spent_out(case):
        return "the budget is spent"
    return ""


def _spent_out(case: MutateCase) -> bool:
    """Tell whether a whole candidate no longer fits into the budget."""
    return case.calls_left < len(case.items) + 2 or case.minutes_left <= 0


def _finalists(case: MutateCase, children: list[Member]) -> tuple[int, ...]:
    """Return the fittest members of the whole run that did better than the incumbent, best first."""
    search = case.rules.settings.search
    everyone = [m for m in (*case.finished, *children) if m.n]
    incumbent = next((m for m in everyone if m.ordinal == 0), None)
    mark = incumbent.fitness if incumbent else 0.0
    better = [m for m in everyone if m.ordinal != 0 and m.fitness > mark]
    better.sort(key=lambda m: (-m.fitness, m.ordinal))
    return tuple(m.ordinal for m in better[: search.finalists_per_variant * search.variants])


def _tally(children: list[Member]) -> tuple[tuple[int, int, int], ...]:
    used: dict[int, tuple[int, int]] = {}
    for child in children:
        if child.mutation is not None and child.ordinal != 0:
            applied, improved = used.get(child.mutation, (0, 0))
            used[child.mutation] = (applied + 1, improved + child.improved)
    return tuple((ordinal, applied, improved) for ordinal, (applied, improved) in sorted(used.items()))
