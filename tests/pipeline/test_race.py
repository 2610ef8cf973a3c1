"""Rounds of the race against a tiny pair of models whose skill depends on words in the instruction."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline import examples, race
from pipeline.algorithms.streams import stream
from pipeline.confirm import reserve
from pipeline.domain import Ending, Fate, MutationType, Role, SampleId, SkillName, Stage
from pipeline.fitness import Item
from pipeline.flow import Failed, FailureKind, Generate, Generated, Reply, Request, Scored, ScoreOutside, drive
from pipeline.mutate import mutate
from pipeline.operator_choice import GRAFT, WHOLE
from pipeline.population import Draft, Member, Outcome
from pipeline.rules import Rules
from pipeline.search import Meter, MutateCase, MutateDecision, Tally, total
from pipeline.sentences import added
from pipeline.settings import Settings
from pipeline.skills import PromptTemplate, SkillSpec

WORDS = ("lower", "hyphens", "brief", "noun", "exact", "colour")
FRESH = 1000  # first number of a fresh sample
SEED_TEXT = "Name the picture well, please."
GRAFTING = (
    Tally(name=MutationType.FIRST_ORDER, applied=500, improved=500),
    Tally(name=GRAFT, applied=500, improved=500),
    Tally(name=WHOLE, applied=500),
)


def items_from(first: int, count: int) -> tuple[Item, ...]:
    """Samples, each of which needs one word in the instruction."""
    return tuple(
        Item(
            sample=SampleId(first + i), fields=(("text", f"picture {first + i} of {WORDS[i % len(WORDS)]}"),),
            expected=f"name {first + i}",
        )
        for i in range(count)
    )  # fmt: skip


@dataclass
class Pair:
    """A generator that writes about two of six words, and a task model that needs the sample's word in its prompt.

    Attributes:
        budget: calls after which only BUDGET is answered.
        luck: chance of a right answer without the word.
        graded: answers are worth 0.3 or 0.9 instead of 0 or 1.
        tasks: instruction and input of each answered task call, in order.
        log: every answered request with its reply.
    """

    budget: float = 10**9
    seed: int = 0
    luck: float = 0.1
    graded: bool = False
    write: Callable[[int], str] | None = None
    works: Callable[[str, str], float] | None = None
    calls: int = 0
    written: int = 0
    tasks: list[tuple[str, str]] = field(default_factory=list)
    log: list[tuple[Request, Reply]] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        """Answer one request, always in the same way."""
        reply = self.answer(request)
        self.log.append((request, reply))
        return reply

    def answer(self, request: Request) -> Reply:
        """Score, write or work."""
        if isinstance(request, ScoreOutside):
            value = float(request.output) if request.output.replace(".", "").isdigit() else 0.0
            return Scored(value=value, lost=() if value >= 0.5 else ("poor",))
        assert isinstance(request, Generate)
        if self.calls >= self.budget:
            return Failed(kind=FailureKind.BUDGET)
        self.calls += 1
        text = self.generate() if request.role is Role.GENERATOR else self.work(request)
        return Generated(text=text, done_reason="stop", prompt_tokens=1, tokens=1, duration_s=0.1)

    def generate(self) -> str:
        """Write a rule about two words."""
        self.written += 1
        if self.write:
            return self.write(self.written)
        one, other = stream(self.seed, "write", self.written).choice(len(WORDS), size=2, replace=False)
        return (
            f"Always write the name with {WORDS[int(one)]} in mind. "
            f"Also mind the {WORDS[int(other)]} of each picture, way {self.written}."
        )

    def work(self, request: Generate) -> str:
        """Answer right when the instruction has the sample's word, or by luck."""
        instruction, _, rest = request.prompt.rpartition("\n---\n")
        self.tasks.append((instruction, rest))
        _, number, _, word = rest.removeprefix("Text: ").split()
        chance = self.works(instruction, word) if self.works else 1.0 if word in instruction else self.luck
        right = stream(self.seed, request.prompt).random() < chance
        return ("0.9" if right else "0.3") if self.graded else f"name {number}" if right else "wrong"


def make_case(
    seed: int = 1, count: int = 36, fresh: int = 24, *, graded: bool = False, budget: int = 400, **changes: Any
) -> MutateCase:
    """Generation 0 of a race."""
    search = {"budget_calls": max(10, budget), "examples": 0} | changes.pop("search", {})
    rules = Rules(
        settings=replace(Settings(), search=replace(Settings().search, **search)),
        skill=SkillSpec(
            name=SkillName("x"), template="x.md", scorer="python:a:b" if graded else "exact", about="Name pictures."
        ),
    )  # fmt: skip
    base = MutateCase(
        rules=rules, seed=seed, generation=0, template=PromptTemplate(SEED_TEXT, "Text: {{text}}"), population=(), finished=(),
        mutation_prompts=(), items=items_from(0, count), failures=(), successes=(), next_ordinal=0, stale=0,
        calls_left=budget, minutes_left=600.0, confirm_items=items_from(FRESH, fresh), labelled=100,
    )  # fmt: skip
    return replace(base, **changes)


def after(case: MutateCase, decision: MutateDecision, calls: int) -> MutateCase:
    """The next visit's case, as the tables would give it."""
    fates = {ordinal: fate for ordinal, fate, _ in decision.changed}
    known = {m.ordinal: m for m in (*case.finished, *decision.children)}
    members = [replace(m, fate=fates.get(m.ordinal, m.fate)) for m in known.values()]
    finished = tuple(sorted((m for m in members if m.n), key=lambda m: m.ordinal))
    return replace(
        case, generation=case.generation + 1, finished=finished,
        population=tuple(m for m in finished if m.fate is Fate.ALIVE),
        mutation_prompts=(*case.mutation_prompts, *decision.mutation_prompts),
        tallies=total((*case.tallies, *decision.operators)), next_ordinal=case.next_ordinal + len(decision.children),
        stale=decision.stale, calls_left=case.calls_left - calls,
    )  # fmt: skip


Visit = tuple[MutateCase, MutateDecision, Pair]


def searched(case: MutateCase, **pair: Any) -> list[Visit]:
    """Run a whole search and return its visits: case, decision, and the models with what they were asked."""
    visits: list[Visit] = []
    written = 0
    while True:
        models = Pair(budget=max(0, case.calls_left), seed=case.seed, written=written, **pair)
        decision = drive(mutate(case), models)
        visits.append((case, decision, models))
        if decision.next is not Stage.MUTATE:
            return visits
        written = models.written
        case = after(case, decision, models.calls)


def numbers(models: Pair) -> list[int]:
    """The samples that were run, in order."""
    return [int(rest.split()[2]) for _, rest in models.tasks]


def mostly_useless(number: int) -> str:
    """Two replies of three cannot be used, so that a child costs three questions."""
    return f"Mind the colour of each picture, way {number}." if number % 3 == 0 else "no"


def member(ordinal: int, values: dict[int, float], text: str = "") -> Member:
    """A measured member."""
    outcomes = tuple(Outcome(sample=SampleId(i), value=v, correct=v == 1, output=f"o{i}") for i, v in values.items())
    draft = Draft(instruction=text or f"Member {ordinal} says this.", kind=MutationType.EDIT, reasoning="")
    mean = sum(values.values()) / max(1, len(values))
    return Member(
        ordinal=ordinal, slot=0, generation=0, parent=None, second_parent=None, mutation=0, draft=draft, outcomes=outcomes,
        fitness=mean, correct=sum(v == 1 for v in values.values()), n=len(values),
    )  # fmt: skip


@pytest.mark.parametrize("graded", [False, True])
@pytest.mark.parametrize("budgets", [range(70), range(70, 140, 2), range(140, 201, 3)], ids=str)
def test_whatever_the_budget_nothing_half_done_is_left(budgets: range, graded: bool) -> None:  # noqa: FBT001 - a parameter
    """For every budget: no more calls, no half-measured member in the pool, ordinals without gaps, the incumbent kept."""
    for budget in budgets:
        visits = searched(make_case(budget, budget=budget, graded=graded, search={"examples": 2}), graded=graded)

        assert sum(models.calls for _, _, models in visits) <= budget
        for case, decision, _ in visits:
            size = len(race.race_items(case))
            ordinals = sorted(m.ordinal for m in decision.children)
            assert ordinals == list(range(case.next_ordinal, case.next_ordinal + len(ordinals)))
            assert {m.n for m in decision.children if m.fate is Fate.ALIVE} <= {size}
            pool = after(case, decision, 0).population
            assert not pool or pool[0].ordinal == 0
            assert len(pool) <= case.rules.settings.search.pool
            assert 0 not in decision.finalists
            assert (decision.next is Stage.JUDGE) == bool(decision.finalists)


def second_visit(seed: int, calls_left: int) -> MutateCase:
    """A visit after the first, with the incumbent alone in the pool."""
    first = make_case(seed, budget=400)
    incumbent = member(0, {i: float(i % 3 == 0) for i in range(36)}, SEED_TEXT)
    return replace(
        first, generation=1, population=(incumbent,), finished=(incumbent,), next_ordinal=1, calls_left=calls_left,
        mutation_prompts=tuple(race.first_prompts(first, 8)),
    )  # fmt: skip


@given(st.integers(0, 400), st.integers(0, 50))
@settings(deadline=None)
def test_a_round_keeps_its_own_budget(calls_left: int, seed: int) -> None:
    """With models that would answer for ever a later visit still spends no more than it may, and none of the reserve."""
    case = second_visit(seed, calls_left)
    models, meter = Pair(seed=seed, write=mostly_useless), Meter(calls_left=calls_left, minutes_left=600.0)
    if race.affordable(case, calls_left):
        drive(meter.over(race.next_round(case, meter)), models)

        assert meter.calls_left == calls_left - models.calls
        assert meter.calls_left >= reserve(case)
    again = Pair(seed=seed, write=mostly_useless)
    drive(mutate(case), again)

    assert again.calls <= calls_left


@pytest.mark.parametrize("useless", range(0, 13, 3))
def test_questions_asked_again_do_not_eat_the_reserve(useless: int) -> None:
    """A generator that writes nothing of use at first, and just enough calls for one child: the confirmation stays paid."""
    for seed in range(4):
        kept = reserve(second_visit(seed, 0))
        for spare in range(23, 45, 3):
            case, meter = second_visit(seed, kept + spare), Meter(calls_left=kept + spare, minutes_left=600.0)
            models = Pair(seed=seed, write=lambda n: "no" if n <= useless else f"Mind the colour, way {n}.")
            drive(meter.over(race.next_round(case, meter)), models)

            assert meter.calls_left >= kept


def test_few_right_answers_on_chosen_samples_are_no_fitness() -> None:
    """A child that was right on its first samples and went into a sibling is neither the best so far nor the end."""
    partly = replace(member(1, dict.fromkeys(range(8), 1.0)), fate=Fate.MERGED)
    case = second_visit(1, 400)
    here = replace(case, finished=(*case.finished, partly), next_ordinal=2)

    decision = drive(mutate(here), Pair(write=lambda _: "no", works=lambda *_: 0.2))

    whole = [m.fitness for m in (*case.finished, *decision.children) if m.whole]
    assert decision.best_fitness == max(whole) < partly.fitness
    assert decision.next is Stage.MUTATE
    assert not race.perfect([*case.finished, partly])


@pytest.mark.parametrize("seed", range(4))
def test_fresh_samples_are_run_at_the_end_only(seed: int) -> None:
    """The race never touches the confirmation's samples, and the confirmation never those of the search."""
    visits = searched(make_case(seed, budget=700))

    assert len(visits) > 1
    assert all(number < FRESH for _, _, models in visits[:-1] for number in numbers(models))
    last = [number >= FRESH for number in numbers(visits[-1][2])]
    assert last == sorted(last)
    assert any(last)
    fresh = {int(o.sample) for _, outcomes in visits[-1][1].confirmed for o in outcomes}
    assert min(fresh) >= FRESH
    assert all(int(o.sample) < FRESH for case, _, _ in visits for m in case.finished for o in m.outcomes)


@pytest.mark.parametrize("seed", range(6))
def test_no_child_is_run_on_a_sample_that_it_carries(seed: int) -> None:
    """With examples drawn most of the time: those are set aside, and what says the same as one is left out for its prompt."""
    tallies = (Tally(name=MutationType.CONTEXT_SHUFFLE, applied=40, improved=30),)
    scored = items_from(0, 27)
    twins = tuple(replace(item, sample=SampleId(500 + i)) for i, item in enumerate(scored[:3]))  # become the examples
    case = make_case(seed, budget=600, items=(*scored, *twins), tallies=tallies, search={"examples": 2})

    visits = searched(case)

    assert case.example_items == twins
    carried = [(text, rest) for _, _, models in visits for text, rest in models.tasks if "<<<EXAMPLE" in text]
    assert carried
    assert not [rest for text, rest in carried if f"{rest} name" in text]


@pytest.mark.parametrize("seed", range(3))
def test_a_resumed_visit_decides_the_same(seed: int) -> None:
    """A visit that was cut off anywhere and starts again from the replies it had asks the same and ends the same."""
    for case, decision, models in searched(make_case(seed, budget=500)):
        for cut in (0, len(models.log) // 3, len(models.log) - 1):
            kept, fresh = models.log[:cut], Pair(budget=max(0, case.calls_left), seed=seed)
            fresh.calls = sum(isinstance(request, Generate) for request, _ in kept)
            fresh.written = models.written - sum(_writes(request) for request, _ in models.log[cut:])
            journal = iter(kept)

            def answer(request: Request, journal: Any = journal, live: Pair = fresh) -> Reply:
                known = next(journal, None)
                if known is None:
                    return live(request)
                assert known[0] == request
                return known[1]  # type: ignore[no-any-return] # a pair of request and reply

            assert drive(mutate(case), answer) == decision


def _writes(request: Request) -> bool:
    return isinstance(request, Generate) and request.role is Role.GENERATOR


def test_children_are_bred_before_any_is_run() -> None:
    """In each visit all questions to the generator come between the incumbent's run and the children's."""
    for number, (_, _, models) in enumerate(searched(make_case(3, budget=500))):
        roles = [request.role for request, _ in models.log if isinstance(request, Generate)]
        changes = sum(one is not other for one, other in pairwise(roles))

        assert changes <= (2 if number == 0 else 1)
        assert roles[0] is (Role.TASK if number == 0 else Role.GENERATOR)


@given(
    st.lists(st.sampled_from((0.0, 0.3, 0.9, 1.0)), min_size=1, max_size=40),
    st.integers(2, 30),
    st.integers(0, 1000),
)
@settings(deadline=None)
def test_the_first_samples_hold_failures_and_successes(values: list[float], size: int, seed: int) -> None:
    """Wherever the parent has both, a child meets both; never the same twice, and never more than set."""
    parent = member(0, dict(enumerate(values)), SEED_TEXT)
    case = make_case(seed, count=len(values), search={"screen_samples": size})
    child = member(7, {}, "A child of its own.")

    chosen = race._screen_items(case, child, race.mate(case, parent, child.ordinal, (), ()))

    right = [values[int(item.sample)] == 1 for item in chosen]
    assert 1 <= len(chosen) == len(set(chosen)) <= size
    assert any(right) == any(v == 1 for v in values)
    assert all(right) == all(v == 1 for v in values)


def test_the_first_failures_are_those_that_the_generator_saw() -> None:
    """Of forty failures the eight first ones are among the twelve that were shown for this child."""
    case = make_case(5, count=40)
    parent = member(0, dict.fromkeys(range(40), 0.0), SEED_TEXT)
    child = member(9, {}, "A child of its own.")

    mating = race.mate(case, parent, child.ordinal, (), ())
    shown = {failure.output for failure in mating.failed}
    chosen = race._screen_items(case, child, mating)

    assert len(shown) == 12
    assert {f"o{item.sample}" for item in chosen} < shown


def test_a_screen_leaves_out_what_the_child_carries() -> None:
    """An example's own sample is no test of the prompt that shows it."""
    case = make_case(5, count=3)
    text = examples.join("Name it so.", [examples.example(case.template, case.items[1])])
    mating = race.mate(case, member(0, {0: 0.0, 1: 0.0, 2: 1.0}), 9, (), ())

    chosen = race._screen_items(case, member(9, {}, text), mating)

    assert {int(item.sample) for item in chosen} == {0, 2}


def test_a_better_rule_wins_and_a_worse_one_is_dropped_early() -> None:
    """A rule that helps everywhere leads the pool; one that harms is run on a few samples only."""
    helps = "Write each name with all of it in mind, exactly as the picture shows it."
    harms = "Never look at the picture before you answer with a name."

    def works(instruction: str, _: str) -> float:
        return 1.0 if "all of it in mind" in instruction else 0.0 if "Never look" in instruction else 0.5

    visits = searched(
        make_case(2, budget=500, search={"generations": 1}),
        write=lambda n: f"{helps if n % 2 else harms} This is way {n}.", works=works,
    )  # fmt: skip
    members = [m for _, decision, _ in visits for m in decision.children if m.n]
    bad = [m for m in members if "Never look" in m.draft.instruction and "all of it" not in m.draft.instruction]
    best = next(m for m in members if m.ordinal == visits[-1][1].finalists[0])

    assert "all of it in mind" in best.draft.instruction
    assert bad
    assert all(m.fate is Fate.DROPPED and m.n <= 22 for m in bad)


def test_siblings_that_gain_are_put_together_without_a_model() -> None:
    """The union of two rules that help begins with one child and holds the other's; it was raced, and both are merged."""
    rules = ("Write each name with the colour in mind.", "Put the noun of the picture into the middle of it.")
    case = make_case(3, count=60, budget=2000, search={"children": 2}, tallies=GRAFTING)

    _, decision, _ = searched(case, write=lambda n: rules[n % 2], luck=0.0)[0]

    (union,) = (m for m in decision.children if m.draft.kind is MutationType.UNION)
    siblings = [m for m in decision.children if m.ordinal and m is not union]
    assert union.draft.instruction.startswith(SEED_TEXT)
    assert all(rule in union.draft.instruction for rule in rules)
    assert union.second_parent in {m.ordinal for m in siblings}
    assert [m.fate for m in siblings] == [Fate.MERGED] * 2
    assert (union.n, union.fate) == (len(race.race_items(case)), Fate.ALIVE)


def test_only_children_whose_rules_went_into_the_union_are_merged() -> None:
    """The others say that a sibling was raced in their place."""
    merged = 0
    for seed in range(6):
        for case, decision, _models in searched(make_case(seed, count=60, budget=1500)):
            texts = {m.ordinal: m.draft.instruction for m in (*case.finished, *decision.children)}
            union = [m for m in decision.children if m.draft.kind is MutationType.UNION]
            for one in decision.children:
                if one.fate is Fate.MERGED:
                    merged += 1
                    known = f"{texts[one.parent or 0]}\n{union[0].draft.instruction}"
                    assert added(one.draft.instruction, known) == []

    assert merged


@pytest.mark.parametrize(
    ("works", "graded"),
    [(1.0, False), (0.0, False), (1.0, True), (0.0, True)],
    ids=["all right", "all wrong", "all good", "all poor"],
)
def test_where_every_answer_is_the_same_nothing_is_handed_on(works: float, graded: bool) -> None:  # noqa: FBT001 - a parameter
    """All right, all wrong, all graded alike: nobody did better, and the search ends by itself."""
    visits = searched(make_case(1, budget=900, graded=graded), works=lambda *_: works, graded=graded)

    assert visits[-1][1].next is Ending.NO_IMPROVEMENT
    assert visits[-1][1].finalists == ()
    assert all(m.ordinal == 0 or m.fate is not Fate.FINALIST for case, _, _ in visits for m in case.finished)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_handful_of_samples_is_enough_to_run(count: int) -> None:
    """One sample, two, three, with examples allowed: the search ends, and whoever carries all samples is not measured."""
    for seed in range(4):
        visits = searched(make_case(seed, count=count, fresh=0, budget=200, labelled=count, search={"examples": 2}))

        assert visits[-1][1].next is not Stage.MUTATE
        assert 0 not in visits[-1][1].finalists
        assert all(m.n for case, _, _ in visits for m in case.population)


@pytest.mark.parametrize(
    "instruction",
    [
        "Rules:\n- name the picture\n- be brief, please\n- write nothing else",
        "1. Name the picture well.\n2. Be brief, please.",
        'Name the picture.\n```json\n{"name": "red-bus"}\n```',
        "Benenne das Bild z.B. nach dem Inhalt. Verwende keine Punkte.",
        "name the picture after what it shows and keep it short " * 6,
        "Name the picture.\n\nExamples:\n- a red bus: red-bus",
        " ".join(f"Rule {n} says that picture {n} has a name of its own." for n in range(28)),
    ],
    ids=["bullets", "numbers", "code", "German", "one line", "own examples", "300 words"],
)
def test_any_prompt_of_a_person_can_be_raced(instruction: str) -> None:
    """Whatever its form, children are made, most are not refused, and no example or rule of it leaves the file's form."""
    case = make_case(4, budget=600, template=PromptTemplate(instruction, "Text: {{text}}"), search={"examples": 2})

    members = [m for _, decision, _ in searched(case) for m in decision.children if m.ordinal]
    fates = Counter(m.fate is Fate.REFUSED for m in members)

    assert fates[False] > fates[True]
    assert not [m for m in members if "\n---" in m.draft.instruction]


def test_the_pool_never_loses_the_incumbent() -> None:
    """Also where it is the least fit and the pool is as small as it can be."""
    visits = searched(make_case(6, budget=900, search={"pool": 2, "generations": 5}))
    pools = [{m.ordinal for m in case.population} for case, _, _ in visits[1:]]

    assert len(pools) > 1
    assert all(0 in pool and len(pool) <= 2 for pool in pools)
    assert any(fate is Fate.REPLACED for _, decision, _ in visits for _, fate, _ in decision.changed)


def test_a_graded_race_draws_parents_by_the_samples_they_lead_on() -> None:
    """Per-instance Pareto: a specialist that leads on a quarter of the samples is drawn a quarter of the time, 5 sd."""
    general = member(1, dict.fromkeys(range(20), 0.6))
    special = member(2, {i: 0.9 if i < 5 else 0.1 for i in range(20)})
    case = replace(make_case(graded=True), population=(member(0, dict.fromkeys(range(20), 0.3)), general, special))

    drawn = Counter(race._parent(replace(case, seed=seed), 0).ordinal for seed in range(1000))

    assert drawn[0] == 0
    assert abs(drawn[2] - 250) <= 5 * (1000 * 0.25 * 0.75) ** 0.5


def test_thompson_sampling_prefers_the_better_parent() -> None:
    """A parent that is right on three in four is drawn more often than one that is right on half, but not always."""
    halves = (member(0, {i: float(i % 2) for i in range(20)}), member(1, {i: float(i % 4 > 0) for i in range(20)}))
    case = replace(make_case(), population=halves)

    drawn = Counter(race._parent(replace(case, seed=seed), 0).ordinal for seed in range(500))

    assert drawn[1] > drawn[0] > 0
