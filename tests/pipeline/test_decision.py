"""The rule of evidence: replay times votes, the guard on accuracy, and when a promotion may go ahead."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.algorithms.eprocess import e_value
from pipeline.decision import Arm, Paired, Tally, cap, drop_chance, evidence_of, mark
from pipeline.domain import Ending, SkillName, Stage, VariantId, Waiting
from pipeline.policies import decide
from pipeline.rules import Rules
from pipeline.settings import Settings, Voting
from pipeline.skills import SkillSpec

NOW = datetime(2026, 5, 4, tzinfo=UTC)


def rules(**voting: object) -> Rules:
    """Rules with some voting settings."""
    skill = SkillSpec(name=SkillName("s"), template="s.md")
    return Rules(settings=replace(Settings(), voting=Voting(**voting)), skill=skill)  # type: ignore[arg-type]  # a table


def arm(wins: int = 0, losses: int = 0, **facts: object) -> Arm:
    """One challenger."""
    return Arm(variant=VariantId(1), name="variant_a", instruction="", wins=wins, losses=losses, **facts)  # type: ignore[arg-type]  # same


def tally(*arms: Arm, votes: int | None = None, since: datetime | None = NOW) -> Tally:
    """A test of *arms*."""
    return Tally(arms=arms, votes=sum(a.wins + a.losses for a in arms) if votes is None else votes, since=since)


def test_evidence_is_that_of_the_replay_times_that_of_the_votes() -> None:
    """Start, held-out tasks and votes multiply."""
    one = arm(5, 1, start=1.5, replay_wins=9, replay_losses=2)

    assert evidence_of(rules(), one) == pytest.approx(1.5 * e_value(9, 2) * e_value(5, 1))


def test_a_replay_that_has_decided_waits_for_five_votes_or_two_days() -> None:
    """Evidence of 20 without a vote promotes after 48 hours to the second, or with the fifth vote."""
    strong = arm(replay_wins=14, replay_losses=1)
    two_days = NOW + timedelta(hours=48)

    waiting = decide(rules(), tally(strong), NOW)

    assert (waiting.next, waiting.due) == (Waiting.FOR_VOTES, two_days)
    assert decide(rules(), tally(strong), two_days - timedelta(seconds=1)).next is Waiting.FOR_VOTES
    assert decide(rules(), tally(strong), two_days).next is Stage.PROMOTE
    assert decide(rules(), tally(strong, votes=4), NOW).next is Waiting.FOR_VOTES
    assert decide(rules(), tally(strong, votes=5), NOW).next is Stage.PROMOTE


def test_votes_can_undo_what_the_replay_showed() -> None:
    """Four of five votes against it take the evidence below the mark again, and all of five end the test."""
    torn = decide(rules(), tally(arm(1, 4, replay_wins=12, replay_losses=1)), NOW)
    refused = decide(rules(), tally(arm(0, 5, replay_wins=14, replay_losses=1)), NOW)

    assert torn.next is Waiting.FOR_VOTES
    assert refused.evidence[0] > 20
    assert (refused.next, refused.dropped) == (Ending.KEPT_INCUMBENT, (1,))


def test_a_replay_that_spoke_against_a_challenger_never_bothers_anybody() -> None:
    """Evidence of 0.2 or less from the replay alone ends the test before the first vote."""
    verdict = decide(rules(), tally(arm(replay_wins=2, replay_losses=8)), NOW)

    assert (verdict.next, verdict.dropped) == (Ending.KEPT_INCUMBENT, (1,))


def test_a_preferred_prompt_that_may_be_less_accurate_is_not_promoted() -> None:
    """With evidence enough, a probable drop of five points keeps the test open, and at the cap the prompt in use."""
    liked = arm(20, 3, flags=Paired(both=60, incumbent=14, challenger=6, neither=20))

    assert (drop_chance(rules(), liked) or 0) > 0.2
    waiting = decide(rules(), tally(liked), NOW)
    assert waiting.next is Waiting.FOR_VOTES
    assert "less accurate" in waiting.reason
    assert decide(rules(), tally(liked, votes=30), NOW).next is Ending.KEPT_INCUMBENT


def test_equal_accuracy_does_not_block() -> None:
    """The same flags the other way round pass the guard."""
    liked = arm(20, 3, flags=Paired(both=60, incumbent=6, challenger=14, neither=20))

    assert decide(rules(), tally(liked), NOW).next is Stage.PROMOTE


def test_little_known_accuracy_is_not_judged() -> None:
    """Below twenty samples nothing is said of accuracy; the votes decide."""
    assert drop_chance(rules(), arm(flags=Paired(incumbent=19))) is None
    assert drop_chance(rules(), arm(flags=Paired(incumbent=20))) is not None


def test_the_live_mode_has_a_cap_of_its_own() -> None:
    """Its unit is tasks, and its words say so."""
    live = rules(mode="live", live_max_tasks=50)

    assert (cap(rules()), cap(live)) == (30, 50)
    over = decide(live, tally(arm(1, 1), votes=50), NOW)
    assert (over.next, over.reason) == (Ending.KEPT_INCUMBENT, "50 tasks did not show a better prompt")


def test_the_mark_is_per_challenger() -> None:
    """Two challengers, twice the mark."""
    assert mark(rules(), tally(arm(), replace(arm(), variant=VariantId(2)))) == 40


def test_an_older_rule_is_kept_as_it_was_frozen() -> None:
    """Rules written by an earlier release read as evidence by ballots, with their own days and marks."""
    text = rules(max_days=14.0).to_json().replace('"policy": "evidence", ', "").replace('"mode": "ballots", ', "")
    old = Rules.from_json(text)

    assert (old.settings.voting.policy, old.settings.voting.mode, old.settings.voting.max_days) == (
        "evidence",
        "ballots",
        14,
    )


def test_prompts_that_always_answer_alike_end_the_test() -> None:
    """On a hundred tasks without any difference; one difference, on a ballot or in the replay, keeps it open."""
    alike = replace(tally(arm()), equal=100)

    ended = decide(rules(), alike, NOW)

    assert ended.next is Ending.KEPT_INCUMBENT
    assert (
        "answered alike on all of 100 tasks: they differ on at most 3.0% of tasks, with 95 % confidence" in ended.reason
    )
    assert decide(rules(), replace(alike, equal=99), NOW).next is Waiting.FOR_VOTES
    assert decide(rules(), replace(alike, equal=900, differing=1), NOW).next is Waiting.FOR_VOTES
    assert decide(rules(), replace(tally(arm(replay_losses=1)), equal=100), NOW).next is Waiting.FOR_VOTES
    assert decide(rules(equal_tasks=0), alike, NOW).next is Waiting.FOR_VOTES
    assert 0.97**100 < 0.05  # what the words say
