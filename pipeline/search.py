"""What a search knows when a visit begins, and what the visit decides; both search modes speak in these values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from datetime import datetime

from pipeline.algorithms.tokens import UNTAUGHT, Gauge
from pipeline.costs import example_size
from pipeline.domain import Fate, Next
from pipeline.fitness import Item
from pipeline.flow import Flow, Generate, Generated, T
from pipeline.meta_prompt import Failure, Success
from pipeline.population import Member, MutationPrompt, Outcome
from pipeline.room import Exact, Room, room_of
from pipeline.rules import Rules
from pipeline.skills import PromptTemplate


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """How often an operator was applied, and how often the child was better than its parent."""

    name: str
    applied: int = 0
    improved: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MutateCase:
    """One visit's work: a generation of `promptbreeder`, a round of `race`.

    Attributes:
        generation: 0 measures the incumbent and makes the first prompts, later ones change them.
        population: the members that may have children, in the order of slots; empty in generation 0.
        finished: every evaluated variant of this run, for choosing finalists over the whole run.
        mutation_prompts: those of this run, in the order of their ordinals.
        items: labelled samples of the search split; all fitness comes from them.
        confirm_items: of the select split, which no prompt was bred or selected on.
        labelled: the skill's labelled samples, of all splits.
        failures, successes: from the log, shown to the generator; of the search split too.
        tallies: of the operators, in this run and earlier ones of the skill.
        foreign: rules that won for other skills.
        lost, failed: how often each kind of loss occurred in the log's newest failures, and how many those are; 0 when
            `failures` are all of them.
        gauge: what the counts of the generator's earlier calls have taught.
        exact: counts by the generator's own vocabulary, where a worker can read it.
        next_ordinal: ordinal of the first new variant.
        stale: visits since the best member last improved.
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
    confirm_items: tuple[Item, ...] = ()
    labelled: int = 0
    tallies: tuple[Tally, ...] = ()
    foreign: tuple[str, ...] = ()
    lost: tuple[tuple[str, int], ...] = ()
    failed: int = 0
    gauge: Gauge = UNTAUGHT
    exact: Exact | None = None

    @property
    def room(self) -> Room:
        """How long a question to the generator may be."""
        return room_of(self.rules, self.gauge, self.exact)

    @property
    def scored_items(self) -> tuple[Item, ...]:
        """The samples that prompts are run on: those that no prompt may carry as examples."""
        return self.items[: len(self.items) - example_size(self.rules.settings.search, len(self.items))]

    @property
    def example_items(self) -> tuple[Item, ...]:
        """The samples that prompts may carry as examples; none is run on them, so that all are compared on the same."""
        return self.items[len(self.scored_items) :]

    @property
    def few(self) -> bool:
        """Whether there are too few labelled samples to tell prompts apart by them."""
        return self.labelled < self.rules.settings.search.min_labelled


@dataclass(frozen=True, slots=True, kw_only=True)
class MutateDecision:
    """What a visit brought.

    Attributes:
        children: new variants, evaluated or refused; their slot tells whom they overwrite (promptbreeder).
        mutation_prompts: new ones.
        tally: per mutation prompt's ordinal, how often it was applied and how often the child was fitter.
        operators: the same per operator.
        changed: members of earlier visits with a new fate.
        confirmed: per ordinal, what the prompt did on fresh samples.
        finalists: ordinals handed to the judge, best first; empty while the search goes on.
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
    operators: tuple[Tally, ...] = ()
    changed: tuple[tuple[int, Fate, str], ...] = ()
    confirmed: tuple[tuple[int, tuple[Outcome, ...]], ...] = ()
    due: datetime | None = None  # only a wait has a timer


@dataclass(slots=True)
class Brood:
    """What one visit has made so far.

    Attributes:
        spent_out: the budget ended before it was complete.
        trouble: why nothing can be measured at all.
    """

    children: list[Member] = field(default_factory=list)
    prompts: list[MutationPrompt] = field(default_factory=list)
    operators: list[Tally] = field(default_factory=list)
    changed: list[tuple[int, Fate, str]] = field(default_factory=list)
    spent_out: bool = False
    trouble: str = ""

    def put(self, member: Member) -> None:
        """Add a member, or put it in the place of its earlier state."""
        for place, known in enumerate(self.children):
            if known.ordinal == member.ordinal:
                self.children[place] = member
                return
        self.children.append(member)

    def count(self, names: Iterable[str], *, improved: bool) -> None:
        """Enter one use of an operator, and of the way in which its reply was taken."""
        for name in names:
            self.operators.append(Tally(name=name, applied=1, improved=int(improved)))


@dataclass(slots=True)
class Meter:
    """Counts what a visit spends, so that a flow can hold its own budget without a clock."""

    calls_left: float
    minutes_left: float
    calls_made: int = 0
    minutes_made: float = 0.0

    def minutes_for(self, calls: float) -> float:
        """Return the model time that so many calls take, at the mean of this visit's calls."""
        return calls * self.minutes_made / self.calls_made if self.calls_made else 0.0

    def over(self, flow: Flow[T]) -> Flow[T]:
        """Run *flow* and count every model call on its way."""
        try:
            request = next(flow)
            while True:
                reply = yield request
                if isinstance(request, Generate):
                    took = (reply.duration_s if isinstance(reply, Generated) else 0.0) / 60
                    self.calls_left, self.calls_made = self.calls_left - 1, self.calls_made + 1
                    self.minutes_left, self.minutes_made = self.minutes_left - took, self.minutes_made + took
                request = flow.send(reply)
        except StopIteration as stop:
            value: T = stop.value
            return value
        finally:
            flow.close()


def fitness(rules: Rules, instruction: str, outcomes: Iterable[Outcome]) -> float:
    """Mean score less the penalty for length, in proportion to the longest instruction allowed (CAPO)."""
    values = [outcome.value for outcome in outcomes]
    search = rules.settings.search
    length = len(instruction.split()) / search.max_instruction_words
    return max(0.0, sum(values) / len(values) - search.length_penalty * length) if values else 0.0


def measured(rules: Rules, member: Member, outcomes: tuple[Outcome, ...]) -> Member:
    """Return *member* with its outcomes, counts and fitness."""
    return replace(
        member,
        outcomes=outcomes,
        correct=sum(outcome.correct for outcome in outcomes),
        n=len(outcomes),
        fitness=fitness(rules, member.draft.instruction, outcomes),
    )


def total(tallies: Iterable[Tally]) -> tuple[Tally, ...]:
    """Add tallies up by name, in the order of names."""
    sums: dict[str, tuple[int, int]] = {}
    for one in tallies:
        applied, improved = sums.get(one.name, (0, 0))
        sums[one.name] = (applied + one.applied, improved + one.improved)
    return tuple(Tally(name=name, applied=a, improved=i) for name, (a, i) in sorted(sums.items()))
