"""`promptbreeder` mode: the paper's steady-state loop (Fernando et al. 2023, arXiv 2309.16797; Harvey's microbial GA).

A population of instructions, each with the mutation prompt that it carries. One visit is one generation: all members are
paired at random, in each pair the fitter one wins (ties: the first), and a mutated copy of the winner overwrites the
loser. All children are bred before any is run, so that each model is loaded once. Departures from the paper, for a budget
of a thousand calls instead of 200,000: population 8 instead of 50, the same samples for everybody instead of 100 fresh
ones, a gate before any evaluation, and one confirmation at the end.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from pipeline.algorithms.streams import stream
from pipeline.breeding import Bred, breed, crossed
from pipeline.confirm import reserve
from pipeline.domain import Fate, MutationType
from pipeline.examples import unseen
from pipeline.fitness import Item, evaluate
from pipeline.flow import Flow
from pipeline.meta_prompt import Failure, shown_input
from pipeline.phrasebook import MUTATION_PROMPTS
from pipeline.population import Draft, Member, MutationPrompt
from pipeline.questions import Mating
from pipeline.search import Brood, Meter, MutateCase, measured
from pipeline.signatures import counts_of, signed, telling
from pipeline.skills import SkillSpec

BROKEN_SCORER = 5  # first answers on which the skill's own scorer failed: it will fail on all


def first_population(case: MutateCase, meter: Meter) -> Flow[Brood]:
    """Evaluate the incumbent afresh, then fill the other slots from mutation prompts and thinking styles."""
    size = case.rules.settings.search.population
    brood = Brood(prompts=first_prompts(case, size))
    first = yield from run_incumbent(case, _items(case), brood)
    if not first.n:
        return brood
    drafted: list[tuple[Member, Bred]] = []
    for slot in range(1, size):
        if not _room(case, meter, len(drafted)):
            brood.spent_out = True
            break
        parent = replace(first, mutation=slot)
        taken = (first.draft.instruction, *(member.draft.instruction for member, _ in drafted))
        mating = mate(case, parent, slot, tuple(brood.prompts), taken)
        bred = yield from breed(case, mating, MutationType.FIRST_ORDER)
        drafted.append((_child(case, parent, bred, slot, slot), bred))
    yield from _evaluated(case, brood, drafted, {0: first})
    return brood


def next_generation(case: MutateCase, meter: Meter) -> Flow[Brood]:
    """Put a mutated copy of each match's winner into the slot that it won."""
    brood = Brood()
    drafted: list[tuple[Member, Bred]] = []
    taken = tuple(member.draft.instruction for member in case.finished)
    for winner, slot in _matches(case):
        if not _room(case, meter, len(drafted)):
            brood.spent_out = True
            break
        ordinal = case.next_ordinal + len(drafted)
        prompts = (*case.mutation_prompts, *brood.prompts)
        mating = mate(case, winner, ordinal, prompts, (*taken, *(m.draft.instruction for m, _ in drafted)))
        bred = yield from _bred(case, mating)
        if bred.mutation_prompt is not None:
            brood.prompts.append(bred.mutation_prompt)
        drafted.append((_child(case, winner, bred, ordinal, slot), bred))
    yield from _evaluated(case, brood, drafted, {m.ordinal: m for m in case.population})
    return brood


def first_prompts(case: MutateCase, count: int) -> list[MutationPrompt]:
    """Draw the mutation prompts that the first members carry."""
    order = stream(case.seed, "initialise").permutation(len(MUTATION_PROMPTS))
    texts = [MUTATION_PROMPTS[int(order[i % len(order)])] for i in range(count)]
    return [MutationPrompt(ordinal=i, text=text, parent=None) for i, text in enumerate(texts)]


def run_incumbent(case: MutateCase, items: tuple[Item, ...], brood: Brood) -> Flow[Member]:
    """Run the prompt in use afresh on *items*; a member without outcomes means that it could not be measured."""
    seed_draft = Draft(instruction=case.template.instruction, kind=MutationType.SEED, reasoning="the prompt in use")
    member = Member(ordinal=0, slot=0, generation=0, parent=None, second_parent=None, mutation=0, draft=seed_draft)
    here = unseen(case.template, seed_draft.instruction, items)
    result = yield from evaluate(case.rules, case.template, here, case.seed, give_up=BROKEN_SCORER)
    brood.spent_out, brood.trouble = result.spent_out, result.trouble
    if result.spent_out:
        return member
    done = measured(case.rules, member, result.outcomes)
    brood.put(done)
    return done


def mate(
    case: MutateCase, winner: Member, ordinal: int, prompts: tuple[MutationPrompt, ...], taken: tuple[str, ...]
) -> Mating:
    """Gather what an operator may look at for a child of *winner*."""
    search = case.rules.settings.search
    rng = stream(case.seed, "failures", case.generation, ordinal)
    wrong = failures_of(case.rules.skill, winner, case.scored_items)
    return Mating(
        ordinal=ordinal,
        winner=winner,
        failed=telling(wrong, search.shown_failures, rng),
        lost=counts_of(wrong) or Mating.counted(winner),
        mutation_prompts=prompts,
        taken=taken,
    )


def failures_of(skill: SkillSpec, member: Member, items: Sequence[Item]) -> tuple[Failure, ...]:
    """Return all failures of *member* on *items*, each with what it lost."""
    known = {item.sample: item for item in items}
    return tuple(
        signed(
            skill,
            Failure(
                shown=shown_input(known[o.sample].fields), output=o.output, expected=known[o.sample].expected,
                lost=o.lost, sample=o.sample,
            ),
        )
        for o in member.outcomes
        if not o.correct and o.sample in known
    )  # fmt: skip


def _bred(case: MutateCase, mating: Mating) -> Flow[Bred]:
    """Apply one operator; with a small chance crossover takes its place."""
    rng = stream(case.seed, "cross", case.generation, mating.ordinal)
    mates = [m for m in case.population if m.ordinal != mating.winner.ordinal and m.n]
    if mates and rng.random() < case.rules.settings.search.crossover_probability:
        weights = [max(m.fitness, 1e-6) for m in mates]
        chosen = mates[int(rng.choice(len(mates), p=[w / sum(weights) for w in weights]))]
        bred = yield from crossed(case, mating, chosen)
    else:
        bred = yield from breed(case, mating)
    return bred


def _matches(case: MutateCase) -> Iterator[tuple[Member, int]]:
    """Pair all members at random: the fitter of each pair wins the other's slot (ties: the one in the first slot).

    A slot that is empty, because every draft for it was refused, goes to a member without a fight.
    """
    rng = stream(case.seed, "tournament", case.generation)
    order = [case.population[int(i)] for i in rng.permutation(len(case.population))]
    for pair in zip(order[::2], order[1::2], strict=False):
        one, other = sorted(pair, key=lambda member: member.slot)
        winner, loser = (other, one) if other.fitness > one.fitness else (one, other)
        yield winner, loser.slot
    filled = {member.slot for member in order}
    empty = [slot for slot in range(case.rules.settings.search.population) if slot not in filled]
    for i, slot in enumerate(empty):
        if order:
            yield order[i % len(order)], slot


def _child(case: MutateCase, parent: Member, bred: Bred, ordinal: int, slot: int) -> Member:
    return Member(
        ordinal=ordinal, slot=slot, generation=case.generation, parent=parent.ordinal,
        second_parent=bred.second_parent, mutation=bred.mutation, draft=bred.draft,
    )  # fmt: skip


def _evaluated(
    case: MutateCase, brood: Brood, drafted: list[tuple[Member, Bred]], parents: dict[int, Member]
) -> Flow[None]:
    """Run all children, each on the same items; one whose run the budget cut short is left out whole."""
    for member, bred in drafted:
        if member.draft.spent_out:
            brood.spent_out = True
            return
        if member.draft.refused:
            brood.put(replace(member, fate=Fate.REFUSED, fate_reason=member.draft.refused))
            brood.count(bred.names, improved=False)
            continue
        template = case.template.with_instruction(member.draft.instruction)
        here = unseen(case.template, member.draft.instruction, _items(case))
        result = yield from evaluate(case.rules, template, here, case.seed)
        if result.spent_out:
            brood.spent_out = True
            return
        done = measured(case.rules, member, result.outcomes)
        better = member.parent is not None and done.fitness > parents[member.parent].fitness
        brood.put(replace(done, improved=better))
        brood.count(bred.names, improved=better)


def _items(case: MutateCase) -> tuple[Item, ...]:
    return case.scored_items[: case.rules.settings.search.fitness_samples]


def _room(case: MutateCase, meter: Meter, waiting: int) -> bool:
    """Tell whether one more child fits into the budget beside those that wait to be run, and the confirmation."""
    kept = reserve(case)
    wanted = (waiting + 1) * len(_items(case)) + 2 + kept
    return meter.calls_left >= wanted and meter.minutes_left > meter.minutes_for(kept)
