"""Probes of the machine, on recorded output. What macOS and GNOME print is written from their documents, not recorded."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from pipeline.gate import Signal, State
from workers.llm import machine
from workers.llm.machine import Failed

# From the documents of IOHIDSystem; not recorded on a Mac.
IOREG = """
+-o Root  <class IORegistryEntry, id 0x100000100, retain 31>
    +-o IOHIDSystem  <class IOHIDSystem, id 0x1000003b1, registered, matched, active, busy 0 (1 ms), retain 25>
      | {
      |   "HIDIdleTime" = 90500000000
      |   "HIDParameters" = {"HIDClickTime"=500000000}
      | }
"""
# From loginctl(1); not recorded on a desktop.
LOGIND_IDLE = "IdleHint=yes\nIdleSinceHint=1787338102000000\n"
LOGIND_BUSY = "IdleHint=no\nIdleSinceHint=0\n"
# Recorded on Linux 6.
PRESSURE = "some avg10=12.34 avg60=3.00 avg300=0.50 total=1234\nfull avg10=1.00 avg60=0.00 avg300=0.00 total=12\n"


def test_idle_times_are_read_in_seconds() -> None:
    """Nanoseconds, milliseconds and milliseconds."""
    assert machine.ioreg_idle_s(IOREG) == 90.5
    assert machine.gnome_idle_s("(uint64 12345,)\n") == 12.345
    assert machine.xprintidle_idle_s("61000\n") == 61.0


def test_logind_tells_since_when() -> None:
    """Or that somebody is there."""
    assert machine.logind_idle_since(LOGIND_IDLE) == 1787338102.0
    assert machine.logind_idle_since(LOGIND_BUSY) is None
    assert machine.logind_idle_since("IdleHint=yes\n") == 0.0


@pytest.mark.parametrize("text", ["", "nonsense", "(uint64 -1,)", '"HIDIdleTime" = x', "IdleHint=maybe", "9" * 40])
def test_what_cannot_be_read_is_a_failed_probe(text: str) -> None:
    """And never an idle user."""
    for read in (
        machine.ioreg_idle_s,
        machine.gnome_idle_s,
        machine.xprintidle_idle_s,
        machine.logind_idle_since,
        machine.mac_memory,
        lambda one: machine.linux_memory(one, 10.0),
    ):
        with pytest.raises(Failed):
            read(text)


def test_memory_pressure() -> None:
    """A stall above the limit on Linux, any warning on macOS."""
    assert machine.linux_memory(PRESSURE, 10.0).state is State.BUSY
    assert machine.linux_memory(PRESSURE, 15.0).state is State.QUIET
    assert [machine.mac_memory(level).state for level in ("1\n", "2\n", "4\n")] == [
        State.QUIET,
        State.BUSY,
        State.BUSY,
    ]


@pytest.mark.parametrize(
    ("battery", "on_battery", "state"),
    [
        (SimpleNamespace(percent=53.2, power_plugged=False), False, State.BUSY),
        (SimpleNamespace(percent=53.2, power_plugged=False), True, State.QUIET),
        (SimpleNamespace(percent=53.2, power_plugged=True), False, State.QUIET),
    ],
)
def test_battery_waits_unless_it_may_not(
    monkeypatch: pytest.MonkeyPatch, battery: object, *, on_battery: bool, state: State
) -> None:
    """The setting allows work on battery."""
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)

    assert _probe(Signal.POWER, on_battery=on_battery).read().state is state


@pytest.mark.parametrize("battery", [None, SimpleNamespace(percent=1, power_plugged=None)])
def test_a_battery_that_says_nothing_is_a_failed_probe(monkeypatch: pytest.MonkeyPatch, battery: object) -> None:
    """A desktop has none; that it is absent is for the gate to say."""
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)

    with pytest.raises(Failed):
        _probe(Signal.POWER).read()


def test_commands_are_really_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first that answers tells; a command that is missing, fails or hangs has failed."""
    path = tmp_path / "xprintidle"
    path.write_text("#!/bin/sh\necho 5000\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.defpath}")
    probe = next(
        p for p in machine.probes(on_battery=False, memory_stall=10, system="linux") if p.source == "xprintidle"
    )

    assert probe.read().idle_s == 5.0
    path.write_text("#!/bin/sh\nexit 3\n")
    with pytest.raises(Failed, match="ended with 3"):
        probe.read()
    monkeypatch.setattr(machine, "COMMAND_S", 0.1)
    path.write_text("#!/bin/sh\nexec sleep 5\n")
    with pytest.raises(Failed):
        probe.read()
    path.unlink()
    with pytest.raises(Failed, match="there is no xprintidle"):
        probe.read()


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_this_machines_memory_pressure_can_be_read() -> None:
    """Where the kernel offers it."""
    if not machine.PRESSURE.exists():
        pytest.skip("this kernel was built without it")
    assert "waited for" in _probe(Signal.MEMORY).read().value


def test_every_system_has_probes_for_the_same_things() -> None:
    """Input, power and memory."""
    for system in ("darwin", "linux"):
        found = {probe.signal for probe in machine.probes(on_battery=False, memory_stall=10, system=system)}
        assert found == {Signal.INPUT, Signal.POWER, Signal.MEMORY}


def _probe(signal: Signal, *, on_battery: bool = False) -> machine.Probe:
    found = machine.probes(on_battery=on_battery, memory_stall=10, system="linux")
    return next(probe for probe in found if probe.signal is signal)
