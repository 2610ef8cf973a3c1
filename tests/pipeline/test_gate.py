"""The gate's decision: the whole truth table of its readings, and what uses, nights and broken probes do to it."""

from __future__ import annotations

import itertools
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.domain import Stage
from pipeline.gate import OBSERVED, USE, Reading, Reason, Signal, State, Wish, decide, in_night, is_asked, wish_of
from pipeline.machine_settings import GateSettings

NOW = 1_000_000.0
WISH = Wish(quiet_s=60.0, input_quiet_s=60.0, patience_s=1800.0)
REASONS = {
    Signal.LEASE: Reason.LEASE,
    Signal.SHARED_LEASE: Reason.LEASE,
    Signal.SLOTS: Reason.BUSY,
    Signal.RUNNER_CPU: Reason.BUSY,
    Signal.MODEL_LIST: Reason.BUSY,
    Signal.POWER: Reason.BATTERY,
    Signal.MEMORY: Reason.MEMORY,
    Signal.INPUT: None,
}


def reading(signal: Signal, state: State, *, used_at: float | None = None, failing_s: float = 0.0) -> Reading:
    """Return one reading of now."""
    since = NOW - failing_s if state is State.UNKNOWN else None
    return Reading(signal=signal, state=state, value=f"{signal} {state}", at=NOW, used_at=used_at, unknown_since=since)


def expected(states: dict[Signal, State], *, long: bool, input_matters: bool) -> Reason:
    """Say, in other words than the code's, why the gate must be as it is: without any use."""
    for signal, reason in REASONS.items():
        if states[signal] is State.BUSY and reason is not None:
            return reason
    for signal, state in states.items():
        if state is not State.UNKNOWN or (signal is Signal.INPUT and not input_matters):
            continue
        if not long:
            return Reason.UNKNOWN
        if signal in USE and not any(states[o] is State.QUIET for o in OBSERVED - {signal}):
            return Reason.UNKNOWN
    return Reason.OPEN


def test_the_whole_truth_table() -> None:
    """Every combination of every reading's states (input is never busy), failing shortly or long: 98,304 verdicts."""
    tried = 0
    for combination in itertools.product(State, repeat=len(Signal) - 1):
        for of_input in (State.QUIET, State.UNKNOWN, State.ABSENT):
            states = dict(zip([s for s in Signal if s is not Signal.INPUT], combination, strict=True))
            states[Signal.INPUT] = of_input
            for long in (False, True):
                found = decide((reading(s, v, failing_s=3600.0 * long) for s, v in states.items()), WISH, NOW)
                tried += 1
                assert found.reason is expected(states, long=long, input_matters=True), states
                assert found.open == (found.reason is Reason.OPEN)
                assert len(found.alerts) == long * sum(state is State.UNKNOWN for state in states.values())
    assert tried == 4**7 * 3 * 2


def test_input_that_does_not_matter_blocks_nothing() -> None:
    """Who ordered the run sits at the machine."""
    wish = replace(WISH, input_quiet_s=0.0)

    assert decide([reading(Signal.INPUT, State.QUIET, used_at=NOW)], wish, NOW).open
    assert decide([reading(Signal.INPUT, State.UNKNOWN)], wish, NOW).open


def test_unknown_input_never_counts_as_idle_but_not_for_ever() -> None:
    """For half an hour it keeps the gate shut; then it is an alert and the other readings decide."""
    short = decide([reading(Signal.INPUT, State.UNKNOWN, failing_s=1799)], WISH, NOW)
    long = decide([reading(Signal.INPUT, State.UNKNOWN, failing_s=1800)], WISH, NOW)

    assert (short.reason, short.alerts) == (Reason.UNKNOWN, ())
    assert long.open
    assert "30 min" in long.alerts[0]


@pytest.mark.parametrize(("signal", "reason"), [(Signal.MODEL_LIST, Reason.RECENT), (Signal.INPUT, Reason.INPUT)])
def test_a_use_keeps_the_gate_shut_for_the_quiet_time(signal: Signal, reason: Reason) -> None:
    """The rest of it is told."""
    found = decide([reading(signal, State.QUIET, used_at=NOW - 20)], WISH, NOW)

    assert (found.reason, found.waits_s) == (reason, 40.0)
    assert decide([reading(signal, State.QUIET, used_at=NOW - 60)], WISH, NOW).open


def test_a_use_ahead_of_the_clock_waits_no_longer_than_the_quiet_time() -> None:
    """The clock was put back by a day."""
    assert decide([reading(Signal.LEASE, State.QUIET, used_at=NOW + 86400)], WISH, NOW).waits_s == 60.0


@given(
    states=st.lists(st.sampled_from(State), min_size=8, max_size=8),
    ages=st.lists(st.none() | st.floats(-1e5, 1e5), min_size=8, max_size=8),
    quiet=st.floats(0, 1e4),
)
def test_an_open_gate_has_no_busy_reading_and_no_recent_use(
    states: list[State], ages: list[float | None], quiet: float
) -> None:
    """Whatever else was read."""
    found = decide(
        (
            reading(signal, state, used_at=None if age is None else NOW - age)
            for signal, state, age in zip(Signal, states, ages, strict=True)
        ),
        Wish(quiet_s=quiet, input_quiet_s=quiet),
        NOW,
    )
    if found.open:
        for signal, state, age in zip(Signal, states, ages, strict=True):
            assert state is not State.BUSY or signal is Signal.INPUT
            assert (
                state is State.ABSENT or age is None or age >= quiet - 1e-6 or signal in (Signal.POWER, Signal.MEMORY)
            )


@pytest.mark.parametrize(
    ("begun", "asked", "search", "night", "quiet_s", "input_s"),
    [
        (False, False, True, False, 1800, 1800),  # nobody asked for it: half an hour without anybody
        (False, False, True, True, 60, 60),  # at night a minute is enough
        (True, False, True, False, 60, 60),  # under way: a minute, and nobody at the machine
        (True, False, False, False, 60, 0),  # ballots are for the person who is there
        (False, True, True, False, 60, 0),  # the person who ordered it is there too
    ],
)
def test_what_a_request_wants(
    *, begun: bool, asked: bool, search: bool, night: bool, quiet_s: float, input_s: float
) -> None:
    """A long quiet only before a search that nobody asked for."""
    wish = wish_of(GateSettings(), begun=begun, asked=asked, search=search, night=night)

    assert (wish.quiet_s, wish.input_quiet_s) == (quiet_s, input_s)


def test_input_can_be_ignored() -> None:
    """Where a desktop never says that it is idle."""
    wish = wish_of(GateSettings(input="ignore"), begun=False, asked=False, search=True, night=False)

    assert (wish.quiet_s, wish.input_quiet_s) == (1800, 0)


def test_who_asked() -> None:
    """A person, or a check."""
    assert is_asked("person", Stage.MUTATE)
    assert is_asked("timer", Stage.DETECT)
    assert not is_asked("timer", Stage.MUTATE)


def test_the_night_may_pass_midnight() -> None:
    """From 22 to 5, and never when both hours are the same."""
    hours = [hour for hour in range(24) if in_night(hour, 22, 5)]

    assert hours == [0, 1, 2, 3, 4, 22, 23]
    assert not any(in_night(hour, 7, 7) for hour in range(24))
    assert all(in_night(hour, 0, 24) for hour in range(24))
