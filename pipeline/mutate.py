"""Stage 2 of 6 — mutate: look for better prompts, in one of two modes behind one interface.

`race` (the default) and `promptbreeder` share the operators, the gates, the budget, the samples and the strict end. One
visit is one round or generation; a visit that is saved is never made again.
"""

from __future__ import annotations

from dataclasses import replace

from pipeline import race, tournament
from pipeline.confirm import Confirmation, confirm, reserve
from pipeline.domain import Ending, Fate, Next, Stage
from pipeline.flow import Flow
from pipeline.population import Member
from pipeline.search import Brood, Meter, MutateCase, MutateDecision, total
from pipeline.unmeasured import unmeasured


def mutate(case: MutateCase) -> Flow[MutateDecision]:
    """Make one visit, then decide whether to go on; at the end confirm the best and hand them to the judge."""
    meter = Meter(calls_left=case.calls_left, minutes_left=case.minutes_left)
    decision = yield from meter.over(_visit(case, meter))
    return decision


def _visit(case: MutateCase, meter: Meter) -> Flow[MutateDecision]:
    if not case.scored_items:  # nothing to measure a prompt on
        decision = yield from unmeasured(case)
        return decision
    stop = "the budget is spent" if case.generation and _spent_out(case, meter) else ""
    brood = Brood() if stop else (yield from _made(case, meter))
    members = _members(case, brood)
    best = max((m.fitness for m in members if m.whole), default=0.0)
    before = max((m.fitness for m in case.finished if m.whole), default=-1.0)
    stale = 0 if best > before else case.stale + 1
    stop = stop or _why_stop(case, meter, stale, members, spent_out=brood.spent_out)
    base = MutateDecision(
        next=Stage.MUTATE, generation=case.generation, children=tuple(brood.children),
        mutation_prompts=tuple(brood.prompts), tally=_tally(brood.children), stale=stale, best_fitness=best, finalists=(),
        reason=stop, operators=total(brood.operators), changed=tuple(brood.changed),
    )  # fmt: skip
    if brood.trouble:
        return replace(base, next=Ending.FAILED, reason=f"the skill's own scorer fails: {brood.trouble}")
    if not stop:
        return base
    found = yield from confirm(case, members, meter)
    return _ended(case, base, found, stop)


def _made(case: MutateCase, meter: Meter) -> Flow[Brood]:
    if case.rules.settings.search.mode == "race":
        first, following = race.first_round, race.next_round
    else:
        first, following = tournament.first_population, tournament.next_generation
    brood = yield from (following if case.generation else first)(case, meter)
    return brood


def _members(case: MutateCase, brood: Brood) -> list[Member]:
    """Return everybody who was measured in this run, as they stand now."""
    fates = {ordinal: (fate, why) for ordinal, fate, why in brood.changed}
    known = {m.ordinal: m for m in (*case.finished, *brood.children)}
    return [
        replace(m, fate=fates[m.ordinal][0], fate_reason=fates[m.ordinal][1]) if m.ordinal in fates else m
        for m in known.values()
    ]


def _why_stop(case: MutateCase, meter: Meter, stale: int, members: list[Member], *, spent_out: bool) -> str:
    search = case.rules.settings.search
    if case.generation + 1 >= search.generations:
        return f"all {search.generations} generations are done"
    if stale >= search.patience:
        return f"{stale} generations brought nothing better"
    if spent_out or _spent_out(case, meter):
        return "the budget is spent"
    if search.mode == "race" and race.perfect(members):
        return "every sample of the search is right"
    return ""


def _spent_out(case: MutateCase, meter: Meter) -> bool:
    """Tell whether one more candidate no longer fits into the budget beside the confirmation."""
    search = case.rules.settings.search
    if meter.minutes_left <= meter.minutes_for(reserve(case)):
        return True
    if search.mode == "race":
        return not race.affordable(case, meter.calls_left)
    return meter.calls_left < min(len(case.scored_items), search.fitness_samples) + 2 + reserve(case)


def _ended(case: MutateCase, base: MutateDecision, found: Confirmation, why: str) -> MutateDecision:
    """Hand the finalists on, or end the run."""
    to: Next = Stage.JUDGE if found.ranked else Ending.NO_IMPROVEMENT
    words = f"{len(found.ranked)} finalists" if found.ranked else "nothing did better than the prompt in use"
    if found.refuted and not found.ranked:
        words = "nothing that looked better held up on fresh samples"
    if found.starved and not found.ranked:
        words = "what looked better could not be confirmed on fresh samples"
    if case.few:
        words += f"; only {case.labelled} labelled samples, so judge and votes decide"
    refuted = tuple((ordinal, Fate.UNCONFIRMED, reason) for ordinal, reason in sorted(found.refuted.items()))
    return replace(
        base,
        next=to,
        finalists=found.ranked,
        reason=f"{why}: {words}",
        changed=(*base.changed, *refuted),
        confirmed=tuple(sorted(found.outcomes.items())),
    )


def _tally(children: list[Member]) -> tuple[tuple[int, int, int], ...]:
    used: dict[int, tuple[int, int]] = {}
    for child in children:
        if child.mutation is not None and child.ordinal != 0:
            applied, improved = used.get(child.mutation, (0, 0))
            used[child.mutation] = (applied + 1, improved + child.improved)
    return tuple((ordinal, applied, improved) for ordinal, (applied, improved) in sorted(used.items()))
