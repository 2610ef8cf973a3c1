"""Stage 1: which rule speaks first, what a warning and an alarm need, and how little is not made to say more than it can."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from pipeline.canary import LEAST, GoldenSet
from pipeline.detect import DetectCase, DetectDecision, Judged, SincePromotion, detect, look
from pipeline.domain import Ending, LabelSource, SampleId, SkillName, Stage
from pipeline.fitness import Item
from pipeline.flow import Generate, Generated, Reply, Request, drive
from pipeline.monitor import Entry, Monitor, begin, enter
from pipeline.rules import Rules
from pipeline.settings import Settings, Triggers
from pipeline.skills import PromptTemplate, SkillSpec

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SKILL = SkillSpec(name=SkillName("file-naming"), template="skills/file-naming.md", scorer="exact")
RULES = Rules(settings=Settings(), skill=SKILL)
NOTES = Rules(settings=replace(Settings(), triggers=Triggers(policy="seeds")), skill=SKILL)


def _window(right: int, wrong: int, source: LabelSource = LabelSource.PERSON) -> tuple[Judged, ...]:
    return tuple(Judged(ok=i < right, source=source) for i in range(right + wrong))


def _fed(*parts: tuple[int, int], explicit: bool = True, watch: float | None = None) -> Monitor:
    """Enter labels: per part so many right ones, each tenth and then the rest wrong, evenly mixed."""
    monitor = begin(watch=watch)
    for right, wrong in parts:
        done = 0
        for i in range(right + wrong):
            ok = (i + 1) * right // (right + wrong) > done
            done += ok
            monitor = enter(monitor, Entry(ok=ok, explicit=explicit))
    return monitor


HEALTHY = _fed((92, 8))
WARNED = _fed((92, 8), (0, 4))
ALARMED = _fed((92, 8), (0, 6))
ITEMS = tuple(Item(sample=SampleId(i), fields=(("text", f"w{i}"),), expected=f"w{i}") for i in range(60))
GOLDEN = GoldenSet(items=ITEMS, reference=(True,) * 55 + (False,) * 5, served_by="m 1")
CASE = DetectCase(
    rules=RULES, seed=1, now=NOW, version=1, template=PromptTemplate("Name it.", "Text: {{text}}"), window=_window(12, 8),
    monitor=ALARMED, golden=None, candidates=(), audit=(0, 0), last_evolution=None, evolving=False, usable=50, known=140,
    since_promotion=None,
)  # fmt: skip


class Model:
    """Answers the first so many golden tasks rightly."""

    def __init__(self, right: int, served_by: str = "m 1") -> None:
        self.right, self.served_by, self.asked = right, served_by, 0

    def __call__(self, request: Request) -> Reply:
        """Answer one request."""
        assert isinstance(request, Generate)
        self.asked += 1
        word = request.prompt.rpartition("Text: ")[2]
        text = word if int(word[1:]) < self.right else "?"
        return Generated(
            text=text, done_reason="stop", prompt_tokens=1, tokens=1, duration_s=0.1, served_by=self.served_by
        )


def _checked(case: DetectCase, right: int = 55, served_by: str = "m 1") -> tuple[DetectDecision, int]:
    model = Model(right, served_by)
    return drive(detect(case), model), model.asked


def test_the_monitors_are_as_they_are_meant() -> None:
    """A healthy stream, one with a warning, one with an alarm."""
    assert [(m.warned, m.alarmed) for m in (HEALTHY, WARNED, ALARMED)] == [(False, False), (True, False), (True, True)]


def test_an_alarm_starts_breeding_without_a_model() -> None:
    """It says since when, and how bad the newest samples are."""
    decision, asked = _checked(CASE)

    assert (decision.next, decision.acknowledged, asked) == (Stage.MUTATE, True, 0)
    assert decision.reason == (
        "alarm after 105 labels; it began about label 101; accuracy 0.60 over 20 samples (20 by person), below 0.80"
    )


def test_a_healthy_stream_ends_the_check() -> None:
    """Nothing is raised: the newest twenty may be what they are."""
    decision, asked = _checked(replace(CASE, monitor=HEALTHY))

    assert (decision.next, decision.acknowledged, asked) == (Ending.HEALTHY, False, 0)


def test_a_warning_that_the_canary_confirms_starts_breeding() -> None:
    """Of 60 frozen tasks ten more are wrong than when it was healthy: that is no chance."""
    decision, asked = _checked(replace(CASE, monitor=WARNED, golden=GOLDEN), right=45)

    assert (decision.next, decision.acknowledged, asked) == (Stage.MUTATE, True, 60)
    assert "of 60 frozen tasks 10 broke and 0 mended (p 0.001)" in decision.reason


def test_a_warning_that_the_canary_does_not_confirm_is_refuted() -> None:
    """The same prompt does as it did on the frozen tasks; the sum of the alarm goes on."""
    decision, _ = _checked(replace(CASE, monitor=WARNED, golden=GOLDEN), right=54)

    assert (decision.next, decision.acknowledged, decision.refuted) == (Ending.HEALTHY, False, True)
    assert decision.canary is not None


def test_a_changed_model_is_named() -> None:
    """A canary says when somebody else answers than then."""
    decision, _ = _checked(replace(CASE, monitor=WARNED, golden=GOLDEN), right=40, served_by="m 2")

    assert "the model or Ollama changed since" in decision.reason


def test_a_warning_without_golden_tasks_waits_for_the_alarm() -> None:
    """Nothing can confirm it yet, and that is said."""
    decision, asked = _checked(replace(CASE, monitor=WARNED))

    assert (decision.next, asked) == (Ending.HEALTHY, 0)
    assert "no" in decision.reason.rpartition(";")[2]


def _shifted() -> Monitor:
    """Return an alarm after people began to report much more often than before."""
    monitor = begin()
    for i in range(100):
        monitor = enter(monitor, Entry(ok=i % 12 > 0, explicit=i % 10 == 0))
    for i in range(60):
        monitor = enter(monitor, Entry(ok=i % 2 > 0, explicit=i % 2 == 0))
    assert monitor.alarmed
    assert monitor.rate_shifted
    return monitor


def test_an_alarm_after_a_change_of_reporting_needs_a_confirmation() -> None:
    """People report more than before: the canary decides whether the prompt is worse, and the audit where it cannot."""
    here = replace(CASE, monitor=_shifted())

    refuted, _ = _checked(replace(here, golden=GOLDEN), right=55)
    confirmed, _ = _checked(replace(here, golden=GOLDEN), right=40)
    audited, _ = _checked(replace(here, audit=(12, 9)))
    cleared, _ = _checked(replace(here, audit=(20, 1)))
    unasked, _ = _checked(here)

    assert [d.next for d in (refuted, confirmed, audited)] == [Ending.HEALTHY, Stage.MUTATE, Stage.MUTATE]
    assert [d.next for d in (cleared, unasked)] == [Ending.HEALTHY, Ending.HEALTHY]
    assert refuted.acknowledged
    assert "nobody answered the audit" in unasked.reason


def test_a_finding_says_when_the_tasks_are_others_than_before() -> None:
    """A hundred pictures made the baseline, and the failures since are documents: it may be the tasks, not the prompt."""
    monitor = begin()
    for i in range(100):
        monitor = enter(monitor, Entry(ok=i % 12 > 0, explicit=True, stratum=".png/short"))
    for i in range(60):
        monitor = enter(monitor, Entry(ok=i % 2 > 0, explicit=True, stratum=".pdf/long"))

    moved, _ = _checked(replace(CASE, monitor=monitor))
    same, _ = _checked(CASE)

    assert (moved.next, moved.moved, same.moved) == (Stage.MUTATE, True, False)
    assert moved.reason.endswith("; the tasks are others than before")


def test_golden_tasks_are_recorded_while_all_is_well() -> None:
    """Fifty labelled samples or more are run once and frozen; fewer are not."""
    healthy = replace(CASE, monitor=HEALTHY, candidates=ITEMS)

    recorded, asked = _checked(healthy, right=50)
    few, unasked = _checked(replace(healthy, candidates=ITEMS[: LEAST - 1]))

    assert recorded.recorded is not None
    assert (sum(recorded.recorded.reference), recorded.recorded.served_by, asked) == (50, "m 1", 60)
    assert (few.recorded, unasked) == (None, 0)


@pytest.mark.parametrize("monitor", [WARNED, None])
def test_a_warning_never_records_the_golden_tasks_that_would_refute_it(monitor: Monitor | None) -> None:
    """How a prompt does while something is raised, or before anybody judged it, is no reference."""
    decision, asked = _checked(replace(CASE, monitor=monitor, window=(), candidates=ITEMS))

    assert (decision.recorded, asked) == (None, 0)


def test_without_labels_nothing_is_said() -> None:
    """A version that nobody judged yet."""
    assert look(replace(CASE, monitor=None, window=())).next is Ending.TOO_FEW_SAMPLES


@pytest.mark.parametrize("monitor", [ALARMED, WARNED])
def test_the_cooldown_ends_to_the_second_and_asks_no_canary_before(monitor: Monitor) -> None:
    """An evolution 168 hours ago has cooled down; a second later it had not."""
    case, hours = replace(CASE, monitor=monitor, golden=GOLDEN), timedelta(hours=168)

    assert look(replace(case, last_evolution=NOW - hours)).next in (Stage.MUTATE, Stage.DETECT)
    early, asked = _checked(replace(case, last_evolution=NOW - hours + timedelta(seconds=1)))
    assert (early.next, early.acknowledged, asked) == (Ending.COOLDOWN, False, 0)


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
    assert look(replace(CASE, **changes)).next is expected  # type: ignore[arg-type]  # a table


def test_a_persons_order_overrides_threshold_cooldown_and_poor_candidate() -> None:
    """Forced, a healthy, freshly evolved poor candidate evolves."""
    rules = replace(RULES, skill=replace(RULES.skill, poor_candidate="fixed rules"))
    case = replace(CASE, rules=rules, monitor=HEALTHY, last_evolution=NOW, forced=True)

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
    since = SincePromotion(back_to=1, ok=ok, bad=bad)
    decision = look(replace(CASE, monitor=HEALTHY, since_promotion=since))

    assert (decision.next is Stage.PROMOTE) is rolls_back


def test_a_promotion_that_does_worse_than_the_prompt_before_is_taken_back() -> None:
    """0.95 before and 0.80 now is far above 0.70, and disappoints all the same."""
    monitor = _fed((56, 14), watch=0.95)
    case = replace(CASE, monitor=monitor, since_promotion=SincePromotion(back_to=1, ok=56, bad=14))

    decision = look(case)

    assert monitor.disappointed
    assert decision.next is Stage.PROMOTE
    assert "below that of the prompt before" in decision.reason


def test_a_rollback_goes_before_everything_else() -> None:
    """Neither cooldown nor the master switch keeps a bad promotion in use."""
    rules = replace(RULES, settings=replace(Settings(), enabled=False))
    case = replace(CASE, rules=rules, last_evolution=NOW, since_promotion=SincePromotion(back_to=1, ok=0, bad=20))

    assert look(case).next is Stage.PROMOTE


def test_without_an_earlier_version_nothing_is_rolled_back() -> None:
    """A first version has nothing to go back to."""
    assert look(replace(CASE, since_promotion=SincePromotion(back_to=None, ok=0, bad=20))).next is Stage.MUTATE


# --- the research notes' rule --------------------------------------------------------------------------------------


def test_by_the_notes_a_window_below_the_threshold_starts_breeding() -> None:
    """0.60 over 20 samples is drift, whatever the monitor says, and the reason says what it rests on."""
    decision = look(replace(CASE, rules=NOTES, monitor=HEALTHY))

    assert decision.next is Stage.MUTATE
    assert decision.accuracy == 0.6
    assert decision.reason == "accuracy 0.60 over 20 samples (20 by person), below 0.80"


def test_by_the_notes_the_threshold_itself_is_healthy() -> None:
    """16 of 20 is 0.80, which is not below 0.80; 15 of 20 is."""
    assert look(replace(CASE, rules=NOTES, window=_window(16, 4))).next is Ending.HEALTHY
    assert look(replace(CASE, rules=NOTES, window=_window(15, 5))).next is Stage.MUTATE


def test_by_the_notes_nineteen_samples_say_nothing() -> None:
    """One sample less than the window, all wrong, is still too few."""
    decision = look(replace(CASE, rules=NOTES, window=_window(0, 19)))

    assert decision.next is Ending.TOO_FEW_SAMPLES
    assert decision.reason == "19 of 20 judged samples"


def test_the_reason_tells_the_sources_apart() -> None:
    """An accuracy says how much of it is a person's word, a scorer's, and silence."""
    window = (*_window(5, 5), *_window(6, 4, LabelSource.IMPLICIT))

    assert "10 by person, 10 by implicit" in look(replace(CASE, window=window)).reason
