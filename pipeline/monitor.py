"""What is remembered of the labels of one prompt version, and what it says: healthy, a warning, an alarm.

Each matured label is entered once, in the order of maturity. The first `baseline_labels` freeze what is usual for this
prompt: its accuracy, how many labels a person gave, the mix of tasks. Until then it is watched against the floor, so
that a prompt that was never good is found early, and after a promotion against the replaced prompt as well. Afterwards
two sums watch for a fall below the baseline: a warning calls for a look that costs no user anything, an alarm for more.

A constant bias of what is told is part of the baseline. A change of it looks like drift, so the share of labels that a
person gave is watched, and answers to random questions are counted apart. ADWIN is slow evidence and decides nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from pipeline.algorithms import adwin
from pipeline.algorithms.chance_limits import CAP, FLOOR, LOWEST, estimated_limits, healthy_accuracy, shift_charts
from pipeline.algorithms.cusum import Chart, Limits, at_zero, known_limits, step
from pipeline.strata import Counts, counted, difference

RECENT_LABELS = 200  # recent labels by stratum; at so many all counts are halved, so that old ones fade
OFF = Chart()


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One matured label.

    Attributes:
        ok: the output was right.
        explicit: a person said so; silence otherwise.
        stratum: what kind of task it was, see `pipeline.strata.stratum_of`.
    """

    ok: bool
    explicit: bool = False
    stratum: str = "-"


@dataclass(frozen=True, slots=True, kw_only=True)
class Thresholds:
    """What a monitor goes by; it keeps those it was begun with.

    Attributes:
        baseline_labels: first labels that say what is usual.
        floor: accuracy below which nothing counts as healthy, in [0.5, 0.97].
        false_alarm_labels: labels per false alarm, at least.
        warn_labels: labels per false warning.
    """

    baseline_labels: int = 100
    floor: float = FLOOR
    false_alarm_labels: int = 1000
    warn_labels: int = 300


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """The two sums that watch the accuracy.

    Attributes:
        alarmed_at, warned_at: the label that raised it; 0 when it is not raised.
        risen_since: the last label before the sum of the alarm rose from 0: about where the change began. It stands
            still while the alarm is raised.
    """

    alarm: Chart
    warn: Chart
    alarmed_at: int = 0
    warned_at: int = 0
    risen_since: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Guards:
    """The sums beside them, and which label found the replaced prompt better, or another share of labels by people."""

    watch: Chart = OFF
    rate_up: Chart = OFF
    rate_down: Chart = OFF
    disappointed_at: int = 0
    shifted_at: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Monitor:
    """What is remembered; plain data, at most 2 KB as JSON however many labels there were.

    Attributes:
        labels: entered so far.
        ok, explicit: right labels, and labels by a person, among the first `baseline_labels`.
        usual: those first labels by stratum; `recent`: since then, or since the last acknowledgement.
        adwin: state of `pipeline.algorithms.adwin`.
        adwin_drifts: how often it detected a change; `adwin_last`: at which label last.
    """

    thresholds: Thresholds
    drift: Drift
    guards: Guards
    labels: int = 0
    ok: int = 0
    explicit: int = 0
    usual: Counts = ()
    recent: Counts = ()
    adwin: str = ""
    adwin_drifts: int = 0
    adwin_last: int = 0

    @property
    def learning(self) -> bool:
        """Say whether the baseline is not frozen yet."""
        return self.labels < self.thresholds.baseline_labels

    @property
    def baseline(self) -> float:
        """Return the accuracy of the first labels, so far or frozen: the posterior mean from Beta(9, 1)."""
        return healthy_accuracy(self.ok, min(self.labels, self.thresholds.baseline_labels) - self.ok)

    @property
    def healthy(self) -> float:
        """Return the accuracy that drift is measured against: the floor at first, then the baseline if it is higher."""
        floor = self.thresholds.floor
        return floor if self.learning else min(max(floor, self.baseline), CAP)

    @property
    def warned(self) -> bool:
        """Say whether a warning stands."""
        return self.drift.warned_at > 0

    @property
    def alarmed(self) -> bool:
        """Say whether an alarm stands."""
        return self.drift.alarmed_at > 0

    @property
    def disappointed(self) -> bool:
        """Say whether the version did worse than the one it replaced."""
        return self.guards.disappointed_at > 0

    @property
    def rate_shifted(self) -> bool:
        """Say whether people give more, or fewer, of the labels than they did."""
        return self.guards.shifted_at > 0


def begin(thresholds: Thresholds | None = None, *, watch: float | None = None) -> Monitor:
    """Return the monitor of a prompt version without labels.

    Args:
        thresholds: None for the defaults.
        watch: accuracy of the prompt that this one just replaced; None when it replaced none.
    """
    given = thresholds or Thresholds()
    given = replace(given, floor=_level(given.floor))
    goals = given.false_alarm_labels, given.warn_labels
    old = OFF if watch is None else _watching(known_limits(_level(watch), *goals)).alarm
    return Monitor(thresholds=given, drift=_watching(known_limits(given.floor, *goals)), guards=Guards(watch=old))


def _level(accuracy: float) -> float:
    """Return the nearest accuracy that a chart can be made for."""
    return min(max(accuracy, LOWEST), CAP)


def _watching(limits: Limits) -> Drift:
    return Drift(alarm=Chart(m=limits.m, limit=limits.alarm), warn=Chart(m=limits.m, limit=limits.warn))


def enter(monitor: Monitor, entry: Entry) -> Monitor:
    """Enter one label."""
    number, learnt = monitor.labels + 1, monitor.learning
    window, changed = adwin.update(adwin.from_text(monitor.adwin), entry.ok)
    entered = Monitor(
        thresholds=monitor.thresholds,
        drift=_drifted(monitor.drift, entry, number),
        guards=_guarded(monitor.guards, entry, number),
        labels=number,
        ok=monitor.ok + (learnt and entry.ok),
        explicit=monitor.explicit + (learnt and entry.explicit),
        usual=counted(monitor.usual, entry.stratum) if learnt else monitor.usual,
        recent=monitor.recent if learnt else counted(monitor.recent, entry.stratum, monitor.usual, RECENT_LABELS),
        adwin=adwin.to_text(window),
        adwin_drifts=monitor.adwin_drifts + changed,
        adwin_last=number if changed else monitor.adwin_last,
    )
    return _frozen(entered) if learnt and not entered.learning else entered


def _drifted(drift: Drift, entry: Entry, number: int) -> Drift:
    alarm, alarming = step(drift.alarm, entry.ok)
    warn, warning = step(drift.warn, entry.ok)
    rests = entry.ok and not alarm.total and not drift.alarmed_at
    return Drift(
        alarm=alarm,
        warn=warn,
        alarmed_at=drift.alarmed_at or number * alarming,
        warned_at=drift.warned_at or number * warning,
        risen_since=number if rests else drift.risen_since,
    )


def _guarded(guards: Guards, entry: Entry, number: int) -> Guards:
    watch, worse = step(guards.watch, entry.ok)
    rate_up, more = step(guards.rate_up, not entry.explicit)
    rate_down, fewer = step(guards.rate_down, entry.explicit)
    return Guards(
        watch=watch,
        rate_up=rate_up,
        rate_down=rate_down,
        disappointed_at=guards.disappointed_at or number * worse,
        shifted_at=guards.shifted_at or number * (more or fewer),
    )


def _frozen(monitor: Monitor) -> Monitor:
    """Choose the limits from the baseline; the sums begin again, what is raised stays raised."""
    given, n = monitor.thresholds, monitor.labels
    goals = float(given.false_alarm_labels), float(given.warn_labels)
    limits = estimated_limits(monitor.ok, n - monitor.ok, given.floor, *goals)
    up, down = shift_charts(monitor.explicit, n - monitor.explicit, given.false_alarm_labels)
    old, new = monitor.drift, _watching(limits)
    return replace(
        monitor,
        drift=replace(old, alarm=new.alarm, warn=new.warn, risen_since=old.risen_since if old.alarmed_at else n),
        guards=replace(monitor.guards, watch=OFF, rate_up=up, rate_down=down),
    )


def acknowledged(monitor: Monitor) -> Monitor:
    """Return the monitor after a check has acted: nothing is raised, all sums and the recent counts begin again."""
    drift, guards = monitor.drift, monitor.guards
    return replace(
        monitor,
        drift=Drift(alarm=at_zero(drift.alarm), warn=at_zero(drift.warn), risen_since=monitor.labels),
        guards=Guards(
            watch=at_zero(guards.watch), rate_up=at_zero(guards.rate_up), rate_down=at_zero(guards.rate_down)
        ),
        recent=(),
    )


def refuted(monitor: Monitor) -> Monitor:
    """Return the monitor after a check has refuted a warning: only the warning's own sum begins again."""
    drift = monitor.drift
    return replace(monitor, drift=replace(drift, warn=at_zero(drift.warn), warned_at=0))


def mix_shift(monitor: Monitor) -> float:
    """Return the p-value of "recent labels have the baseline's mix of tasks", in [0, 1]; 1 where little is known."""
    return difference(monitor.usual, monitor.recent)


def describe(monitor: Monitor) -> str:
    """Say in one short sentence how it stands; the most serious thing first."""
    return next(_states(monitor))


def _states(monitor: Monitor) -> Iterator[str]:
    drift, guards, given = monitor.drift, monitor.guards, monitor.thresholds
    total = f"drift sum {drift.alarm.total} of {drift.alarm.limit}"
    if monitor.disappointed:
        yield f"worse than the prompt it replaced, after {guards.disappointed_at} labels"
    if monitor.alarmed:
        yield f"alarm after {drift.alarmed_at} labels; it began about label {drift.risen_since + 1}"
    if monitor.warned:
        yield f"warning after {drift.warned_at} labels; {total}"
    if monitor.rate_shifted:
        yield f"another share of labels comes from people, noticed after {guards.shifted_at} labels; {total}"
    if monitor.learning:
        yield f"learning the baseline: {monitor.labels} of {given.baseline_labels} labels"
    if monitor.baseline < given.floor:
        yield f"never healthy: {monitor.baseline:.2f}, below {given.floor:.2f}; {total}"
    yield f"healthy at {monitor.healthy:.2f}; {total}"
