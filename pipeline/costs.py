"""What a search costs, told before it starts: all arithmetic of calls, proposals and model time is here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from pipeline.decision_settings import Voting
from pipeline.domain import Role
from pipeline.settings import Search

WANTED = 3  # proposals; a search that tests fewer has hardly looked
FEWEST_RACED = 20  # samples of a race, whatever the budget
RACE_SHARE = 8  # the samples of a race cost at most this part of the budget per candidate
RACES = 2  # candidates raced in a round at most
RACED_ON = 1 / 3  # share of the proposals that pass the screen and are run on every sample of the race; assumed
EXAMPLE_SHARE = 10  # at most this part of the search's samples is set aside as examples
KEPT_PROMPTS = 3  # whose confirmation is kept out of the search's reach
FRESH_SHARE = 16  # the fresh samples of a confirmation cost at most this part of the budget per candidate
SPARE = 2  # calls that PromptBreeder's mode keeps free
MIN_CALLS = 10  # calls from which their mean duration is believed; a first call may load the model
ASSUMED_S: Mapping[Role, float] = MappingProxyType(
    {Role.GENERATOR: 2.5, Role.TASK: 2.5, Role.JUDGE: 1.5, Role.SECOND_JUDGE: 30.0, Role.EMBEDDER: 0.3}
)
"""Seconds of one call where nothing is measured yet. Assumed for small models on a laptop, not measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Labelled:
    """Samples of a skill whose right answer is known, by split."""

    search: int
    select: int
    confirm: int
    report: int

    @property
    def total(self) -> int:
        """All of them."""
        return self.search + self.select + self.confirm + self.report


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What a search may spend and what it gets for it, in model calls.

    Attributes:
        calls: most calls of the search: its budget, or less where samples and generations cannot use it up.
        wanted: proposals that it must be able to test; three, or fewer where the generations hold fewer.
        least: fewest calls that test as many.
        proposals: about how many it can test.
        generator, task: about how the search's calls divide; together at most `calls`.
        judge, embedder: about how many follow it; the search's budget does not hold them.
    """

    calls: int
    wanted: int
    least: int
    proposals: int
    generator: int
    task: int
    judge: int
    embedder: int

    @property
    def measured(self) -> bool:
        """Whether any prompt is run on a sample; else judge, patterns and votes decide."""
        return self.task > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelTime:
    """How long the calls of a plan take; waiting for the user's own work is not in it.

    Attributes:
        search_min: of the search, held to its budget.
        after_min: of judging, comparing and replaying what it found.
    """

    search_min: float
    after_min: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Price:
    """What the parts of a search cost, in calls.

    Attributes:
        proposals: most that the generations hold.
        first: the prompt in use.
        mean: task calls of one proposal, on average.
        breeding: most calls of all proposals, those that are refused among them.
        look: task calls of a proposal on the fewest samples that say something about it.
        spare: calls that the search wants to see left before it begins another proposal, beyond those of a look.
        kept: calls kept for confirming the best on fresh samples; `confirm`: most that this takes.
    """

    proposals: int
    first: int
    mean: float
    breeding: int
    look: int
    spare: int
    kept: int
    confirm: int

    @property
    def wanted(self) -> int:
        """Proposals that a search must be able to test."""
        return min(WANTED, self.proposals)

    @property
    def least(self) -> int:
        """Fewest calls that test as many."""
        return self.first + self.wanted * (1 + self.look) + self.spare + self.kept


def plan(search: Search, labelled: Labelled, *, calls: int | None = None) -> Plan:
    """Say what *search* may spend on a skill with *labelled* samples, and how many proposals that tests.

    A race runs the prompt in use on its samples, every proposal on `screen_samples` of them, and about one in three of
    those on the rest. PromptBreeder runs every member on `fitness_samples`. Either keeps calls for confirming the best on
    fresh samples, and no part uses more samples than there are. The generator is asked once for a proposal; the most
    counts its retries and a mutation prompt for each.

    Args:
        search: the settings.
        labelled: the samples.
        calls: most of the search, where its minutes end it before its budget of calls does.
    """
    budget = max(0, search.budget_calls if calls is None else min(calls, search.budget_calls))
    if not labelled.search:
        return _unmeasured(search, budget)
    price, least = _price(search, labelled), _least(search, labelled)
    calls = min(budget, price.first + price.breeding + price.confirm)
    proposals = _proposals(price, budget, least)
    running = price.first + round(proposals * price.mean) + price.kept
    judged = min(_finalists(search), proposals)
    return Plan(
        calls=calls, wanted=price.wanted, least=least, proposals=proposals, generator=proposals,
        task=min(calls - proposals, running), judge=judged, embedder=min(judged, 1),
    )  # fmt: skip


def race_size(search: Search) -> int:
    """Return the samples of a race: at most `race_samples`, and few enough that the budget carries several candidates."""
    return min(search.race_samples, max(FEWEST_RACED, search.budget_calls // RACE_SHARE))


def fresh_size(search: Search) -> int:
    """Return the fresh samples of a confirmation: at most `confirm_samples`, and a small part of the budget."""
    return min(search.confirm_samples, search.budget_calls // FRESH_SHARE)


def kept_for_confirmation(search: Search, fresh: int) -> int:
    """Return the calls kept for a confirmation on *fresh* samples: the prompt in use and two finalists."""
    return fresh * min(KEPT_PROMPTS, 1 + search.confirm_finalists)


def example_size(search: Search, labelled: int) -> int:
    """Return how many of the search's *labelled* samples are set aside as examples, on which no prompt is run."""
    return min(4 * search.examples, labelled // EXAMPLE_SHARE)


def plan_in_time(search: Search, labelled: Labelled, seconds: Mapping[Role, float]) -> Plan:
    """Return the plan that the minutes of *search* leave of `plan`, by the seconds that a call of each role takes."""
    planned = plan(search, labelled)
    while (used_min := _search_minutes(planned, seconds)) > search.budget_min:
        calls = planned.generator + planned.task
        planned = plan(search, labelled, calls=min(int(calls * search.budget_min / used_min), calls - 1))
    return planned


def too_small(planned: Plan, budget_calls: int) -> str:
    """Say that a budget of *budget_calls* cannot test the proposals that it must; empty when it can."""
    if budget_calls >= planned.least:
        return ""
    return f"The budget of {budget_calls} calls cannot test {_proposals_in_words(planned.wanted)}."


def too_short(planned: Plan, budget_min: float, seconds: Mapping[Role, float]) -> str:
    """Say the same of a budget of *budget_min* minutes, by the seconds that a call of each role takes."""
    if budget_min >= least_minutes(planned, seconds):
        return ""
    return f"The budget of {budget_min:g} min of model time cannot test {_proposals_in_words(planned.wanted)}."


def least_minutes(planned: Plan, seconds: Mapping[Role, float]) -> float:
    """Return the minutes of model time that the least of a plan takes."""
    running = planned.least - planned.wanted
    return (planned.wanted * seconds[Role.GENERATOR] + running * seconds[Role.TASK]) / 60


def replay_calls(voting: Voting, labelled: Labelled) -> int:
    """Return the task calls of a replay: the prompt in use and those that go on, each on every held-out task.

    What the search measured on the select part is not run again; ballots, one call a prompt each, come on top.
    """
    held_out = min(voting.replay_confirm, labelled.confirm) + labelled.report
    return (1 + voting.challengers) * held_out


def model_time(planned: Plan, budget_min: float, seconds: Mapping[Role, float], *, replay: int = 0) -> ModelTime:
    """Return how long a plan's calls, and *replay* task calls after it, take by the seconds of a call of each role."""
    after = planned.judge * seconds[Role.JUDGE] + planned.embedder * seconds[Role.EMBEDDER]
    after = (after + replay * seconds[Role.TASK]) / 60
    return ModelTime(search_min=min(_search_minutes(planned, seconds), budget_min), after_min=after)


def _search_minutes(planned: Plan, seconds: Mapping[Role, float]) -> float:
    return (planned.generator * seconds[Role.GENERATOR] + planned.task * seconds[Role.TASK]) / 60


def _price(search: Search, labelled: Labelled) -> _Price:
    return _race(search, labelled) if search.mode == "race" else _promptbreeder(search, labelled)


def _race(search: Search, labelled: Labelled) -> _Price:
    full = min(race_size(search), labelled.search - example_size(search, labelled.search))
    screen, fresh = min(search.screen_samples, full), min(fresh_size(search), labelled.select)
    look = min(search.screen_samples + search.block_samples, full)
    written = search.retries + 2
    return _Price(
        proposals=search.generations * search.children,
        first=full,
        mean=screen + RACED_ON * (full - screen),
        breeding=search.generations * (search.children * (written + screen) + RACES * full),
        look=look,
        spare=search.screen_samples + search.block_samples - look,
        kept=kept_for_confirmation(search, fresh),
        confirm=(search.confirm_finalists + 1) * fresh,
    )


def _promptbreeder(search: Search, labelled: Labelled) -> _Price:
    """The first generation fills the population, whose first member is the prompt in use; later ones overwrite half."""
    size = min(search.fitness_samples, labelled.search - example_size(search, labelled.search))
    fresh = min(fresh_size(search), labelled.select)
    proposals = search.population - 1 + (search.generations - 1) * (search.population // 2)
    return _Price(
        proposals=proposals,
        first=size,
        mean=size,
        breeding=proposals * size + search.generations * search.population * (search.retries + 2),
        look=size,
        spare=SPARE,
        kept=kept_for_confirmation(search, fresh),
        confirm=(search.confirm_finalists + 1) * fresh,
    )


def _unmeasured(search: Search, budget: int) -> Plan:
    """Without a sample to run a prompt on, every other proposal is the generator's, and the judge reads them all."""
    finalists = _finalists(search)
    calls = min(budget, _halved(finalists) * (search.retries + 1))
    proposals, wanted = min(finalists, budget), min(WANTED, finalists)
    return Plan(
        calls=calls, wanted=wanted, least=wanted, proposals=proposals, generator=_halved(proposals), task=0,
        judge=proposals, embedder=min(proposals, 1),
    )  # fmt: skip


def _least(search: Search, labelled: Labelled) -> int:
    """Return the smallest budget that covers its own least: a larger one has more samples to run prompts on."""
    budget = 0
    while (least := _price(replace(search, budget_calls=budget), labelled).least) > budget:
        budget = least
    return budget


def _proposals(price: _Price, budget: int, least: int) -> int:
    """Return how many proposals *budget* tests: on average from the least upwards, at the cheapest below it."""
    if budget < least:
        cheapest = (budget - price.first - price.spare - price.kept) // (1 + price.look)
        return max(0, min(cheapest, price.wanted - 1))
    on_average = int((budget - price.first - price.kept) / (1 + price.mean))
    return min(price.proposals, max(price.wanted, on_average))


def _halved(count: int) -> int:
    return (count + 1) // 2


def _finalists(search: Search) -> int:
    return search.finalists_per_variant * search.variants


def _proposals_in_words(count: int) -> str:
    return {1: "one proposal", 2: "two proposals", 3: "three proposals"}[count]
