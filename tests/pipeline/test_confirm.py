"""The strict end: fresh samples beside the incumbent, who is refuted, who is handed on, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.confirm import Confirmation, confirm, confirm_items, reserve
from pipeline.domain import Fate, MutationType, SampleId
from pipeline.examples import example, join
from pipeline.fitness import Item
from pipeline.flow import Failed, FailureKind, Generate, Generated, Reply, Request, drive
from pipeline.population import Draft, Member, Outcome
from pipeline.search import Meter, MutateCase
from pipeline.skills import PromptTemplate

SEARCHED, FRESH = 60, 1000  # samples of the search; first number of a fresh one
TEMPLATE = PromptTemplate("Name the picture well, please.", "Text: {{text}}")
Confirmed = Callable[..., tuple[Confirmation, "Worker", Meter]]


def items(first: int, count: int) -> tuple[Item, ...]:
    """Labelled samples."""
    return tuple(
        Item(sample=SampleId(first + i), fields=(("text", f"picture {first + i}"),), expected=f"name {first + i}")
        for i in range(count)
    )


def member(ordinal: int, share: float, *, count: int = SEARCHED, fate: Fate = Fate.ALIVE, text: str = "") -> Member:
    """A member that was right on a share of the search's samples, the last ones."""
    values = [float(i >= (1 - share) * count) for i in range(count)]
    outcomes = tuple(Outcome(sample=SampleId(i), value=v, correct=v == 1) for i, v in enumerate(values))
    draft = Draft(
        instruction=text or (TEMPLATE.instruction if ordinal == 0 else f"Member {ordinal} says this."),
        kind=MutationType.EDIT, reasoning="",
    )  # fmt: skip
    return Member(
        ordinal=ordinal, slot=0, generation=0, parent=None, second_parent=None, mutation=0, draft=draft, outcomes=outcomes,
        fitness=sum(values) / max(1, count), correct=int(sum(values)), n=count, fate=fate,
    )  # fmt: skip


@dataclass
class Worker:
    """A task model that is right on the last share of the fresh samples, by instruction.

    Attributes:
        shares: per ordinal of the member whose instruction is run; 0 for the incumbent.
        asked: ordinal and sample of each answered call.
    """

    shares: Mapping[int, float]
    count: int
    budget: float = 10**9
    asked: list[tuple[int, int]] = field(default_factory=list)

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        assert isinstance(request, Generate)
        if len(self.asked) >= self.budget:
            return Failed(kind=FailureKind.BUDGET)
        instruction, _, rest = request.prompt.rpartition("\n---\n")
        number = int(rest.split()[2])
        ordinal = int(instruction.split()[1]) if instruction.startswith("Member") else 0
        self.asked.append((ordinal, number))
        right = number - FRESH >= (1 - self.shares.get(ordinal, 0.0)) * self.count
        return Generated(
            text=f"name {number}" if right else "wrong", done_reason="stop", prompt_tokens=1, tokens=1, duration_s=0.1
        )


@pytest.fixture(name="confirmed")
def _confirmed(rules_with: Callable[..., Any]) -> Confirmed:
    """Return a function that confirms members; *fresh* gives each one's share of right answers on fresh samples."""

    def run(
        members: list[Member], fresh: Mapping[int, float], *, count: int = 60, calls: float = 10**6, labelled: int = 200,
        worker_budget: float = 10**9, **search: Any,
    ) -> tuple[Confirmation, Worker, Meter]:  # fmt: skip
        case = MutateCase(
            rules=rules_with(search=search), seed=1, generation=3, template=TEMPLATE, population=tuple(members),
            finished=tuple(members), mutation_prompts=(), items=items(0, SEARCHED), failures=(), successes=(), next_ordinal=9,
            stale=0, calls_left=int(calls), minutes_left=600.0, confirm_items=items(FRESH, count), labelled=labelled,
        )  # fmt: skip
        meter, worker = Meter(calls_left=calls, minutes_left=600.0), Worker(fresh, count, worker_budget)
        return drive(meter.over(confirm(case, members, meter)), worker), worker, meter

    return run


def test_a_better_challenger_is_confirmed(confirmed: Confirmed) -> None:
    """Ahead in the search and on fresh samples: handed on, with both prompts' outcomes on the same fresh samples."""
    found, worker, _ = confirmed([member(0, 0.5), member(1, 0.8)], {0: 0.5, 1: 0.8})

    assert (found.ranked, found.refuted) == ((1,), {})
    assert [o.sample for o in found.outcomes[0]] == [o.sample for o in found.outcomes[1]]
    assert len(worker.asked) == 120


def test_a_worse_challenger_is_refuted(confirmed: Confirmed) -> None:
    """It looked better in the search; on fresh samples it falls behind, is stopped early, and nothing is handed on."""
    found, worker, _ = confirmed([member(0, 0.5), member(1, 0.8)], {0: 0.8, 1: 0.2})

    assert found.ranked == ()
    assert "0 better" in found.refuted[1]
    assert len(worker.asked) < 120


@given(st.integers(0, 40), st.integers(0, 60), st.integers(0, 60))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_who_is_not_ahead_on_fresh_samples_is_never_handed_on(
    confirmed: Confirmed, lead: int, own: int, base: int
) -> None:
    """With enough samples, however far ahead the search saw it, and a tie is not enough."""
    found, _, _ = confirmed([member(0, 1 / 3), member(1, 1 / 3 + (lead + 0.5) / 61)], {0: base / 60, 1: own / 60})

    if own <= base:
        assert found.ranked == ()


@pytest.mark.parametrize("share", [0.5, 0.55])
def test_with_few_samples_a_tie_is_handed_on(confirmed: Confirmed, share: float) -> None:
    """With fewer labelled samples than are set, judge and votes decide: only a worse one is held back."""
    members = [member(0, 0.5, count=10), member(1, 0.5, count=10), member(2, 0.6, count=10)]

    found, _, _ = confirmed(members, {0: 0.5, 1: share, 2: 0.3}, count=20, labelled=30)

    assert found.ranked == (1,)
    assert set(found.refuted) == {2}


def test_with_enough_samples_a_tie_is_not_handed_on(confirmed: Confirmed) -> None:
    """An equal of the incumbent in the search is no finalist, and one on fresh samples is refuted."""
    found, worker, _ = confirmed([member(0, 0.5), member(1, 0.5), member(2, 0.6)], {0: 0.5, 1: 0.9, 2: 0.5})

    assert found.ranked == ()
    assert set(found.refuted) == {2}
    assert {ordinal for ordinal, _ in worker.asked} == {0, 2}


@pytest.mark.parametrize(("more", "handed_on"), [(0, ()), (1, ()), (3, ()), (4, (1,)), (6, (1,))])
def test_on_few_fresh_samples_it_must_be_sure_all_the_same(
    confirmed: Confirmed, more: int, handed_on: tuple[int, ...]
) -> None:
    """Of twenty, neither a tie nor three more right ones are 95 % sure; four are."""
    found, _, _ = confirmed([member(0, 0.5), member(1, 0.5 + 1.5 / 60)], {0: 0.5, 1: 0.5 + (more + 0.2) / 20}, count=20)

    assert found.ranked == handed_on


def test_a_lead_of_the_search_makes_no_tie_a_win(confirmed: Confirmed) -> None:
    """However far it was ahead where it was selected: on the fresh samples it must be ahead too."""
    found, _, _ = confirmed([member(0, 0.1), member(1, 1.0)], {0: 0.5, 1: 0.5}, count=20)

    assert found.ranked == ()
    assert found.refuted == {1: "0 better and 0 worse on 20 fresh samples"}


@pytest.mark.parametrize(
    "fate", [fate for fate in Fate if fate not in (Fate.ALIVE, Fate.REPLACED)], ids=lambda fate: fate.value
)
def test_only_members_in_the_running_are_confirmed(confirmed: Confirmed, fate: Fate) -> None:
    """One that was dropped, merged or refused is not, whatever its few samples said; nor is one that was never run."""
    found, worker, _ = confirmed([member(0, 0.2), member(1, 1.0, fate=fate), member(2, 1.0, count=0)], {1: 1.0, 2: 1.0})

    assert (found, worker.asked) == (Confirmation(), [])


def test_the_incumbent_is_never_a_finalist(confirmed: Confirmed) -> None:
    """Alone, or the best of all, it is what the others are measured against."""
    assert confirmed([member(0, 1.0)], {0: 1.0})[0].ranked == ()
    assert confirmed([member(0, 1.0), member(1, 0.5)], {0: 1.0, 1: 1.0})[0].ranked == ()
    assert confirmed([member(1, 0.5)], {1: 1.0})[0] == Confirmation()


@given(st.integers(0, 420), st.integers(0, 60), st.lists(st.integers(0, 10), min_size=5, max_size=5))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_confirmation_keeps_its_budget(confirmed: Confirmed, calls: int, count: int, shares: list[int]) -> None:
    """With a model that would answer for ever it spends no more than is left, and only on fresh samples."""
    members = [member(0, 0.3), *(member(i, 0.4 + i / 20) for i in range(1, 6))]

    found, worker, meter = confirmed(members, {i: s / 10 for i, s in enumerate(shares)}, count=count, calls=calls)

    assert len(worker.asked) <= calls
    assert meter.calls_left == calls - len(worker.asked)
    assert all(number >= FRESH for _, number in worker.asked)
    assert len(set(worker.asked)) == len(worker.asked)
    assert 0 not in found.ranked
    assert not set(found.ranked) & set(found.refuted)


@given(st.integers(0, 200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_budget_that_ends_on_the_way_breaks_nothing(confirmed: Confirmed, budget: int) -> None:
    """The answers stop anywhere: what was measured before is kept, whole blocks only."""
    members = [member(0, 0.3), member(1, 0.6), member(2, 0.5)]

    found, worker, _ = confirmed(members, {0: 0.3, 1: 0.9, 2: 0.8}, worker_budget=budget)

    assert len(worker.asked) == min(budget, 180)
    assert all(len(outcomes) % 10 == 0 and outcomes for outcomes in found.outcomes.values())
    assert len(found.outcomes.get(0, ())) in (0, 60)


def test_nothing_can_be_confirmed_without_fresh_samples(confirmed: Confirmed) -> None:
    """Then the search's own order stands, and nothing is asked."""
    found, worker, _ = confirmed([member(0, 0.3), member(1, 0.5), member(2, 0.6)], {}, count=0)

    assert (found.ranked, found.outcomes, worker.asked) == ((2, 1), {}, [])


def test_when_the_best_do_not_hold_up_the_rest_is_not_handed_on(confirmed: Confirmed) -> None:
    """Two were confirmed and failed: those behind them would have failed too."""
    members = [member(0, 0.3), *(member(i, 0.9 - i / 10) for i in range(1, 5))]

    found, worker, _ = confirmed(members, {0: 0.9, 1: 0.1, 2: 0.1}, confirm_finalists=2)

    assert set(found.refuted) == {1, 2}
    assert found.ranked == ()
    assert {ordinal for ordinal, _ in worker.asked} == {0, 1, 2}


def test_only_what_held_up_goes_on(confirmed: Confirmed) -> None:
    """Neither the refuted nor those that were not run on fresh samples."""
    members = [member(0, 0.3), *(member(i, 0.9 - i / 10) for i in range(1, 5))]

    found, _, _ = confirmed(members, {0: 0.3, 1: 0.1, 2: 0.9}, confirm_finalists=2)

    assert found.ranked == (2,)


def test_with_few_samples_the_untested_follow_the_confirmed(confirmed: Confirmed) -> None:
    """Judge and votes decide then, so the rest goes on behind them; the refuted are out all the same."""
    members = [member(0, 0.3), *(member(i, 0.9 - i / 10) for i in range(1, 5))]

    found, _, _ = confirmed(members, {0: 0.3, 1: 0.1, 2: 0.9}, confirm_finalists=2, labelled=30)

    assert found.ranked == (2, 3, 4)


def test_a_challenger_that_the_budget_cut_off_is_not_handed_on(confirmed: Confirmed) -> None:
    """The best is refuted; the second, behind after its first block, has no more calls: neither goes on."""
    members, fresh = [member(0, 0.3), member(1, 0.6), member(2, 0.55)], {0: 59.5 / 60, 1: 1.0, 2: 58.5 / 60}

    for calls in range(120, 181, 5):
        assert confirmed(members, fresh, calls=calls)[0].ranked == ()
        assert confirmed(members, fresh, worker_budget=calls)[0].ranked == ()


def test_the_confirmed_are_ranked_by_all_their_samples(confirmed: Confirmed) -> None:
    """One that was second in the search and is far better on fresh samples goes first."""
    found, _, _ = confirmed([member(0, 0.3), member(1, 0.7), member(2, 0.65)], {0: 0.2, 1: 0.6, 2: 1.0})

    assert found.ranked == (2, 1)


def test_no_more_are_handed_on_than_the_judge_is_to_see(confirmed: Confirmed) -> None:
    """Finalists per variant, times variants."""
    members = [member(0, 0.1), *(member(i, 0.5 + i / 40) for i in range(1, 12))]

    found, _, _ = confirmed(members, {}, count=0, variants=2, finalists_per_variant=3)

    assert found.ranked == (11, 10, 9, 8, 7, 6)


def test_a_fresh_sample_that_a_prompt_carries_is_not_asked_of_it(confirmed: Confirmed) -> None:
    """A copy of it in the search split came into the prompt as an example; the incumbent is asked all the same."""
    fresh = items(FRESH, 60)
    text = join("Member 1 says this.", [example(TEMPLATE, fresh[59])])

    found, worker, _ = confirmed([member(0, 0.3), member(1, 0.9, text=text)], {0: 0.2, 1: 0.9})

    assert (0, FRESH + 59) in worker.asked
    assert (1, FRESH + 59) not in worker.asked
    assert found.ranked == (1,)


@given(st.integers(10, 5000), st.integers(0, 300), st.integers(0, 300), st.integers(1, 20))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_kept_pays_for_two_prompts_and_is_a_part_of_the_budget(
    confirmed: Confirmed, rules_with: Any, budget: int, count: int, most: int, finalists: int
) -> None:
    """As many fresh samples as the setting, the samples and a sixteenth of the budget allow; the reserve covers them twice."""
    rules = rules_with(search={"budget_calls": budget, "confirm_samples": most, "confirm_finalists": finalists})
    case = MutateCase(
        rules=rules, seed=1, generation=0, template=TEMPLATE, population=(), finished=(), mutation_prompts=(), items=(),
        failures=(), successes=(), next_ordinal=0, stale=0, calls_left=budget, minutes_left=1.0,
        confirm_items=items(FRESH, count),
    )  # fmt: skip

    assert len(confirm_items(case)) == min(most, count, budget // 16)
    assert reserve(case) >= 2 * len(confirm_items(case))
    assert reserve(case) <= len(confirm_items(case)) * (1 + max(1, finalists))
    assert reserve(replace(case, confirm_items=())) == 0


def test_the_same_replies_give_the_same_confirmation(confirmed: Confirmed) -> None:
    """Nothing but members and replies goes in."""
    members = [member(0, 0.3), *(member(i, 0.9 - i / 10) for i in range(1, 5))]
    once, again = (confirmed(members, {0: 0.3, 1: 0.7, 2: 0.9, 3: 0.2}) for _ in range(2))

    assert (once[0], once[1].asked) == (again[0], again[1].asked)
