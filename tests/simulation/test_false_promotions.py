"""Whole tests of the voting rule, played thousands of times: how often is a prompt promoted that is no better?"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from pipeline.algorithms.streams import stream
from pipeline.bandit import Arm, BanditCase, Tally, Task, decide, draw
from pipeline.domain import SampleId, SkillName, Stage, VariantId, Waiting
from pipeline.rules import Rules
from pipeline.settings import Settings
from pipeline.skills import PromptTemplate, SkillSpec

RULES = Rules(settings=Settings(), skill=SkillSpec(name=SkillName("x"), template="x.md"))
NOW = datetime(2026, 3, 1, tzinfo=UTC)
TESTS = 1500
FALSE_SHARE = 0.05  # promised: 1 / promote_e over all challengers together


def _promoted(seed: int, strengths: tuple[float, ...], incumbent: float, tie: float) -> bool:
    """Play one test: ballots by Thompson sampling, votes by utility with noise, a decision after every vote."""
    rng = np.random.default_rng(seed)
    arms = tuple(
        Arm(variant=VariantId(i + 1), name=f"v{i}", instruction=f"rule {i}", wins=0, losses=0)
        for i in range(len(strengths))
    )
    tally = Tally(arms=arms, votes=0, since=NOW)
    while True:
        verdict = decide(RULES, tally, NOW)
        if verdict.next is not Waiting.FOR_VOTES:
            return verdict.next is Stage.PROMOTE
        case = BanditCase(
            rules=RULES, seed=seed, now=NOW, template=PromptTemplate("a", "{{b}}"), tally=tally, tasks=(), open_ballots=0,
            report_items=(), reported=True,
        )  # fmt: skip
        shown = draw(case, Task(sample=SampleId(tally.votes), fields=()), verdict)
        utility = {0: incumbent + rng.normal()} | {v: strengths[v - 1] + rng.normal() for v in shown}
        best = max(utility, key=lambda v: utility[v])
        tied = rng.random() < tie
        tally = Tally(
            arms=tuple(_counted(arm, best, shown, tied) for arm in tally.arms), votes=tally.votes + 1, since=NOW
        )


def _counted(arm: Arm, best: int, shown: tuple[VariantId, ...], tied: bool) -> Arm:  # noqa: FBT001 - one throw of the dice
    if tied or arm.variant not in shown:
        return arm
    if best == 0:
        return replace(arm, losses=arm.losses + 1)
    return replace(arm, wins=arm.wins + 1) if best == arm.variant else arm


def _share(strengths: tuple[float, ...], tie: float, tests: int) -> float:
    seeds = stream(11, "simulation", len(strengths), str(strengths)).integers(2**31, size=tests)
    return sum(_promoted(int(seed), strengths, 0.0, tie) for seed in seeds) / tests


@pytest.mark.parametrize("strengths", [(0.0,), (0.0, 0.0, 0.0), (-0.5, 0.0, -1.0)])
@pytest.mark.parametrize("tie", [0.0, 0.3])
def test_a_prompt_that_is_no_better_is_hardly_ever_promoted(strengths: tuple[float, ...], tie: float) -> None:
    """At most 5 % of tests in which no challenger is better promote one; the margin is four standard errors."""
    share = _share(strengths, tie, TESTS)

    assert share <= FALSE_SHARE + 4 * (FALSE_SHARE * (1 - FALSE_SHARE) / TESTS) ** 0.5


def test_a_clearly_better_prompt_is_found() -> None:
    """One challenger that wins 95 % of its duels among two equal ones is promoted in most tests."""
    share = _share((2.3, 0.0, 0.0), 0.0, 300)

    assert share >= 0.8


def test_more_looks_do_not_promote_more() -> None:
    """Deciding after every vote promotes no more equal prompts than the bound, which holds at any stopping time."""
    patient = replace(RULES.settings.voting, max_votes=200)
    rules = replace(RULES, settings=replace(RULES.settings, voting=patient))
    arm = Arm(variant=VariantId(1), name="v", instruction="r", wins=0, losses=0)
    promoted = 0
    for seed in range(400):
        rng = np.random.default_rng(seed)
        one, votes = arm, 0
        while True:
            verdict = decide(rules, Tally(arms=(one,), votes=votes, since=NOW), NOW)
            if verdict.next is not Waiting.FOR_VOTES:
                promoted += verdict.next is Stage.PROMOTE
                break
            won = bool(rng.random() < 0.5)
            one, votes = replace(one, wins=one.wins + won, losses=one.losses + (not won)), votes + 1

    assert promoted / 400 <= FALSE_SHARE + 4 * (FALSE_SHARE * (1 - FALSE_SHARE) / 400) ** 0.5
