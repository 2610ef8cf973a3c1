"""`race` mode, the default: candidates are screened on a few samples and raced on blocks, so that bad ones cost little.

One visit is one round. Parents are drawn from a pool of fully measured members; children are bred first and run after, so
that each model is loaded once. A child meets its parent's own failures (those that the generator was shown) and some of
its successes; the new rules of all siblings that gain are put together in one more candidate, without a model; the best is
raced in blocks against the pool's leader. Lenient here, strict in `pipeline.confirm`: a significance test at every step
loses half of the gain (peer study).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pipeline import examples
from pipeline.algorithms.paired import lead, potential
from pipeline.algorithms.streams import stream
from pipeline.breeding import Bred, breed
from pipeline.confirm import reserve
from pipeline.costs import RACES, race_size
from pipeline.domain import Fate, MutationType
from pipeline.fitness import Item, evaluate
from pipeline.flow import Flow
from pipeline.population import Member, Outcome, values_of
from pipeline.questions import Mating
from pipeline.search import Brood, Meter, MutateCase, measured
from pipeline.tournament import first_prompts, mate, run_incumbent
from pipeline.union import Screened, united

GAIN = 0.25  # of a sample, by which a child must do better on the first samples; 0.5 loses 2 points on graded scores
TINY = 1e-9  # sums of scores closer than this are equal
SHOWN_SHARE = 2 / 3  # of the first samples are the parent's failures, the rest its successes


def race_items(case: MutateCase) -> tuple[Item, ...]:
    """Return the samples of the race: as many as the budget carries."""
    return case.scored_items[: race_size(case.rules.settings.search)]


def first_round(case: MutateCase, meter: Meter) -> Flow[Brood]:
    """Run the incumbent afresh on all samples of the race, then begin."""
    brood = Brood(prompts=first_prompts(case, case.rules.settings.search.population))
    incumbent = yield from run_incumbent(case, race_items(case), brood)
    if not incumbent.n or perfect([incumbent]):
        return brood
    now = replace(
        case, population=(incumbent,), finished=(incumbent,), next_ordinal=1, mutation_prompts=tuple(brood.prompts)
    )
    yield from _round(now, brood, meter)
    return brood


def next_round(case: MutateCase, meter: Meter) -> Flow[Brood]:
    """Breed, screen, put together, race."""
    brood = Brood()
    yield from _round(case, brood, meter)
    return brood


def perfect(members: Sequence[Member]) -> bool:
    """Tell whether some member is right on all samples of the race, so that nothing is left to be gained."""
    most = max((m.n for m in members if m.whole), default=0)
    return any(m.whole and m.n == most and sum(m.values.values()) >= most - TINY for m in members)


def affordable(case: MutateCase, calls_left: float) -> bool:
    """Tell whether a child can still be bred, screened and raced beside the confirmation."""
    search = case.rules.settings.search
    return calls_left >= reserve(case) + 1 + search.screen_samples + search.block_samples


def _round(case: MutateCase, brood: Brood, meter: Meter) -> Flow[None]:
    drafted = yield from _breed_all(case, brood, meter)
    screened: list[Screened] = []
    for member, mating, bred in sorted(drafted, key=lambda one: one[0].draft.instruction):  # common prefixes together
        if meter.calls_left < reserve(case) + case.rules.settings.search.screen_samples:
            brood.put(replace(member, fate=Fate.DROPPED, fate_reason="the budget ended before it was run"))
            continue
        passed = yield from _screen(case, brood, member, mating)
        brood.count(bred.names, improved=passed is not None and passed.better)
        if passed is not None:
            screened.append(passed)
    screened.sort(key=lambda one: (-one.gain, one.member.ordinal))
    union = united(case, brood, screened)
    waiting = [union.candidate, *screened] if union else list(screened)
    leader = _leader(case)
    for _ in range(min(RACES, len(waiting))):
        one = waiting.pop(0)
        before, leader = leader, (yield from _race(case, brood, one, leader, meter))
        if union is not None and one is union.candidate:
            brood.count([MutationType.UNION], improved=leader is not before)
        if leader is not before:
            break  # the union holds what the others found
    for one in waiting:
        merged = union is not None and one.member.ordinal in union.used
        why = "its rules went into a sibling" if merged else "a sibling was raced in its place"
        fate = Fate.MERGED if merged else Fate.DROPPED
        brood.put(replace(one.member, fate=fate, fate_reason=why, improved=one.better))
    _trim(case, brood)


def _breed_all(case: MutateCase, brood: Brood, meter: Meter) -> Flow[list[tuple[Member, Mating, Bred]]]:
    search = case.rules.settings.search
    drafted: list[tuple[Member, Mating, Bred]] = []
    base = case.next_ordinal
    for number in range(search.children):
        wanted = reserve(case) + (len(drafted) + 1) * (1 + search.screen_samples) + search.block_samples
        if meter.minutes_left <= meter.minutes_for(reserve(case)) or (drafted and meter.calls_left < wanted):
            break
        parent = _parent(case, number)
        if case.generation == 0:  # later children inherit theirs
            parent = replace(parent, mutation=number % len(case.mutation_prompts))
        prompts = (*case.mutation_prompts, *brood.prompts[len(case.mutation_prompts) if case.generation == 0 else 0 :])
        taken = tuple(m.draft.instruction for m in (*case.finished, *brood.children, *(d[0] for d in drafted)))
        mating = mate(case, parent, base + number, prompts, taken)
        bred = yield from breed(case, mating)
        if bred.draft.spent_out:
            brood.spent_out = True
            break
        if bred.mutation_prompt is not None:
            brood.prompts.append(bred.mutation_prompt)
        member = Member(
            ordinal=base + number, slot=0, generation=case.generation, parent=parent.ordinal,
            second_parent=bred.second_parent, mutation=bred.mutation, draft=bred.draft,
        )  # fmt: skip
        if bred.draft.refused:
            brood.put(replace(member, fate=Fate.REFUSED, fate_reason=bred.draft.refused))
            brood.count(bred.names, improved=False)
        else:
            drafted.append((member, mating, bred))
    return drafted


def _parent(case: MutateCase, number: int) -> Member:
    """Draw a parent: by Thompson sampling on right and wrong answers, or, where scores are graded, per-instance Pareto."""
    rng = stream(case.seed, "parent", case.generation, number)
    pool = case.population
    graded = any(0 < outcome.value < 1 for member in pool for outcome in member.outcomes)
    if graded:
        led = _led(pool)
        weights = [led[m.ordinal] / sum(led.values()) for m in pool]
        return pool[int(rng.choice(len(pool), p=weights))]
    draws = [float(rng.beta(1 + m.correct, 1 + m.n - m.correct)) for m in pool]
    return max(zip(draws, pool, strict=True), key=lambda pair: (pair[0], pair[1].ordinal))[1]


def _led(pool: Sequence[Member]) -> dict[int, float]:
    """Count for each member the samples on which it is the best; a tie goes to the newest (GEPA, ties per the peer study)."""
    best: dict[int, tuple[float, int]] = {}
    for member in pool:
        for sample, value in member.values.items():
            best[sample] = max(best.get(sample, (-1.0, -1)), (value, member.ordinal))
    led = dict.fromkeys((m.ordinal for m in pool), 1e-9)
    for _, ordinal in best.values():
        led[ordinal] += 1
    return led


def _screen(case: MutateCase, brood: Brood, member: Member, mating: Mating) -> Flow[Screened | None]:
    """Run a child on failures and successes of its parent; None when it is not better there."""
    parent, items = mating.winner, _screen_items(case, member, mating)
    outcomes = yield from _run(case, member, items, brood)
    if outcomes is None:
        return None
    done = measured(case.rules, member, outcomes)
    gain = lead(done.values, parent.values)
    shorter = len(member.draft.instruction) < len(parent.draft.instruction)
    enough = gain >= GAIN or (gain >= 0 and (case.few or shorter))
    better = gain >= GAIN or (shorter and gain >= 0)
    why = f"{gain:+.2f} on its first {len(outcomes)} samples"
    brood.put(replace(done, improved=better, fate=Fate.ALIVE if enough else Fate.DROPPED, fate_reason=why))
    return Screened(done, parent, gain, better) if enough else None


def _screen_items(case: MutateCase, member: Member, mating: Mating) -> tuple[Item, ...]:
    """Choose the first samples: those whose failure the generator was shown, then successes; never only failures."""
    search = case.rules.settings.search
    here = examples.unseen(case.template, member.draft.instruction, race_items(case))
    done = {o.sample: o for o in mating.winner.outcomes}
    shown = {one.sample for one in mating.failed}
    rng = stream(case.seed, "screen", case.generation, member.ordinal)
    order = [here[int(i)] for i in rng.permutation(len(here)) if here[int(i)].sample in done]
    wrong = [item for item in order if not done[item.sample].correct]
    wrong.sort(key=lambda item: item.sample not in shown)
    right = [item for item in order if done[item.sample].correct]
    most = max(1, round(search.screen_samples * SHOWN_SHARE))
    chosen = wrong[:most]
    return tuple(chosen + right[: max(1, search.screen_samples - most)])


def _leader(case: MutateCase) -> Member:
    return max(case.population, key=lambda m: (m.fitness, m.ordinal))


def _race(case: MutateCase, brood: Brood, candidate: Screened, leader: Member, meter: Meter) -> Flow[Member]:
    """Run a candidate block by block against the leader, whose failures come first; return who leads then."""
    search, rival = case.rules.settings.search, leader.values
    member = candidate.member
    here = examples.unseen(case.template, member.draft.instruction, race_items(case))
    left = [item for item in here if item.sample in rival and item.sample not in member.values]
    rng = stream(case.seed, "race", case.generation, member.ordinal)
    left = [left[int(i)] for i in rng.permutation(len(left))]
    left.sort(key=lambda item: rival[item.sample])
    outcomes = member.outcomes
    while left:
        if meter.calls_left < reserve(case) + min(search.block_samples, len(left)):
            brood.put(_dropped(case, member, outcomes, "the budget ended in its race"))
            return leader
        block, left = tuple(left[: search.block_samples]), left[search.block_samples :]
        fresh = yield from _run(case, member, block, brood)
        if fresh is None:
            return leader
        outcomes = (*outcomes, *fresh)
        behind = lead(values_of(outcomes), rival)
        if behind <= -search.drop_at or behind + potential(rival, (i.sample for i in left)) <= -search.drop_at:
            brood.put(
                _dropped(case, member, outcomes, f"{behind:+.2f} behind the leader after {len(outcomes)} samples")
            )
            return leader
    done = measured(case.rules, member, outcomes)
    fitter = done.fitness > candidate.parent.fitness
    brood.put(replace(done, improved=fitter, fate=Fate.ALIVE, fate_reason=""))
    return done if done.fitness > leader.fitness else leader


def _run(case: MutateCase, member: Member, items: tuple[Item, ...], brood: Brood) -> Flow[tuple[Outcome, ...] | None]:
    """Run *member* on *items*; None, and no trace of it, when the budget ends on the way."""
    template = case.template.with_instruction(member.draft.instruction)
    result = yield from evaluate(case.rules, template, items, case.seed)
    if not result.spent_out:
        return result.outcomes
    brood.spent_out = True
    brood.put(replace(member, fate=Fate.DROPPED, fate_reason="the budget ended before it was run"))
    return None


def _dropped(case: MutateCase, member: Member, outcomes: tuple[Outcome, ...], why: str) -> Member:
    return replace(measured(case.rules, member, outcomes), fate=Fate.DROPPED, fate_reason=why)


def _trim(case: MutateCase, brood: Brood) -> None:
    """Keep the pool at its size: the least fit leave, the incumbent never."""
    members = [*case.population, *(m for m in brood.children if m.fate is Fate.ALIVE and m.n)]
    members = list({m.ordinal: m for m in members}.values())
    surplus = len(members) - case.rules.settings.search.pool
    for member in sorted((m for m in members if m.ordinal), key=lambda m: (m.fitness, m.ordinal))[: max(0, surplus)]:
        why = "fitter ones filled the pool"
        if any(m.ordinal == member.ordinal for m in brood.children):
            brood.put(replace(member, fate=Fate.REPLACED, fate_reason=why))
        else:
            brood.changed.append((member.ordinal, Fate.REPLACED, why))
