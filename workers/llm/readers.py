"""Reads what only the gate asks for: the runners of the user's model, and the machine. Both remember in the gate's file."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from pipeline.gate import Reading, Signal, State
from pipeline.machine_settings import GateSettings
from workers.llm.light_http import Unknown
from workers.llm.machine import Failed, Finding, Probe, probes
from workers.llm.memory import MemoryFile
from workers.llm.ps import CANCEL_S, OwnCall
from workers.llm.runners import Runner, Runners, Sample, Unseen, cpu_s, slots_busy, worked

LOADING_S = 10.0  # a runner younger than this, which we did not ask for, was started for the user
ABSENT_S = 600.0  # a probe that this machine does not have is tried again after this long
LEAST_GAP_S = 0.15  # two samples closer than this tell nothing
SAME_S = 0.5  # for which a process need not look into the memory again for what is read every few seconds
WINDOW_S = 1.0  # how far back a watch compares
CPU_SOURCE = "the runners' processor time"
SLOTS_SOURCE = "the runners' slots"


class RunnerReader:
    """Reads the user's runners. For one thread each.

    Args:
        file: the gate's memory.
        gate: how often to look.
        foreground: tag of the user's model.
        url: the Ollama server.
        own: tags that only evolution asks.
    """

    def __init__(self, file: MemoryFile, gate: GateSettings, foreground: str, url: str, own: Sequence[str]) -> None:
        self._file, self._gate = file, gate
        self._runners = Runners(url, foreground, own, gate.ps_timeout_s)
        self._read_at, self._last = 0.0, list[Reading]()

    def read(self, *, listed: bool) -> list[Reading]:
        """Return the readings of processor time and slots.

        Args:
            listed: whether Ollama lists the user's model; if so and no runner is to be seen, nothing can be told.
        """
        now, began = time.time(), time.monotonic()
        if self._last and began - self._read_at < LEAST_GAP_S:
            return self._last
        self._read_at, self._last = began, self._fresh(now, began, listed=listed)
        return self._last

    def _fresh(self, now: float, began: float, *, listed: bool) -> list[Reading]:
        try:
            theirs = self._runners.users()
        except Unseen as unseen:
            return [_absent(signal, source, str(unseen), now) for signal, source in _BOTH]
        if not theirs and listed:
            return [_absent(signal, source, "no runner can be seen", now) for signal, source in _BOTH]
        return [self._cpu(theirs, now, began), self._slots(theirs, now)]

    def watch(self, but: Sequence[str]) -> RunnerWatch:
        """Return a watch over the user's runners for the time of one call to the tags *but*; it is for one thread."""
        return RunnerWatch(self._runners, but, self._gate.runner_cpu)

    def _cpu(self, theirs: list[Runner], now: float, began: float) -> Reading:
        samples = {one.key: Sample(now, used) for one in theirs if (used := cpu_s(one)) is not None}
        with self._file.changing() as changes:
            memory = changes.memory
            last = memory.reading(Signal.RUNNER_CPU)
            close = [
                key for key in samples if key in memory.samples and 0 <= now - memory.samples[key].at < LEAST_GAP_S
            ]
            if close and last is not None and len(close) == len(samples):
                return last
            ours = _ours(memory.own, min((one.at for one in memory.samples.values()), default=now), now)
            busy = not ours and any(
                worked(memory.samples[one.key], samples[one.key], self._gate.runner_cpu)
                if one.key in memory.samples
                else now - one.created < LOADING_S
                for one in theirs
                if one.key in samples
            )
            changes.set(samples=samples)
            if busy:
                changes.used(now, now)
            value = "A runner works for the user." if busy else f"{len(theirs)} at rest"
            return changes.read(
                Reading(
                    signal=Signal.RUNNER_CPU, state=State.BUSY if busy else State.QUIET, value=value, at=now,
                    source=CPU_SOURCE, cost_ms=_since_ms(began),
                )
            )  # fmt: skip

    def _slots(self, theirs: list[Runner], now: float) -> Reading:
        """Ask for the slots, no faster than is good for them, and not while a call of ours is on them or being dropped."""
        with self._file.changing() as changes:
            last = changes.memory.reading(Signal.SLOTS)
            if _ours(changes.memory.own, now, now) or (last and 0 <= now - last.at < self._gate.slots_poll_s):
                return last or _absent(Signal.SLOTS, SLOTS_SOURCE, "a call of ours", now)
            if last is not None:  # others need not ask meanwhile
                changes.read(replace(last, at=now))
        began = time.monotonic()
        reading = _slot_reading(theirs, now)
        with self._file.changing() as changes:
            if reading.state is State.BUSY:
                changes.used(now, now)
            return changes.read(replace(reading, cost_ms=_since_ms(began)))


class RunnerWatch:
    """Tells, called again and again during one call of ours, whether a runner of the user's begins to work."""

    def __init__(self, runners: Runners, but: Sequence[str], cores: float) -> None:
        self._runners, self._but, self._cores = runners, tuple(but), cores
        self._samples: dict[str, list[Sample]] | None = None  # None before the first look

    def busy(self) -> bool:
        """Tell whether one works now.

        Raises:
            Unseen: the runners cannot be seen.
        """
        now, known = time.monotonic(), self._samples
        self._samples = {}
        for one in self._runners.users(self._but):
            used = cpu_s(one)
            if used is None:
                continue
            if known is not None and one.key not in known:
                return True  # started during our call, for a model that is not ours
            after, kept = Sample(now, used), known[one.key] if known is not None else []
            if any(worked(before, after, self._cores) for before in kept):
                return True
            self._samples[one.key] = [*(before for before in kept if now - before.at < WINDOW_S), after]
        return False


class MachineReader:
    """Reads keyboard and pointer, power and memory, every few seconds.

    Args:
        file: the gate's memory.
        gate: how often to look.
    """

    def __init__(self, file: MemoryFile, gate: GateSettings) -> None:
        self._file, self._gate = file, gate
        self._read_at, self._last = 0.0, list[Reading]()
        self._probes = probes(on_battery=gate.on_battery, memory_stall=gate.memory_stall)

    def read(self) -> list[Reading]:
        """Return one reading for each signal that a probe is for."""
        if self._last and time.monotonic() - self._read_at < SAME_S:
            return self._last
        self._read_at, self._last = time.monotonic(), self._remembered()
        return self._last

    def _remembered(self) -> list[Reading]:
        now, signals = time.time(), tuple(dict.fromkeys(probe.signal for probe in self._probes))
        with self._file.changing() as changes:
            last = {signal: changes.memory.reading(signal) for signal in signals}
            stale = [signal for signal, one in last.items() if one is None or not self._fresh(one, now)]
            for signal in stale:
                if (one := last[signal]) is not None:  # others need not ask meanwhile
                    changes.read(replace(one, at=now))
        fresh = {signal: self._ask(signal, now) for signal in stale}
        return [one for signal in signals if (one := fresh.get(signal) or last[signal]) is not None]

    def _fresh(self, one: Reading, now: float) -> bool:
        return 0 <= now - one.at < (ABSENT_S if one.state is State.ABSENT else self._gate.machine_poll_s)

    def _ask(self, signal: Signal, now: float) -> Reading:
        began = time.monotonic()
        source, finding, trouble = self._first(signal)
        reading = Reading(signal=signal, state=State.UNKNOWN, value=trouble, source=source, at=now)
        if finding is not None:
            used_at = None if finding.idle_s is None else now - finding.idle_s
            reading = replace(reading, state=finding.state, value=finding.value, used_at=used_at)
        with self._file.changing() as changes:
            return changes.read(replace(reading, cost_ms=_since_ms(began)))

    def _first(self, signal: Signal) -> tuple[str, Finding | None, str]:
        """Ask the probes of a signal in turn until one tells; else name the first and what each said."""
        mine: list[Probe] = [probe for probe in self._probes if probe.signal is signal]
        troubles: list[str] = []
        for probe in mine:
            try:
                return probe.source, probe.read(), ""
            except Failed as failed:
                troubles.append(str(failed))
        return mine[0].source, None, "; ".join(troubles)


_BOTH = ((Signal.RUNNER_CPU, CPU_SOURCE), (Signal.SLOTS, SLOTS_SOURCE))


def _slot_reading(theirs: list[Runner], now: float) -> Reading:
    told = 0
    try:
        for one in theirs:
            busy = slots_busy(one)
            if busy:
                return Reading(
                    signal=Signal.SLOTS,
                    state=State.BUSY,
                    value="A runner works for the user.",
                    source=SLOTS_SOURCE,
                    at=now,
                )
            told += busy is not None
    except Unknown as trouble:
        return Reading(signal=Signal.SLOTS, state=State.UNKNOWN, value=str(trouble), source=SLOTS_SOURCE, at=now)
    if theirs and not told:
        return _absent(Signal.SLOTS, SLOTS_SOURCE, "these runners do not tell", now)
    return Reading(signal=Signal.SLOTS, state=State.QUIET, value=f"{told} at rest", source=SLOTS_SOURCE, at=now)


def _ours(own: Sequence[OwnCall], since: float, now: float) -> bool:
    """Tell whether a call of ours to the user's model ran between *since* and *now*, or was dropped shortly before."""
    return any(
        call.started <= now and (call.ended is None or call.ended + (CANCEL_S if call.cancelled else 0.0) >= since)
        for call in own
    )


def _absent(signal: Signal, source: str, why: str, now: float) -> Reading:
    return Reading(signal=signal, state=State.ABSENT, value=why, source=source, at=now)


def _since_ms(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)
