"""What the gate remembers from job to job: one small file, changed under a lock and replaced in one step."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pipeline.gate import Reading, Signal, State
from workers.home import private
from workers.llm.ps import Look, OwnCall
from workers.llm.runners import Sample
from workers.llm.tags import normal

MEMORY, LOCK = "gate.json", "locks/gate.lock"  # relative to the home
KEPT_CALLS = 32  # own calls remembered; only those since the last look matter


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """What is known of the user's model. Times are in seconds since 1970 by our clock.

    Attributes:
        subject: server and tag that all this is about.
        look: the last list that was read.
        used_at: the latest moment at which the user may have used the model.
        lease_at: the lease's time of last use that `used_at` has taken into account.
        keep_alive: of the user's model, None while not known.
        own: evolution's own calls to the user's model.
        asked_at: when the server was last asked, whatever came of it.
        busy: whether a request of the user's ran at the last look.
        trouble: why the last look failed; empty when it did not.
        trouble_since: since when the looks fail, None when they do not.
        readings: the last reading of each other probe.
        worked: signals that have been read on this machine before; a probe that never was is absent.
        samples: processor time of the user's runners at the last look, by process.
    """

    subject: str = ""
    look: Look | None = None
    used_at: float | None = None
    lease_at: float | None = None
    keep_alive: float | None = None
    own: tuple[OwnCall, ...] = field(default=())
    asked_at: float | None = None
    busy: bool = False
    trouble: str = ""
    trouble_since: float | None = None
    readings: tuple[Reading, ...] = ()
    worked: tuple[str, ...] = ()
    samples: dict[str, Sample] = field(default_factory=dict)

    def reading(self, signal: Signal) -> Reading | None:
        """Return the last reading of a probe."""
        return next((one for one in self.readings if one.signal is signal), None)


class MemoryFile:
    """The file in the home that holds a `Memory`; any number of processes share it."""

    def __init__(self, root: Path, subject: str) -> None:
        self._path, self._lock, self._subject = root / MEMORY, root / LOCK, subject

    @contextlib.contextmanager
    def changing(self) -> Iterator[Changes]:
        """Lock the file, hand out what it holds, and write back what became of it."""
        self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = self._read()
            changes = Changes(before)
            yield changes
            if changes.memory != before:
                self._write(changes.memory)
        finally:
            os.close(lock)

    def _read(self) -> Memory:
        """Read the file; one that is missing, broken or about another model counts as empty."""
        with contextlib.suppress(OSError, ValueError, TypeError, LookupError, AttributeError):
            memory = _from_data(json.loads(self._path.read_text(encoding="utf-8")))
            if memory.subject == self._subject:
                return memory
        return Memory(subject=self._subject)

    def _write(self, memory: Memory) -> None:
        fresh = self._path.with_name(f"{MEMORY}.new")
        with open(fresh, "w", encoding="utf-8", opener=private) as file:
            file.write(json.dumps(memory, default=_plain))
        fresh.replace(self._path)


class Changes:
    """The memory while it is locked."""

    def __init__(self, memory: Memory) -> None:
        self.memory = memory

    def set(self, **changes: Any) -> None:
        """Replace some fields."""
        self.memory = replace(self.memory, **changes)

    def used(self, at: float, now: float) -> None:
        """Move the last use forward to *at*; a time that lies ahead of *now* counts as now."""
        known = self.memory.used_at
        self.set(used_at=min(now, at if known is None else max(known, at)))

    def read(self, reading: Reading) -> Reading:
        """Remember a reading, and since when its probe fails; a probe that never worked here is absent."""
        before, worked = self.memory.reading(reading.signal), self.memory.worked
        if reading.state is State.UNKNOWN and reading.signal not in worked:
            reading = replace(reading, state=State.ABSENT)
        elif reading.state is State.UNKNOWN:
            known = before.unknown_since if before is not None else None
            reading = replace(reading, unknown_since=reading.at if known is None else min(known, reading.at))
        elif reading.state is not State.ABSENT and reading.signal not in worked:
            worked = (*worked, reading.signal.value)
        others = tuple(one for one in self.memory.readings if one.signal is not reading.signal)
        self.set(readings=(*others, reading), worked=worked)
        return reading

    def begin(self, call: OwnCall) -> None:
        """Remember a call of ours; the oldest is forgotten."""
        self.set(own=(*self.memory.own, call)[-KEPT_CALLS:])

    def end(self, call: OwnCall) -> None:
        """Remember how a call of ours ended."""
        others = tuple(other for other in self.memory.own if (other.started, other.pid) != (call.started, call.pid))
        self.set(own=(*others, call)[-KEPT_CALLS:])

    def bury(self, now: float) -> None:
        """Count the running calls of dead processes as ended."""
        self.set(
            own=tuple(
                replace(call, ended=now, cancelled=True) if call.ended is None and not _alive(call.pid) else call
                for call in self.memory.own
            )
        )


def subject_of(tag: str, url: str) -> str:
    """Name what a memory is about."""
    return f"{normal(tag)} at {url}"


def watched_server(root: Path, tag: str) -> str:
    """Return the address of the server that the memory in a home is about, empty when it is not about *tag*.

    Who wrote it went by the configuration, so that no address is taken from a database or from Redis.
    """
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        subject = str(json.loads((root / MEMORY).read_text(encoding="utf-8"))["subject"])
        begin = subject_of(tag, "")
        return subject.removeprefix(begin) if subject.startswith(begin) else ""
    return ""


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _plain(value: Any) -> dict[str, Any]:
    """Turn one of our own values into JSON data; `asdict` copies what it need not, and this file is written often."""
    return {name: getattr(value, name) for name in value.__slots__}


def _from_data(data: dict[str, Any]) -> Memory:
    look, own = data.pop("look"), data.pop("own")
    readings, samples = data.pop("readings", ()), data.pop("samples", {})
    return Memory(
        **{**data, "worked": tuple(data.get("worked", ()))},
        look=Look(**look) if look else None,
        own=tuple(OwnCall(**call) for call in own),
        readings=tuple(
            Reading(**{**one, "signal": Signal(one["signal"]), "state": State(one["state"])}) for one in readings
        ),
        samples={key: Sample(**one) for key, one in samples.items()},
    )
