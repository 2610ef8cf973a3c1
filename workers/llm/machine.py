"""Probes of the machine: keyboard and pointer, power, memory. Each is a command or a file that a system offers.

A probe says what it found, that this machine does not have it, or that it failed. What the commands print is read by
functions of their own, so that recorded output of other systems can be put to them.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.gate import Signal, State

COMMAND_S = 1.0  # all of these answer within milliseconds
PRESSURE = Path("/proc/pressure/memory")
NO_DISPLAY = 1e9  # seconds; more than any clock of a session shows
WARN = 2  # macOS: 1 normal, 2 warning, 4 critical


class Failed(Exception):
    """The probe is there and did not tell; the text says why."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a probe found.

    Attributes:
        value: in words.
        idle_s: for input, seconds since the last one; None for the others.
    """

    state: State
    value: str
    idle_s: float | None = None


@dataclass(frozen=True, slots=True)
class Probe:
    """One way to read one thing.

    Attributes:
        source: what is asked, for people.
        read: asks; raises `Failed`.
    """

    signal: Signal
    source: str
    read: Callable[[], Finding]


def probes(*, on_battery: bool, memory_stall: float, system: str = sys.platform) -> tuple[Probe, ...]:
    """Return the probes that a system may have, those of one signal in the order in which they are tried.

    Args:
        on_battery: whether evolution may work on battery.
        memory_stall: percent of the last ten seconds in which tasks may have waited for memory.
        system: as in `sys.platform`.
    """
    power = Probe(Signal.POWER, "the battery (psutil)", lambda: _power(on_battery=on_battery))
    if system == "darwin":
        return (
            Probe(Signal.INPUT, "ioreg HIDIdleTime", lambda: _input(ioreg_idle_s(_run("ioreg", "-c", "IOHIDSystem")))),
            power,
            Probe(Signal.MEMORY, "sysctl memory pressure", _mac_memory),
        )
    return (
        Probe(Signal.INPUT, "GNOME's idle monitor", lambda: _input(gnome_idle_s(_run(*GNOME)))),
        Probe(Signal.INPUT, "xprintidle", lambda: _input(xprintidle_idle_s(_run("xprintidle")))),
        Probe(Signal.INPUT, "loginctl IdleHint", _logind),
        power,
        Probe(Signal.MEMORY, str(PRESSURE), lambda: linux_memory(_file(PRESSURE), memory_stall)),
    )


GNOME = (
    "gdbus", "call", "--session", "--timeout", "1", "--dest", "org.gnome.Mutter.IdleMonitor",
    "--object-path", "/org/gnome/Mutter/IdleMonitor/Core", "--method", "org.gnome.Mutter.IdleMonitor.GetIdletime",
)  # fmt: skip


def ioreg_idle_s(text: str) -> float:
    """Read `ioreg -c IOHIDSystem`: the shortest HIDIdleTime, which is in nanoseconds."""
    found = [int(value) for value in re.findall(r'"HIDIdleTime"\s*=\s*(\d{1,19})', text)]
    if not found:
        raise Failed("no HIDIdleTime")
    return min(found) / 1e9


def gnome_idle_s(text: str) -> float:
    """Read the answer of GNOME's idle monitor, `(uint64 12345,)` in milliseconds."""
    found = re.fullmatch(r"\(uint64 (\d{1,19}),\)", text.strip())
    if found is None:
        raise Failed("no idle time")
    return int(found[1]) / 1e3


def xprintidle_idle_s(text: str) -> float:
    """Read xprintidle: milliseconds."""
    if not re.fullmatch(r"\d{1,19}", text.strip()):
        raise Failed("no idle time")
    return int(text) / 1e3


def logind_idle_since(text: str) -> float | None:
    """Read `loginctl show-user`: since when the user is idle in seconds since 1970, None while they are not."""
    values = dict(line.partition("=")[::2] for line in text.split("\n") if "=" in line)
    if values.get("IdleHint") not in ("yes", "no"):
        raise Failed("no IdleHint")
    since = values.get("IdleSinceHint", "")
    return None if values["IdleHint"] == "no" else int(since) / 1e6 if since.isdigit() else 0.0


def linux_memory(text: str, most_percent: float) -> Finding:
    """Read `/proc/pressure/memory`: how much of the last ten seconds some task waited for memory."""
    found = re.search(r"^some avg10=(\d{1,3}(?:\.\d+)?)", text, re.MULTILINE)
    if found is None:
        raise Failed("no pressure")
    stalled = float(found[1])
    words = f"Memory was waited for in {stalled:g} % of the last 10 s."
    return Finding(State.BUSY if stalled > most_percent else State.QUIET, words)


def mac_memory(text: str) -> Finding:
    """Read `kern.memorystatus_vm_pressure_level`: 1 normal, 2 warning, 4 critical."""
    if not re.fullmatch(r"\d", text.strip()):
        raise Failed("no pressure level")
    return Finding(
        State.BUSY if int(text) >= WARN else State.QUIET, f"Memory pressure is at level {int(text)} (1 is normal)."
    )


def _mac_memory() -> Finding:
    return mac_memory(_run("sysctl", "-n", "kern.memorystatus_vm_pressure_level"))


def _logind() -> Finding:
    import time  # noqa: PLC0415 - only this probe tells a moment instead of a duration

    text = _run("loginctl", "show-user", str(os.getuid()), "--property=IdleHint", "--property=IdleSinceHint")
    since = logind_idle_since(text)
    return _input(0.0 if since is None else max(0.0, time.time() - since))


def _input(idle_s: float) -> Finding:
    return Finding(State.QUIET, f"last input {min(idle_s, NO_DISPLAY):.0f} s ago", idle_s)


def _power(*, on_battery: bool) -> Finding:
    import psutil  # noqa: PLC0415 - asked every few seconds only

    try:
        battery = psutil.sensors_battery()
    except (AttributeError, OSError, psutil.Error) as error:
        raise Failed(type(error).__name__) from error
    if battery is None:
        raise Failed("there is no battery")
    if battery.power_plugged is None:
        raise Failed("the battery does not say whether it is charged")
    if battery.power_plugged:
        return Finding(State.QUIET, "on mains")
    words = f"The machine runs on battery ({battery.percent:.0f} %)."
    return Finding(State.QUIET if on_battery else State.BUSY, words)


def _run(*words: str) -> str:
    path = shutil.which(words[0])
    if path is None:
        raise Failed(f"there is no {words[0]}")
    return _output([path, *words[1:]])


def _output(words: Sequence[str]) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own command lines
            words, capture_output=True, timeout=COMMAND_S, check=False, stdin=subprocess.DEVNULL,
            env={**os.environ, "LC_ALL": "C"},
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Failed(type(error).__name__) from error
    if done.returncode:
        raise Failed(f"{os.path.basename(words[0])} ended with {done.returncode}")  # noqa: PTH119 - a name, not a file
    return done.stdout.decode(errors="replace")


def _file(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError as error:
        raise Failed(error.strerror or type(error).__name__) from error
