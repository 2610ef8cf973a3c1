"""The idle gate's decision: what named readings of the user, the models and the machine together allow.

Pure: times and readings come from the caller. The rules, in this order:

1. A reading that says *busy* closes the gate.
2. A reading that *failed* closes it too. Failing for `patience_s` it is an alert; then it is passed over where another
   reading of the same thing says quiet, so that a broken probe of the machine never blocks for ever, and a broken look at
   the models still does when nothing else can see them.
3. A use that ended less than `quiet_s` ago closes it, and so does input less than `input_quiet_s` ago.
4. A probe that this machine does not have says nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from pipeline.domain import Stage
from pipeline.machine_settings import GateSettings

HOURS = 24.0
SEARCH = frozenset((Stage.MUTATE, Stage.JUDGE, Stage.DEDUPE))
"""Stages that work while nobody is there; ballots and checks are made for the person who is."""


class Signal(StrEnum):
    """What is read, in the order in which it is told to people."""

    LEASE = "lease"  # a host says that the user waits for the model: a lock file
    SHARED_LEASE = "shared-lease"  # the same through Redis
    SLOTS = "slots"  # whether the runner of the user's model works on a request
    RUNNER_CPU = "runner-cpu"  # whether that runner uses the processor
    MODEL_LIST = "model-list"  # what Ollama's list of loaded models shows of its use
    POWER = "power"
    MEMORY = "memory"
    INPUT = "input"  # keyboard and pointer


class State(StrEnum):
    """What a reading says."""

    QUIET = "quiet"
    BUSY = "busy"
    UNKNOWN = "unknown"  # the probe failed
    ABSENT = "absent"  # this machine does not have it


OBSERVED = frozenset((Signal.SLOTS, Signal.RUNNER_CPU, Signal.MODEL_LIST))
"""Three ways to see one thing: whether the user's model works."""

USE = OBSERVED | {Signal.LEASE, Signal.SHARED_LEASE}


class Reason(StrEnum):
    """Why the gate is as it is: one stable word."""

    OPEN = "open"
    LEASE = "lease"
    BUSY = "foreground-busy"
    BATTERY = "on-battery"
    MEMORY = "memory-short"
    UNKNOWN = "probe-unknown"
    RECENT = "recent-use"
    INPUT = "user-active"
    DISK = "disk-full"  # what was seen cannot be written down


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one probe found.

    Attributes:
        value: the finding in words of ours; a whole sentence when it is busy.
        source: where it comes from, for people.
        at: when it was read, seconds since 1970.
        cost_ms: what reading it took.
        used_at: the latest use that it knows of, seconds since 1970; None when it knows of none.
        unknown_since: since when the probe fails, seconds since 1970; None while it answers.
    """

    signal: Signal
    state: State
    value: str = ""
    source: str = ""
    at: float = 0.0
    cost_ms: float = 0.0
    used_at: float | None = None
    unknown_since: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """What a request wants of the gate.

    Attributes:
        quiet_s: seconds without use of the user's model.
        input_quiet_s: seconds without keyboard and pointer; 0 when the person at the machine does not matter.
        patience_s: how long a probe may fail before it is an alert.
    """

    quiet_s: float = 0.0
    input_quiet_s: float = 0.0
    patience_s: float = 1800.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """Whether a model request may start.

    Attributes:
        reason: one stable word.
        detail: the same in words, for people.
        waits_s: seconds until the gate opens if nothing happens meanwhile; None when that cannot be known.
        alerts: what has been failing for too long, in words.
        readings: everything that was read.
    """

    open: bool
    reason: Reason
    detail: str
    waits_s: float | None = None
    alerts: tuple[str, ...] = ()
    readings: tuple[Reading, ...] = ()


_BUSY = {
    Signal.LEASE: Reason.LEASE,
    Signal.SHARED_LEASE: Reason.LEASE,
    Signal.SLOTS: Reason.BUSY,
    Signal.RUNNER_CPU: Reason.BUSY,
    Signal.MODEL_LIST: Reason.BUSY,
    Signal.POWER: Reason.BATTERY,
    Signal.MEMORY: Reason.MEMORY,
}


def decide(readings: Iterable[Reading], wish: Wish, now: float) -> Verdict:
    """Say whether a request with this *wish* may start at *now* (seconds since 1970)."""
    found = tuple(readings)
    counted = [one for one in found if one.state is not State.ABSENT]
    alerts = tuple(_alert(one, now) for one in counted if _failing(one, wish, now))
    reason, detail, waits_s = (
        _busy(counted) or _unknown(counted, wish, now) or _too_soon(counted, wish, now) or (Reason.OPEN, "", 0.0)
    )
    words = detail or "Nobody uses the model."
    return Verdict(
        open=reason is Reason.OPEN, reason=reason, detail=words, waits_s=waits_s, alerts=alerts, readings=found
    )


def wish_of(gate: GateSettings, *, begun: bool, asked: bool, search: bool, night: bool) -> Wish:
    """Say what a request of a run wants.

    Whoever asked for a run sits at the machine, and so does whoever votes; only a search that nobody asked for waits
    until the person has left it.

    Args:
        gate: the settings.
        begun: the run has made calls before; one that has not begins only after a long quiet.
        asked: a person ordered the run, or it is a check.
        search: the request belongs to the search and not to ballots.
        night: it is the time at which the short quiet is enough to begin.
    """
    short = begun or asked or night
    quiet_s = gate.resume_idle_s if short else max(gate.resume_idle_s, gate.start_idle_min * 60)
    matters = search and not asked and gate.input == "auto"
    return Wish(quiet_s=quiet_s, input_quiet_s=quiet_s if matters else 0.0, patience_s=gate.unknown_alert_min * 60)


def is_asked(trigger: str, stage: Stage) -> bool:
    """Tell whether a person ordered a run, or it is a check, whose canary begins no search."""
    return trigger == "person" or stage is Stage.DETECT


def in_night(hour: float, begins: float, ends: float) -> bool:
    """Tell whether a local time of day lies in the nightly window; all in hours. Equal bounds mean no window, 0 to 24 the whole day.

    >>> in_night(23.5, 22.0, 5.0), in_night(12.0, 22.0, 5.0), in_night(3.0, 1.0, 1.0)
    (True, False, False)
    """
    lasts = ends - begins
    return (hour - begins) % HOURS < (lasts if lasts == HOURS else lasts % HOURS)


def _busy(counted: list[Reading]) -> tuple[Reason, str, float | None] | None:
    for signal, reason in _BUSY.items():
        for one in counted:
            if one.signal is signal and one.state is State.BUSY:
                return reason, one.value, None
    return None


def _unknown(counted: list[Reading], wish: Wish, now: float) -> tuple[Reason, str, float | None] | None:
    for one in counted:
        if one.state is not State.UNKNOWN or (one.signal is Signal.INPUT and wish.input_quiet_s <= 0):
            continue
        if not (_failing(one, wish, now) and _seen_otherwise(one, counted)):
            return Reason.UNKNOWN, f"{one.source or one.signal} cannot be read: {one.value or 'no answer'}", None
    return None


def _seen_otherwise(failed: Reading, counted: list[Reading]) -> bool:
    """Whether a failed probe may be passed over: one of the machine may, one of the models only for another of them."""
    if failed.signal not in USE:
        return True
    return any(one.signal in OBSERVED and one.state is State.QUIET for one in counted if one is not failed)


def _too_soon(counted: list[Reading], wish: Wish, now: float) -> tuple[Reason, str, float | None] | None:
    model_s = _left_s((one for one in counted if one.signal in USE), wish.quiet_s, now)
    if model_s > 0:
        return Reason.RECENT, f"The user's model was in use less than {wish.quiet_s:g} s ago.", model_s
    input_s = _left_s((one for one in counted if one.signal is Signal.INPUT), wish.input_quiet_s, now)
    if input_s > 0:
        return Reason.INPUT, f"Somebody used the machine less than {wish.input_quiet_s:g} s ago.", input_s
    return None


def _left_s(readings: Iterable[Reading], quiet_s: float, now: float) -> float:
    """Return what is left of the quiet time; a use that seems to lie ahead counts as now, for a clock was put back."""
    used = [one.used_at for one in readings if one.used_at is not None]
    return max((min(quiet_s, at + quiet_s - now) for at in used), default=0.0)


def _failing(one: Reading, wish: Wish, now: float) -> bool:
    since = one.unknown_since
    return one.state is State.UNKNOWN and since is not None and now - since >= wish.patience_s


def _alert(one: Reading, now: float) -> str:
    minutes = (now - (one.unknown_since or now)) / 60
    return f"{one.source or one.signal} has not been readable for {minutes:.0f} min: {one.value or 'no answer'}"
