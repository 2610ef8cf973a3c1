"""The strict end of a search: the best are run on samples that nothing was bred or selected on, beside the incumbent.

Lenient while exploring, strict here: a prompt that only looked better is caught before it costs a person's votes.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from statistics import fmean

from pipeline.algorithms.paired import lead, probability_better, sign_test, wins_losses
from pipeline.algorithms.shrinkage import shrunk
from pipeline.costs import fresh_size, kept_for_confirmation
from pipeline.domain import Fate
from pipeline.examples import unseen
from pipeline.fitness import Item, evaluate
from pipeline.flow import Flow
from pipeline.population import Member, Outcome, values_of
from pipeline.search import Meter, MutateCase

SURE = 0.95  # probability that it is better which a finalist needs
P_VALUE = 0.10  # of the fresh samples alone, where there are enough of them
ENOUGH = 40  # fresh samples from which that is asked


@dataclass(slots=True)
class Confirmation:
    """What the fresh samples said.

    Attributes:
        outcomes: per ordinal, the incumbent's among them.
        refuted: per ordinal of a finalist that did not hold up, or could not be run on all of them, why.
        ranked: ordinals handed on, best first.
        starved: the budget left no room for it.
    """

    outcomes: dict[int, tuple[Outcome, ...]] = field(default_factory=dict)
    refuted: dict[int, str] = field(default_factory=dict)
    ranked: tuple[int, ...] = ()
    starved: bool = False


def confirm_items(case: MutateCase) -> tuple[Item, ...]:
    """Return the fresh samples: as many as the setting allows and the budget carries."""
    return case.confirm_items[: fresh_size(case.rules.settings.search)]


def reserve(case: MutateCase) -> int:
    """Return the calls that are kept for the confirmation."""
    return kept_for_confirmation(case.rules.settings.search, len(confirm_items(case)))


def confirm(case: MutateCase, members: list[Member], meter: Meter) -> Flow[Confirmation]:
    """Confirm the best of *members* and rank those that may go on.

    Args:
        case: the search.
        members: all that were measured, the incumbent (ordinal 0) among them.
        meter: what the budget still allows.
    """
    found, search = Confirmation(), case.rules.settings.search
    incumbent = next((m for m in members if m.ordinal == 0), None)
    ahead = _ahead(case, members, incumbent)
    items = confirm_items(case)
    items = items[: max(0, int(meter.calls_left) // 2)]
    if ahead and incumbent is not None and items and meter.minutes_left > 0:
        result = yield from _measure(case, incumbent, items, found)
        for member in ahead[: search.confirm_finalists] if result else ():
            if meter.calls_left < len(items) or meter.minutes_left <= meter.minutes_for(len(items)):
                break
            yield from _challenge(case, member, incumbent, items, found)
    found.starved = bool(ahead and confirm_items(case)) and not any(m.ordinal in found.outcomes for m in ahead)
    found.ranked = _ranked(case, ahead, found)
    return found


def _ahead(case: MutateCase, members: list[Member], incumbent: Member | None) -> list[Member]:
    """Return those in the running that did better than the incumbent on the search's samples, best first."""
    if incumbent is None:
        return []
    here = [
        m for m in members
        if m.ordinal and m.whole and m.fate in (Fate.ALIVE, Fate.REPLACED) and lead(m.values, incumbent.values) >= 0
        and (m.fitness > incumbent.fitness or case.few)
    ]  # fmt: skip
    return sorted(here, key=lambda m: (-m.fitness, m.ordinal))


def _measure(case: MutateCase, member: Member, items: tuple[Item, ...], found: Confirmation) -> Flow[bool]:
    template = case.template.with_instruction(member.draft.instruction)
    here = unseen(case.template, member.draft.instruction, items)
    result = yield from evaluate(case.rules, template, here, case.seed)
    if result.spent_out:
        return False
    found.outcomes[member.ordinal] = found.outcomes.get(member.ordinal, ()) + result.outcomes
    return True


def _challenge(
    case: MutateCase, member: Member, incumbent: Member, items: tuple[Item, ...], found: Confirmation
) -> Flow[None]:
    """Run a finalist in blocks; it ends early when it falls behind the incumbent."""
    search = case.rules.settings.search
    base = values_of(found.outcomes[incumbent.ordinal])
    for start in range(0, len(items), search.block_samples):
        if not (yield from _measure(case, member, items[start : start + search.block_samples], found)):
            found.refuted[member.ordinal] = "the budget ended in its confirmation"
            return
        if lead(values_of(found.outcomes[member.ordinal]), base) <= -search.drop_at:
            break
    why = _doubt(case, member, incumbent, found)
    if why:
        found.refuted[member.ordinal] = why


def _doubt(case: MutateCase, member: Member, incumbent: Member, found: Confirmation) -> str:
    """Say why a finalist did not hold up on fresh samples; empty when it did.

    The search's own wins count half: the finalist was selected on them.
    """
    fresh, base = values_of(found.outcomes[member.ordinal]), values_of(found.outcomes[incumbent.ordinal])
    wins, losses = wins_losses(fresh, base)
    said = f"{wins} better and {losses} worse on {len(fresh)} fresh samples"
    if case.few:
        return said if wins < losses else ""
    searched, lost = wins_losses(member.values, incumbent.values)
    sure = probability_better(wins + searched // 2, losses + (lost + 1) // 2)
    enough = len(fresh) < ENOUGH or sign_test(wins, losses) <= P_VALUE
    return "" if wins > losses and sure >= SURE and enough else said


def _ranked(case: MutateCase, ahead: list[Member], found: Confirmation) -> tuple[int, ...]:
    """Order those that may go on: the confirmed, by what all samples say, shrunk towards their mean.

    Those that were not run on fresh samples go on only where there are none, or too few labelled samples to be strict.
    """
    search = case.rules.settings.search
    tested = [m for m in ahead if m.ordinal in found.outcomes and m.ordinal not in found.refuted]
    means = [fmean([*m.values.values(), *values_of(found.outcomes[m.ordinal]).values()]) for m in tested]
    worth = dict(zip((m.ordinal for m in tested), shrunk(means, _noise(tested, found)), strict=True))
    tested.sort(key=lambda m: (-worth[m.ordinal], -m.fitness, m.ordinal))
    open_to_all = case.few or not confirm_items(case)
    untested = [m for m in ahead if open_to_all and m.ordinal not in found.outcomes]
    return tuple(m.ordinal for m in (*tested, *untested))[: search.finalists_per_variant * search.variants]


def _noise(tested: list[Member], found: Confirmation) -> float:
    """Variance of one finalist's mean, from its share of right answers."""
    if not tested:
        return 0.0
    n = fmean(m.n + len(found.outcomes[m.ordinal]) for m in tested)
    p = fmean(m.correct / m.n for m in tested)
    return p * (1 - p) / n
