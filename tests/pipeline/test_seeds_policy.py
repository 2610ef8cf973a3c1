"""The research notes' rule, as they wrote it."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.algorithms.beta import probability_best
from pipeline.ballots import Making, Task, draw
from pipeline.decision import INCUMBENT, Arm, Paired, Tally
from pipeline.domain import Ending, SampleId, SkillName, Stage, VariantId, Waiting
from pipeline.policies import decide
from pipeline.rules import Rules
from pipeline.seeds_policy import best_chances, measured_gain
from pipeline.settings import Settings, Voting
from pipeline.skills import SkillSpec

NOW = datetime(2026, 5, 4, tzinfo=UTC)
RULES = Rules(
    settings=replace(Settings(), voting=Voting(policy="seeds")), skill=SkillSpec(name=SkillName("s"), template="s.md")
)
BETTER = Paired(both=15, challenger=4, neither=5)


def arm(number: int, picks: int, shown: int, flags: Paired = BETTER) -> Arm:
    """A challenger with its picks."""
    name = f"variant_{number}"
    return Arm(
        variant=VariantId(number), name=name, instruction="", wins=0, losses=0, picks=picks, shown=shown, flags=flags
    )


def tally(*arms: Arm, picks: int = 0, shown: int = 0, votes: int = 10) -> Tally:
    """A test of *arms*."""
    return Tally(arms=arms, votes=votes, since=NOW, picks=picks, shown=shown)


def test_ninety_five_percent_for_the_best_promotes() -> None:
    """A prompt picked whenever it was shown wins before the thirtieth vote."""
    verdict = decide(RULES, tally(arm(1, 12, 12), arm(2, 1, 12), picks=1, shown=12, votes=12), NOW)

    assert (verdict.next, verdict.winner) == (Stage.PROMOTE, 1)


def test_below_that_the_test_goes_on() -> None:
    """Equal picks decide nothing before the cap."""
    verdict = decide(RULES, tally(arm(1, 4, 10), arm(2, 3, 10), picks=3, shown=10), NOW)

    assert (verdict.next, verdict.due) == (Waiting.FOR_VOTES, NOW + timedelta(days=7))


def test_after_thirty_votes_most_votes_times_accuracy_win() -> None:
    """Fewer votes with a higher accuracy can win: 11 times 0.79 is more than 12 times 0.62."""
    weak = Paired(both=15, incumbent=0, challenger=0, neither=9)
    lead = tally(arm(1, 11, 22), arm(2, 12, 22, weak), picks=7, shown=22, votes=30)

    assert decide(RULES, lead, NOW).winner == 1


def test_a_winner_needs_the_measured_gain() -> None:
    """A measured gain of less than 0.05 keeps the prompt in use; an unmeasured one is believed."""
    equal = Paired(both=19, neither=5)

    assert decide(RULES, tally(arm(1, 25, 30, equal), picks=5, shown=30, votes=30), NOW).next is Ending.KEPT_INCUMBENT
    assert decide(RULES, tally(arm(1, 25, 30, Paired()), picks=5, shown=30, votes=30), NOW).winner == 1


def test_the_prompt_in_use_can_win_and_stays() -> None:
    """With the most picks it is kept."""
    assert decide(RULES, tally(arm(1, 5, 30), picks=25, shown=30, votes=30), NOW).next is Ending.KEPT_INCUMBENT


def test_seven_days_without_a_vote_keep_the_prompt_in_use() -> None:
    """Nobody decided anything."""
    assert decide(RULES, tally(arm(1, 0, 0), votes=0), NOW + timedelta(days=7)).next is Ending.KEPT_INCUMBENT


def test_the_chances_are_those_of_the_posteriors() -> None:
    """Picks are successes, other votes on its ballots failures, from uniform priors."""
    one = tally(arm(1, 4, 10), picks=3, shown=9)

    assert best_chances(one) == pytest.approx(probability_best([(4, 7), (5, 7)]))
    assert measured_gain(one.arms[0]) == pytest.approx(4 / 24)


def test_three_of_four_are_shown_at_random_the_prompt_in_use_like_any_other() -> None:
    """It is missing on a quarter of the ballots: within 5 standard deviations of 500 of 2,000."""
    here = tally(*(arm(i, 0, 0) for i in (1, 2, 3)), votes=0)
    making = Making(rules=RULES, seed=1, templates={}, tally=here, verdict=decide(RULES, here, NOW), made={})

    drawn = [draw(making, Task(sample=SampleId(i), fields=())) for i in range(2000)]

    assert {len(cards) for cards in drawn} == {3}
    assert abs(sum(INCUMBENT not in cards for cards in drawn) - 500) <= 5 * (2000 * 0.25 * 0.75) ** 0.5
