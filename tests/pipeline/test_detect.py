"""Stage 1: which rule speaks first, and how few samples are not made to say more than they can."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.detect import DetectCase, Judged, SincePromotion, detect, look
from pipeline.domain import Ending, LabelSource, SkillName, Stage
from pipeline.flow import drive
from pipeline.rules import Rules
from pipeline.settings import Settings
from pipeline.skills import SkillSpec

NOW = datetime(2026, 3, 1, tzinfo=UTC)
RULES = Rules(settings=Settings(), skill=SkillSpec(name=SkillName("file-naming"), template="skills/file-naming.md"))


def _window(right: int, wrong: int, source: LabelSource = LabelSource.PERSON) -> tuple[Judged, ...]:
    return tuple(Judged(ok=i < right, source=source) for i in range(right + wrong))


CASE = DetectCase(
    rules=RULES,
    now=NOW,
    window=_window(12, 8),
    last_evolution=None,
    evolving=False,
    usable=50,
    known=140,
    since_promotion=None,
)


def test_a_fall_below_the_threshold_starts_breeding() -> None:
    """0.60 over 20 samples is drift, and the reason says what it rests on."""
    decision = drive(detect(CASE), lambda request: pytest.fail(f"asked for {request}"))

    assert decision.next is Stage.MUTATE
    assert decision.accuracy == 0.6
    assert decision.reason == "accuracy 0.60 over 20 samples (20 by person), below 0.80"


def test_the_threshold_itself_is_healthy() -> None:
    """16 of 20 is 0.80, which is not below 0.80; 15 of 20 is."""
    assert look(replace(CASE, window=_window(16, 4))).next is Ending.HEALTHY
    assert look(replace(CASE, window=_window(15, 5))).next is Stage.MUTATE


def test_nineteen_samples_say_nothing() -> None:
    """One sample less than the window, all wrong, is still too few."""
    decision = look(replace(CASE, window=_window(0, 19)))

    assert decision.next is Ending.TOO_FEW_SAMPLES
    assert decision.reason == "19 of 20 judged samples"


def test_the_cooldown_ends_to_the_second() -> None:
    """An evolution 168 hours ago has cooled down; a second later it had not."""
    hours = timedelta(hours=168)

    assert look(replace(CASE, last_evolution=NOW - hours)).next is Stage.MUTATE
    assert look(replace(CASE, last_evolution=NOW - hours + timedelta(seconds=1))).next is Ending.COOLDOWN


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"rules": replace(RULES, settings=replace(Settings(), enabled=False))}, Ending.DISABLED),
        ({"rules": replace(RULES, skill=replace(RULES.skill, enabled=False))}, Ending.DISABLED),
        ({"evolving": True}, Ending.BUSY),
        ({"rules": replace(RULES, skill=replace(RULES.skill, poor_candidate="fixed rules"))}, Ending.POOR_CANDIDATE),
        ({"usable": 3}, Ending.TOO_FEW_SAMPLES),
    ],
)
def test_a_rule_that_stands_against_it_ends_the_check(changes: dict[str, object], expected: Ending) -> None:
    """Switched off, under way, a poor candidate, nothing to measure on: each leaves the skill alone."""
    assert look(replace(CASE, **changes)).next is expected  # type: ignore[arg-type]


def test_a_persons_order_overrides_threshold_cooldown_and_poor_candidate() -> None:
    """Forced, a healthy, freshly evolved poor candidate evolves."""
    rules = replace(RULES, skill=replace(RULES.skill, poor_candidate="fixed rules"))
    case = replace(CASE, rules=rules, window=_window(20, 0), last_evolution=NOW, forced=True)

    assert look(case).next is Stage.MUTATE


def test_a_persons_order_does_not_start_a_second_evolution() -> None:
    """Two evolutions of one skill at a time are refused, forced or not."""
    assert look(replace(CASE, evolving=True, forced=True)).next is Ending.BUSY


@pytest.mark.parametrize(
    ("ok", "bad", "rolls_back"),
    [
        (0, 9, False),  # nine samples, all wrong: one too few
        (3, 7, True),  # 0.30 of 10
        (6, 4, False),  # 0.60 of 10: below 0.70 with probability 0.79
        (13, 7, False),  # 0.65 of 20: below 0.70 with probability 0.72
        (30, 24, True),  # 0.56 of 54
        (70, 30, False),  # the threshold itself
    ],
)
def test_a_promotion_is_taken_back_only_when_the_samples_show_it(ok: int, bad: int, rolls_back: bool) -> None:  # noqa: FBT001 - a table's column
    """Below 0.70 from 10 samples on, and with probability 0.90; otherwise the promoted prompt stays."""
    decision = look(replace(CASE, window=_window(20, 0), since_promotion=SincePromotion(back_to=1, ok=ok, bad=bad)))

    assert (decision.next is Stage.PROMOTE) is rolls_back


def test_a_rollback_goes_before_everything_else() -> None:
    """Neither cooldown nor the master switch keeps a bad promotion in use."""
    rules = replace(RULES, settings=replace(Settings(), enabled=False))
    case = replace(CASE, rules=rules, last_evolution=NOW, since_promotion=SincePromotion(back_to=1, ok=0, bad=20))

    assert look(case).next is Stage.PROMOTE


def test_without_an_earlier_version_nothing_is_rolled_back() -> None:
    """A first version has nothing to go back to."""
    assert look(replace(CASE, since_promotion=SincePromotion(back_to=None, ok=0, bad=20))).next is Stage.MUTATE


def test_the_reason_tells_the_sources_apart() -> None:
    """An accuracy says how much of it is a person's word, a scorer's, and silence."""
    window = (*_window(5, 5), *_window(6, 4, LabelSource.IMPLICIT))

    assert "10 by person, 10 by implicit" in look(replace(CASE, window=window)).reason
