"""The voting rule's promises, on seeded populations of whole tests with computed bounds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.algorithms.duel import size_and_power
from pipeline.ballots import Making, Task, draw
from pipeline.decision import INCUMBENT, Arm, Tally
from pipeline.domain import SampleId, SkillName, Stage, VariantId, Waiting
from pipeline.policies import decide
from pipeline.rules import Rules
from pipeline.settings import Settings, Voting
from pipeline.skills import SkillSpec

NOW = datetime(2026, 5, 4, tzinfo=UTC)
CONFIDENCE = 0.999


@dataclass
class Person:
    """Picks a card with chances in proportion to the strength of its prompt, or sees no difference."""

    strengths: tuple[float, ...]  # of the incumbent and of each challenger
    ties: float
    rng: np.random.Generator

    def pick(self, shown: tuple[int, ...]) -> int | None:
        """Return the arm picked, None for a tie."""
        if self.rng.random() < self.ties:
            return None
        point = self.rng.random() * sum(self.strengths[arm] for arm in shown)
        for arm in shown:
            point -= self.strengths[arm]
            if point < 0:
                return arm
        return shown[-1]


def promoted(strengths: tuple[float, ...], seed: int, voting: Voting, ties: float = 0.2) -> int | None:
    """Run one whole test, a vote at a time; return the challenger promoted, None when the incumbent stays."""
    rules = Rules(settings=replace(Settings(), voting=voting), skill=SkillSpec(name=SkillName("s"), template="s.md"))
    person = Person(strengths, ties, np.random.default_rng(seed))
    counts, votes = [[0, 0] for _ in strengths[1:]], 0
    while True:
        arms = tuple(
            Arm(variant=VariantId(i), name=f"variant_{i}", instruction="", wins=wins, losses=losses)
            for i, (wins, losses) in enumerate(counts, start=1)
        )
        tally = Tally(arms=arms, votes=votes, since=NOW)
        verdict = decide(rules, tally, NOW)
        if verdict.next is not Waiting.FOR_VOTES:
            return verdict.winner if verdict.next is Stage.PROMOTE else None
        making = Making(rules=rules, seed=seed, templates={}, tally=tally, verdict=verdict, made={})
        shown = draw(making, Task(sample=SampleId(votes), fields=()))
        picked, votes = person.pick(shown), votes + 1
        if picked == INCUMBENT:
            for arm in shown[1:]:
                counts[arm - 1][1] += 1
        elif picked is not None:
            counts[picked - 1][0] += 1


def at_most(found: int, of: int) -> float:
    """Return the upper end of the exact one-sided interval for a share (Clopper and Pearson)."""
    from scipy.stats import beta  # noqa: PLC0415 - scipy.stats costs a second to import

    return float(beta.ppf(CONFIDENCE, found + 1, of - found))


def test_equal_challengers_are_promoted_in_at_most_five_percent() -> None:
    """Three prompts no better than the incumbent, in 2,000 tests: even the upper bound of the share promoted is below 5 %."""
    false = sum(promoted((1, 1, 1, 1), seed, Voting()) is not None for seed in range(2000))

    assert at_most(false, 2000) <= 0.05


@pytest.mark.parametrize(("strengths", "tests"), [((1, 1), 2500), ((2, 1, 1, 1), 700), ((1, 0.6, 1, 0.3), 700)])
def test_challengers_that_are_no_better_are_hardly_ever_promoted(strengths: tuple[float, ...], tests: int) -> None:
    """One equal prompt, three worse ones, and a mixture: the upper bound of the share promoted is below 5 % as well."""
    false = sum(promoted(strengths, seed, Voting(), ties=0.0) is not None for seed in range(tests))

    assert at_most(false, tests) <= 0.05


@pytest.mark.parametrize("cap", [30, 60, 200, 1000])
def test_more_looks_do_not_promote_more(cap: int) -> None:
    """Deciding after every vote promotes an equal prompt in at most 1/20, exactly, however many votes are allowed."""
    assert size_and_power(0.5, cap).promote <= 1 / 20


@pytest.mark.parametrize(("cap", "share"), [(30, 0.5), (60, 0.9)])
def test_a_clearly_better_challenger_is_promoted_in_most_tests(cap: int, share: float) -> None:
    """One prompt that wins 85 % of its comparisons, among two equal ones, wins most tests, and the others none."""
    strong = 0.85 / 0.15
    winners = [promoted((1, strong, 1, 1), seed, Voting(max_votes=cap), ties=0.1) for seed in range(200)]

    assert winners.count(1) >= share * len(winners)
    assert sum(winner in (2, 3) for winner in winners) <= 1


@pytest.mark.parametrize("rate", [0.5, 0.65, 0.85])
def test_one_challenger_does_exactly_what_was_computed(rate: float) -> None:
    """With one challenger and no ties the share promoted is the exact one of the dynamic programme, within 4 sd."""
    tests, odds = 500, rate / (1 - rate)
    expected = size_and_power(rate, 30).promote

    found = sum(promoted((1, odds), seed, Voting(), ties=0.0) is not None for seed in range(tests)) / tests

    assert abs(found - expected) <= 4 * (expected * (1 - expected) / tests) ** 0.5
