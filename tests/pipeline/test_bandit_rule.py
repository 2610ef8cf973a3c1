"""Stage 5, its edges: the mark, the calendar, ties, fairness of places, and the same chance for every prompt."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.algorithms.eprocess import e_value
from pipeline.ballots import Making, Task, draw
from pipeline.bandit import BanditCase, bandit
from pipeline.decision import Arm, Tally, Verdict
from pipeline.domain import Ending, Role, SampleId, SkillName, Stage, VariantId, Waiting
from pipeline.flow import Failed, FailureKind, Generate, Generated, Reply, Request, drive
from pipeline.policies import decide
from pipeline.rules import Rules
from pipeline.settings import Settings, Voting
from pipeline.skills import PromptTemplate, SkillSpec

NOW = datetime(2026, 5, 4, tzinfo=UTC)
SKILL = SkillSpec(name=SkillName("s"), template="s.md", scorer="exact")
TEMPLATE = PromptTemplate("Style 0.", "Text: {{text}}")
OPEN = Verdict(next=Waiting.FOR_VOTES, winner=None, evidence=(), dropped=(), reason="")


def rules(**voting: object) -> Rules:
    """Rules with some voting settings."""
    return Rules(settings=replace(Settings(), voting=Voting(**voting)), skill=SKILL)  # type: ignore[arg-type]  # a test's table


def tally(*counts: tuple[int, int], votes: int | None = None, since: datetime | None = NOW) -> Tally:
    """What the votes say of challengers 1, 2, ...: wins and losses of each."""
    arms = tuple(
        Arm(variant=VariantId(i), name=f"variant_{i}", instruction=f"Style {i}.", wins=wins, losses=losses)
        for i, (wins, losses) in enumerate(counts, start=1)
    )
    return Tally(arms=arms, votes=sum(map(sum, counts)) if votes is None else votes, since=since)


def case(**changes: object) -> BanditCase:
    """A test of two challengers on twenty inputs."""
    base = BanditCase(
        rules=rules(), seed=7, now=NOW, template=TEMPLATE, tally=tally((0, 0), (0, 0)),
        tasks=tuple(Task(sample=SampleId(i), fields=(("text", f"input {i}"),)) for i in range(20)),
        open_ballots=0, expiring=None, made={}, select_items=(), confirm_items=(), report_items=(), known={}, replayed=True,
    )  # fmt: skip
    return replace(base, **changes)  # type: ignore[arg-type]  # a test's table


def said(text: str) -> Generated:
    """A model's answer."""
    return Generated(text=text, done_reason="stop", prompt_tokens=1, tokens=1, duration_s=0.1)


def by_style(request: Request) -> Reply:
    """Answer with the style of the prompt, so that each prompt's result is another."""
    assert isinstance(request, Generate)
    return said(request.prompt.partition(".")[0])


@pytest.mark.parametrize("m", [1, 2, 3])
def test_the_mark_grows_with_the_number_of_challengers(m: int) -> None:
    """With m challengers the evidence must be 20 m, to the vote."""
    wins = next(k for k in range(100) if e_value(k, 0) >= 20 * m)

    below = decide(rules(), tally((wins - 1, 0), *[(0, 0)] * (m - 1)), NOW)
    there = decide(rules(), tally((wins, 0), *[(0, 0)] * (m - 1)), NOW)

    assert (below.next, there.next, there.winner) == (Waiting.FOR_VOTES, Stage.PROMOTE, 1)


def test_a_dropped_challenger_still_counts_in_the_mark() -> None:
    """The mark is fixed by how many began: it does not fall when one is dropped."""
    wins = next(k for k in range(100) if e_value(k, 0) >= 20)

    assert decide(rules(), tally((wins, 0), (0, 9)), NOW).next is Waiting.FOR_VOTES


@given(st.permutations(["w"] * 9 + ["l"] * 3 + ["t"] * 2))
def test_the_order_of_votes_does_not_matter(order: list[str]) -> None:
    """Every order of the same votes ends with the same verdict."""
    wins = losses = 0
    for vote in order:
        wins, losses = wins + (vote == "w"), losses + (vote == "l")

    verdict = decide(rules(), tally((wins, losses), votes=len(order)), NOW)

    assert verdict == decide(rules(), tally((9, 3), votes=14), NOW)


def test_the_stronger_evidence_wins_and_the_first_of_equals() -> None:
    """Of two above the mark the stronger is promoted; of two equal ones the first."""
    assert decide(rules(), tally((20, 0), (25, 0)), NOW).winner == 2
    assert decide(rules(), tally((25, 0), (25, 0)), NOW).winner == 1


def test_evidence_beats_the_calendar_and_the_calendar_ends_to_the_second() -> None:
    """A challenger above the mark is promoted also when the days are over; otherwise they end the test exactly then."""
    over = NOW + timedelta(days=7)

    assert decide(rules(), tally((20, 0)), over).next is Stage.PROMOTE
    assert decide(rules(), tally((1, 0)), over).next is Ending.KEPT_INCUMBENT
    assert decide(rules(), tally((1, 0)), over - timedelta(seconds=1)).next is Waiting.FOR_VOTES


def test_no_calendar_runs_before_the_first_ballot() -> None:
    """Without a beginning there is no end."""
    assert decide(rules(), tally((0, 0), since=None), NOW + timedelta(days=999)).next is Waiting.FOR_VOTES


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 20), st.integers(0, 20))
def test_deciding_again_or_later_changes_no_decision(wins: int, losses: int, ties: int, days: int) -> None:
    """A decision is the same on every later day, and a wait becomes an end only by the calendar."""
    votes = wins + losses + ties
    first = decide(rules(), tally((wins, losses), votes=votes), NOW)
    later = decide(rules(), tally((wins, losses), votes=votes), NOW + timedelta(days=days))

    if first.next is Waiting.FOR_VOTES:
        assert later.next is (Ending.KEPT_INCUMBENT if days >= 7 else Waiting.FOR_VOTES)
    else:
        assert (first.next, first.winner) == (later.next, later.winner)


def test_votes_without_a_preference_are_no_evidence() -> None:
    """Thirty ties keep the incumbent, with evidence 1."""
    verdict = decide(rules(), tally((0, 0), votes=30), NOW)

    assert (verdict.next, verdict.evidence) == (Ending.KEPT_INCUMBENT, (1.0,))


def test_results_that_differ_in_white_space_around_them_are_equal() -> None:
    """A line end after the answer would show who wrote it, and is no difference."""
    replies = iter([said("one"), said("  one\n"), said("two")])
    decision = drive(bandit(case(tasks=case().tasks[:1])), lambda _: next(replies))

    (ballot,) = decision.ballots
    assert sorted(len(card.arms) for card in ballot.cards) == [1, 2]


def test_a_failed_call_leaves_only_its_own_task_out() -> None:
    """A task that one model call failed on becomes no ballot; the others do."""

    def answer(request: Request) -> Reply:
        assert isinstance(request, Generate)
        bad = request.prompt.endswith("input 3") and "Style 1" in request.prompt
        return Failed(kind=FailureKind.UNFINISHED) if bad else by_style(request)

    decision = drive(bandit(case(rules=rules(open_ballots=20))), answer)

    assert {ballot.sample for ballot in decision.ballots} == set(range(20)) - {3}


def test_every_order_stands_once_in_each_block() -> None:
    """Of six ballots with three cards each order occurs once, whichever block: no habit of a voter favours a prompt."""
    tasks = tuple(Task(sample=SampleId(i), fields=(("text", f"{i}"),)) for i in range(600))
    decision = drive(bandit(case(tasks=tasks, rules=rules(open_ballots=600, cards=3))), by_style)
    orders = [tuple(card.arms[0] for card in b.cards) for b in decision.ballots]

    blocks = [orders[start : start + 6] for start in range(0, 600, 6)]
    assert len(decision.ballots) == 600
    assert all(len(set(block)) == 6 for block in blocks)
    assert len({tuple(block) for block in blocks}) > 50


def test_a_block_goes_on_where_an_earlier_visit_left_it() -> None:
    """Two visits of one ballot each make the two orders of a block, like one visit of two."""
    two = tuple(Task(sample=SampleId(i), fields=(("text", f"{i}"),)) for i in range(2))
    one = rules(open_ballots=1)
    first = drive(bandit(case(tally=tally((0, 0)), tasks=two[:1], rules=one)), by_style)
    later = drive(bandit(case(tally=tally((0, 0)), tasks=two[1:], rules=one, made={2: 1})), by_style)

    orders = {tuple(card.arms[0] for card in made.ballots[0].cards) for made in (first, later)}
    assert orders == {(0, 1), (1, 0)}


def test_better_challengers_are_drawn_more_often_and_dropped_ones_never() -> None:
    """With room for one challenger, the one that wins is on most ballots, the other on some, a dropped one on none."""
    here = Making(
        rules=rules(cards=2), seed=7, templates={}, tally=tally((8, 2), (2, 8), (9, 1)),
        verdict=replace(OPEN, dropped=(VariantId(3),)), made={},
    )  # fmt: skip
    drawn = Counter(arm for i in range(2000) for arm in draw(here, Task(sample=SampleId(i), fields=())))

    assert drawn[VariantId(1)] > 1800
    assert drawn[VariantId(2)] > 2
    assert drawn[VariantId(3)] == 0


@pytest.mark.parametrize("cards", [2, 3, 4])
def test_a_ballot_has_no_more_results_than_there_are_prompts(cards: int) -> None:
    """A single challenger meets the incumbent, however many places there are."""
    decision = drive(bandit(case(tally=tally((0, 0)), rules=rules(cards=cards))), by_style)

    assert {len(ballot.cards) for ballot in decision.ballots} == {2}


def test_two_prompts_meet_the_same_chance_on_one_input() -> None:
    """All results of a ballot are asked for with the same seed; every input has a seed of its own."""
    seen: dict[str, set[int]] = {}

    def answer(request: Request) -> Reply:
        assert isinstance(request, Generate)
        assert request.role is Role.TASK
        seen.setdefault(request.prompt.rpartition("Text: ")[2], set()).add(request.sampling.seed)
        return by_style(request)

    drive(bandit(case()), answer)

    assert {len(seeds) for seeds in seen.values()} == {1}
    assert len(set.union(*seen.values())) == len(seen)


def test_the_same_case_makes_the_same_ballots() -> None:
    """Same seed, same votes, same replies: the same decision; another seed shuffles otherwise."""
    assert drive(bandit(case()), by_style) == drive(bandit(case()), by_style)
    assert drive(bandit(case()), by_style) != drive(bandit(case(seed=8)), by_style)


def test_the_wait_ends_when_the_days_are_over() -> None:
    """The timer is set from the first ballot, or from now before it."""
    later = case(now=NOW + timedelta(days=3), tally=tally((0, 0), (0, 0), since=NOW))

    assert drive(bandit(replace(later, tasks=())), by_style).due == NOW + timedelta(days=7)
    assert drive(bandit(case(tally=tally((0, 0), since=None), tasks=())), by_style).due == NOW + timedelta(days=7)


def test_the_wait_ends_when_a_ballot_expires() -> None:
    """The oldest open ballot, or one made now, is replaced after three days."""
    old = case(open_ballots=10, expiring=NOW + timedelta(hours=5))

    assert drive(bandit(old), by_style).due == NOW + timedelta(hours=5)
    assert drive(bandit(case()), by_style).due == NOW + timedelta(hours=72)


def test_a_result_that_no_database_keeps_is_made_fit() -> None:
    """Zero bytes and torn characters from a model become replacement characters; the ballot is made all the same."""
    replies = iter([said("a\x00b"), said("half \ud83d"), said("fine \U0001f389")])
    decision = drive(bandit(case(tasks=case().tasks[:1])), lambda _: next(replies))

    assert {card.output for card in decision.ballots[0].cards} == {"a\ufffdb", "half ?", "fine \U0001f389"}
