"""The monitor learns a baseline, raises what it should, keeps it until it is acknowledged, and stays small."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.algorithms.chance_limits import estimated_limits
from pipeline.algorithms.cusum import Chart, known_limits
from pipeline.monitor import (
    RECENT_LABELS,
    Entry,
    Monitor,
    Thresholds,
    acknowledged,
    begin,
    describe,
    enter,
    mix_shift,
    refuted,
)
from pipeline.setting import from_data, to_data

OK, BAD = Entry(ok=True), Entry(ok=False)
SAID = Entry(ok=True, explicit=True)
ENTRIES = st.builds(Entry, ok=st.booleans(), explicit=st.booleans(), stratum=st.sampled_from("abcdefghijklmnop"))


def after(monitor: Monitor, entries: Iterable[Entry]) -> Monitor:
    """Enter one label after the other."""
    for entry in entries:
        monitor = enter(monitor, entry)
    return monitor


def spread(good: int, bad: int) -> list[Entry]:
    """Return labels with the bad ones spread evenly, so that no sum grows large on the way."""
    total = good + bad
    return [BAD if (place + 1) * bad // total > place * bad // total else OK for place in range(total)]


def test_it_says_how_far_the_baseline_is() -> None:
    """After 43 labels it still learns."""
    monitor = after(begin(), [OK] * 43)

    assert describe(monitor) == "learning the baseline: 43 of 100 labels"
    assert monitor.learning
    assert monitor.healthy == 0.80


def test_the_hundredth_label_freezes_the_baseline() -> None:
    """With 92 right labels of 100 the healthy accuracy is 101/110 and the limits are those of the table."""
    monitor = after(begin(), spread(92, 8))
    later = after(monitor, spread(180, 20))

    assert monitor.healthy == monitor.baseline == pytest.approx(101 / 110)
    assert (monitor.drift.alarm, monitor.drift.warn) == (Chart(m=6, limit=22), Chart(m=6, limit=16))
    assert describe(monitor) == "healthy at 0.92; drift sum 0 of 22"
    assert (later.healthy, later.ok, later.drift.alarm.limit) == (monitor.healthy, monitor.ok, 22)


def test_a_prompt_that_was_never_good_is_found_while_learning() -> None:
    """Every second label is wrong: the chart at the floor of 0.80 alarms long before 100 labels."""
    monitor = after(begin(), spread(20, 20))

    assert monitor.drift.alarm.limit == known_limits(0.80).alarm
    assert monitor.alarmed
    assert monitor.learning
    assert 0 < monitor.drift.warned_at < monitor.drift.alarmed_at <= 40


def test_nothing_below_the_floor_counts_as_healthy() -> None:
    """A baseline of 0.63 leaves the healthy level at 0.80, and the text says what is the case."""
    monitor = acknowledged(after(begin(), spread(60, 40)))

    assert monitor.healthy == 0.80
    assert monitor.baseline == pytest.approx(69 / 110)
    assert describe(monitor) == "never healthy: 0.63, below 0.80; drift sum 0 of 33"


def test_a_fall_warns_first_and_then_alarms() -> None:
    """Eight failures in a row after the baseline: the warning at the fourth, the alarm at the fifth, and both stay."""
    steady = after(begin(), spread(92, 8))

    fourth, fifth = after(steady, [BAD] * 4), after(steady, [BAD] * 5)
    assert (fourth.warned, fourth.alarmed) == (True, False)
    assert describe(fourth) == "warning after 104 labels; drift sum 20 of 22"
    assert (fifth.drift.warned_at, fifth.drift.alarmed_at) == (104, 105)
    assert describe(after(fifth, [OK] * 50)) == "alarm after 105 labels; it began about label 101"


def test_a_warning_resets_only_its_own_sum() -> None:
    """When the warning signals, the sum of the alarm goes on."""
    monitor = after(begin(), [*spread(92, 8), *[BAD] * 4])

    assert (monitor.drift.warn.total, monitor.drift.alarm.total) == (0, 20)


def test_refuting_a_warning_leaves_the_sum_of_the_alarm() -> None:
    """After a look that found nothing the warning is gone and may come again, and the alarm counts on."""
    warned = after(begin(), [*spread(92, 8), *[BAD] * 4])

    cleared = refuted(warned)
    assert warned.warned
    assert not cleared.warned
    assert cleared.drift.alarm == warned.drift.alarm
    assert enter(cleared, BAD).alarmed


def test_acknowledging_clears_everything_that_was_raised() -> None:
    """Sums, flags and recent counts begin again; the baseline and what ADWIN found stay."""
    said = Entry(ok=False, explicit=True, stratum="new")
    raised = after(begin(), [*spread(92, 8), *[said] * 60])

    cleared = acknowledged(raised)
    assert raised.alarmed
    assert raised.warned
    assert raised.rate_shifted
    assert not any((cleared.alarmed, cleared.warned, cleared.rate_shifted, cleared.disappointed))
    assert cleared.drift.alarm == replace(raised.drift.alarm, total=0)
    assert cleared.recent == begin().recent != raised.recent
    assert (cleared.healthy, cleared.usual, cleared.adwin) == (raised.healthy, raised.usual, raised.adwin)
    assert describe(cleared) == "healthy at 0.92; drift sum 0 of 22"


def test_the_change_is_dated_by_the_last_zero() -> None:
    """The alarm's sum rises after label 130 and never is 0 again: that is where the change began."""
    monitor = after(begin(), [*spread(92, 8), *[OK] * 30, BAD, OK, OK, BAD, OK, BAD, BAD, BAD, BAD, OK])

    assert monitor.alarmed
    assert monitor.drift.risen_since == 130


def test_a_promoted_prompt_is_measured_against_the_one_it_replaced() -> None:
    """At 0.75 after a prompt of 0.92 it disappoints, though nothing below the floor alone says so yet."""
    labels = spread(27, 9)

    assert after(begin(watch=0.92), labels).disappointed
    assert not after(begin(), labels).disappointed
    assert not after(begin(), labels).alarmed
    assert describe(after(begin(watch=0.92), labels)).startswith("worse than the prompt it replaced, after ")


@pytest.mark.parametrize(("watch", "level"), [(0.2, 0.5), (1.0, 0.97), (0.85, 0.85)])
def test_the_watched_accuracy_is_clamped(watch: float, level: float) -> None:
    """Below one half and above 0.97 no chart is of use."""
    limits = known_limits(level)

    assert begin(watch=watch).guards.watch == Chart(m=limits.m, limit=limits.alarm)


@pytest.mark.parametrize(("floor", "level"), [(0.0, 0.5), (1.0, 0.97)])
def test_a_floor_that_no_chart_can_have_is_moved(floor: float, level: float) -> None:
    """With an impossible floor a monitor learns, freezes and goes on, at the nearest possible one."""
    monitor = after(begin(Thresholds(floor=floor)), spread(140, 60))

    assert monitor.thresholds.floor == level
    assert monitor.healthy == max(level, monitor.baseline)


def test_the_watch_ends_with_the_learning() -> None:
    """Once the version has a baseline of its own, the old prompt's accuracy is forgotten and a disappointment stays."""
    monitor = after(begin(watch=0.97), [*[BAD] * 5, *[OK] * 200])

    assert monitor.guards.watch == Chart()
    assert monitor.disappointed


def test_more_labels_by_people_raise_a_flag() -> None:
    """With one label in ten by a person in the baseline, a third of them by people does, the usual share does not."""
    usual = [SAID if place % 10 == 0 else OK for place in range(100)]
    steady = after(begin(), usual * 5)
    shifted = after(begin(), [*usual, *[SAID, OK, OK] * 30])

    assert not steady.rate_shifted
    assert shifted.rate_shifted
    assert not shifted.alarmed
    assert describe(shifted).startswith("another share of labels comes from people, noticed after ")


def test_fewer_labels_by_people_raise_it_too() -> None:
    """With half of the labels by a person in the baseline, silence from then on is a shift."""
    assert after(begin(), [*[SAID, OK] * 50, *[OK] * 60]).rate_shifted


@pytest.mark.parametrize(("usual", "unusual"), [(OK, SAID), (SAID, OK)])
def test_a_first_label_of_another_kind_is_no_shift(usual: Entry, unusual: Entry) -> None:
    """Where all or none came from people, the first exception raises nothing, and twenty in a row do."""
    frozen = after(begin(), [usual] * 100)

    assert not enter(frozen, unusual).rate_shifted
    assert after(frozen, [unusual] * 20).rate_shifted


def test_another_mix_of_tasks_is_noticed() -> None:
    """Half of the recent tasks of a kind that was one in ten is no chance; the same mix is no news."""
    usual = [Entry(ok=True, stratum="b" if place % 10 == 0 else "a") for place in range(100)]
    changed = [Entry(ok=True, stratum="ab"[place % 2]) for place in range(60)]
    frozen = after(begin(), usual)

    assert mix_shift(frozen) == 1.0
    assert mix_shift(after(frozen, usual)) > 0.9
    assert mix_shift(after(frozen, changed)) < 1e-4


def test_recent_counts_stay_bounded() -> None:
    """However many labels come, the recent counts are fewer than 200, and the baseline's are not touched."""
    monitor = after(begin(), [Entry(ok=True, stratum="ab"[place % 2]) for place in range(1500)])

    assert RECENT_LABELS // 2 - 2 <= sum(count for _, count in monitor.recent) < RECENT_LABELS
    assert dict(monitor.usual) == {"a": 50, "b": 50}


def test_adwin_is_counted_and_decides_nothing() -> None:
    """A stream that gets better is a change for ADWIN, dated, and neither warning nor alarm."""
    monitor = acknowledged(after(begin(), [*spread(100, 100), *[OK] * 300]))

    assert monitor.adwin_drifts >= 1
    assert 200 < monitor.adwin_last <= 500
    assert monitor.adwin_last % 32 == 0
    assert not any((monitor.alarmed, monitor.warned))


def test_its_own_thresholds_are_kept() -> None:
    """Twenty labels of baseline, another floor and other goals give the limits that belong to them."""
    given_ = Thresholds(baseline_labels=20, floor=0.6, false_alarm_labels=500, warn_labels=100)
    monitor = after(begin(given_), spread(15, 5))
    limits = estimated_limits(15, 5, 0.6, 500.0, 100.0)

    assert begin(given_).healthy == 0.6
    assert (monitor.drift.alarm, monitor.drift.warn) == (
        Chart(m=limits.m, limit=limits.alarm),
        Chart(m=limits.m, limit=limits.warn),
    )
    assert monitor.healthy == limits.healthy == pytest.approx(24 / 30)


@settings(deadline=None)
@given(st.lists(ENTRIES, max_size=250), st.integers(0, 250), st.sampled_from([None, 0.9]))
def test_stored_in_between_it_goes_on_as_before(entries: list[Entry], cut: int, watch: float | None) -> None:
    """Through plain JSON and back it is the same monitor, at any place of any stream, and has the same end."""
    whole = after(begin(Thresholds(baseline_labels=50), watch=watch), entries)

    half = after(begin(Thresholds(baseline_labels=50), watch=watch), entries[:cut])
    read = from_data(Monitor, json.loads(json.dumps(to_data(half))))
    assert read == half
    assert after(read, entries[cut:]) == whole


@given(st.lists(ENTRIES, max_size=250))
def test_counts_add_up_and_flags_stay(entries: list[Entry]) -> None:
    """Every label is counted once, no sum reaches its limit, and what was raised stays at the label that raised it."""
    monitor, raised = begin(Thresholds(baseline_labels=40)), (0, 0, 0)
    for number, entry in enumerate(entries, start=1):
        monitor = enter(monitor, entry)
        now = (monitor.drift.alarmed_at, monitor.drift.warned_at, monitor.guards.shifted_at)

        assert monitor.labels == number
        assert all(then in (0, label) and label in (then, number) for then, label in zip(raised, now, strict=True))
        assert monitor.drift.alarm.total < monitor.drift.alarm.limit
        assert monitor.drift.risen_since <= number
        raised = now
    assert sum(count for _, count in monitor.usual) == min(len(entries), 40)


def test_the_state_stays_below_two_kilobytes() -> None:
    """After 20,000 labels of 40 kinds with long names it is at most 2,048 characters of JSON."""
    kinds = [f".ext{number:04d}/medium-and-longer" for number in range(40)]
    monitor = begin(watch=0.9)
    for place in range(20_000):
        entry = Entry(ok=place % 12 > 0, explicit=place % 7 == 0, stratum=kinds[place % 40])
        monitor = enter(monitor, entry)

    assert len(json.dumps(to_data(monitor))) <= 2048


def test_entering_and_choosing_limits_import_no_scipy() -> None:
    """Importing it would take longer than the transaction in which labels are entered."""
    code = (
        "import sys\n"
        "from pipeline.monitor import Entry, begin, enter\n"
        "monitor = begin(watch=0.9)\n"
        "for place in range(120):\n"
        "    monitor = enter(monitor, Entry(ok=place % 9 > 0, explicit=place % 5 == 0))\n"
        "print(monitor.learning, 'scipy' in sys.modules)\n"
    )

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.split() == ["False", "False"]
