"""The idle gate: may a model request start now, or is the user at work?

It reads named probes (the leases, the runners of Ollama, Ollama's list, the machine) and leaves the decision to
`pipeline.gate`. What the probes tell is remembered in the home, so that a job knows since when it has been quiet, and
no probe is asked more often than is good for it, however many processes read. Only light modules are imported, so that
a job which must wait does so before anything heavy is loaded.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from pipeline.gate import Reading, Signal, State, Verdict, Wish, decide, in_night
from pipeline.machine_settings import GateSettings
from workers.lease import last_foreground_use, lease_held
from workers.llm.light_http import Down, Unknown
from workers.llm.memory import Changes, Memory, MemoryFile, subject_of
from workers.llm.ps import Look, OwnCall, Sign, compare, look_at
from workers.llm.readers import MachineReader, RunnerReader
from workers.llm.tags import normal

LEASE_STEP_S = 0.5  # while the lease is held, the time of last use is written down this often
SHARED_STEP_S = 0.5  # between looks at the lease in Redis
TOLD_S = 5.0  # another process' look at it counts for so long

SharedLease = Callable[[], float | None]
"""Tells for how many seconds the lease in Redis has been free: 0 while it is held, None when it never was.

Raises:
    OSError: Redis does not answer.
"""


class Gate:
    """Looks whether the user's model is in use. Several processes share what it remembers in the home.

    Args:
        root: the home folder.
        gate: how often to look, and how long an answer may take.
        foreground_tag: the user's model.
        ollama_url: the server that runs it.
        own: tags that only evolution asks.
        shared: the lease in Redis; None where there is none to ask.
    """

    def __init__(
        self,
        root: Path,
        gate: GateSettings,
        foreground_tag: str,
        ollama_url: str,
        *,
        own: Sequence[str] = (),
        shared: SharedLease | None = None,
    ) -> None:
        self.settings = gate
        self._root, self._tag, self._url = root, normal(foreground_tag), ollama_url
        self._file = MemoryFile(root, subject_of(foreground_tag, ollama_url))
        self._shared, self._shared_at = shared, 0.0
        self._shared_reading: Reading | None = None
        self.runners = RunnerReader(self._file, gate, foreground_tag, ollama_url, own)
        self._machine = MachineReader(self._file, gate)

    def ask(self, wish: Wish) -> Verdict:
        """Tell whether a request with this *wish* may start.

        It takes a few milliseconds when everything answers, and once or twice `ps_timeout_s` when Ollama hangs.
        """
        readings = [self._lease(), *self._shared_lease()]
        if any(one.state is State.BUSY for one in readings):  # nobody else need be asked
            return decide(readings, wish, time.time())
        started = time.monotonic()
        memory = self.look()
        listed = self._listed(memory, time.monotonic() - started)
        runners = self.runners.read(listed=memory.look is not None and memory.look.expires is not None)
        return decide([*readings, *runners, listed, *self._machine.read()], wish, time.time())

    def lease_held(self) -> bool:
        """Tell whether a foreground command runs now, and remember it as use.

        Raises:
            OSError: the lease can be neither opened nor locked.
        """
        held = lease_held(self._root)
        if held:
            self.used_now()
        return held

    def used_now(self) -> None:
        """Remember that the user uses the model just now."""
        now = time.time()
        with self._file.changing() as changes:
            if changes.memory.used_at is None or abs(now - changes.memory.used_at) > LEASE_STEP_S:
                changes.used(now, now)

    def look(self) -> Memory:
        """Look at Ollama's list, unless someone did within `ps_poll_s`, and return what is known."""
        now = time.time()
        with self._file.changing() as changes:
            _take_in_lease(changes, last_foreground_use(self._root), now)
            changes.bury(now)
            asked = changes.memory.asked_at
            if asked is not None and 0 <= now - asked < self.settings.ps_poll_s:
                return changes.memory
            changes.set(asked_at=now)  # others need not ask meanwhile, and the lock is free while the server thinks
        try:
            seen = look_at(self._url, self._tag, timeout_s=self.settings.ps_timeout_s, now=now)
        except Down:
            seen = Look(at=now, expires=None, down=True)
        except Unknown as trouble:
            with self._file.changing() as changes:
                since = changes.memory.trouble_since
                changes.set(
                    trouble=str(trouble) or "no answer", trouble_since=now if since is None else min(since, now)
                )
                return changes.memory
        return self._learn(seen)

    def note_own_call(self, tag: str, started: float, ended: float | None = None, *, cancelled: bool = False) -> None:
        """Tell the gate that a call to *tag* is evolution's, so that it does not count as the user's.

        Args:
            tag: any model; only the user's is written down.
            started: seconds since 1970; with the process it names the call.
            ended: seconds since 1970, None while the call runs.
            cancelled: whether we dropped it; the server then ends it up to two seconds later.
        """
        if normal(tag) != self._tag:
            return
        call = OwnCall(started=started, ended=ended, pid=os.getpid(), cancelled=cancelled)
        with self._file.changing() as changes:
            if ended is None:
                changes.begin(call)
            else:
                changes.end(call)

    @contextlib.contextmanager
    def own_call(self, tag: str) -> Iterator[None]:
        """Note a call of evolution's own while it runs and when it has ended."""
        started, cancelled = time.time(), True
        self.note_own_call(tag, started)
        try:
            yield
            cancelled = False
        finally:
            with contextlib.suppress(OSError):  # a full disk must not cost the reply that was just made
                self.note_own_call(tag, started, time.time(), cancelled=cancelled)

    def wants_room(self) -> bool:
        """Tell whether the user's model may need the memory of ours: it was not loaded at the last look, or memory is short."""
        with self._file.changing() as changes:
            memory = changes.memory
        pressure = memory.reading(Signal.MEMORY)
        loaded = memory.look is not None and memory.look.expires is not None and not memory.trouble
        return not loaded or (pressure is not None and pressure.state is State.BUSY)

    def is_foreground(self, tag: str) -> bool:
        """Tell whether *tag* is the user's model."""
        return normal(tag) == self._tag

    def _learn(self, seen: Look) -> Memory:
        with self._file.changing() as changes:
            memory = changes.memory
            if memory.look is not None and seen.at < memory.look.at <= time.time():
                return memory  # another process looked later and has written it down already
            finding = compare(memory.look, seen, memory.own, memory.keep_alive)
            if finding.used_at is not None:
                changes.used(finding.used_at, seen.at)
            busy = finding.sign is Sign.BUSY
            changes.set(look=seen, keep_alive=finding.keep_alive, busy=busy, trouble="", trouble_since=None)
            return changes.memory

    def _lease(self) -> Reading:
        now, began = time.time(), time.monotonic()
        try:
            state, value = (State.BUSY, "A foreground command runs.") if self.lease_held() else (State.QUIET, "free")
        except OSError as error:  # nobody can tell, so somebody may hold it
            state, value = State.BUSY, f"The lease cannot be asked: {error}"
        return Reading(
            signal=Signal.LEASE, state=state, value=value, source="the lease's lock file", at=now,
            cost_ms=_since_ms(began),
        )  # fmt: skip

    def _shared_lease(self) -> list[Reading]:
        if self._shared is None:
            return self._told_of_shared_lease()
        began = time.monotonic()
        if self._shared_reading is None or began - self._shared_at >= SHARED_STEP_S:
            self._shared_at, self._shared_reading = began, self._read_shared(self._shared, began)
        return [self._shared_reading]

    def _told_of_shared_lease(self) -> list[Reading]:
        """Take what another process has read a moment ago: who only shows the gate need not load redis."""
        with self._file.changing() as changes:
            known = changes.memory.reading(Signal.SHARED_LEASE)
        return [known] if known is not None and 0 <= time.time() - known.at < TOLD_S else []

    def _read_shared(self, shared: SharedLease, began: float) -> Reading:
        now, used_at = time.time(), None
        try:
            free_s = shared()
            state, value = (State.BUSY, "A host holds the shared lease.") if free_s == 0 else (State.QUIET, "free")
            used_at = None if free_s is None else now - free_s
        except OSError as error:
            state, value = State.UNKNOWN, str(error)
        if state is State.BUSY:
            self.used_now()
        reading = Reading(
            signal=Signal.SHARED_LEASE, state=state, value=value, source="the lease in Redis", at=now, used_at=used_at,
            cost_ms=_since_ms(began),
        )  # fmt: skip
        with self._file.changing() as changes:
            return changes.read(reading)

    def _listed(self, memory: Memory, took_s: float) -> Reading:
        state, value, source = State.QUIET, "nobody uses it", "Ollama's list"
        if memory.trouble or memory.look is None:  # no look yet: another process is asking for the first time
            state, value = State.UNKNOWN, memory.trouble or "no answer yet"
        elif memory.busy:
            state, value = State.BUSY, f"{self._tag} works for the user."
        elif memory.look.down:
            value, source = "no server runs there, so nobody uses it", "Ollama's address"
        return Reading(
            signal=Signal.MODEL_LIST, state=state, value=value, source=source, cost_ms=took_s * 1000,
            at=memory.look.at if memory.look else time.time(), used_at=memory.used_at,
            unknown_since=memory.trouble_since if memory.trouble else None,
        )  # fmt: skip


def is_night(gate: GateSettings) -> bool:
    """Tell whether the local time lies in the nightly window."""
    here = time.localtime()
    return in_night(here.tm_hour + here.tm_min / 60, gate.night_from_h, gate.night_to_h)


def _since_ms(began: float) -> float:
    return round((time.monotonic() - began) * 1000, 3)


def _take_in_lease(changes: Changes, lease_at: float | None, now: float) -> None:
    """Count the lease's last use once, so that a time ahead of a clock that was put back does not count for ever."""
    if lease_at is not None and lease_at != changes.memory.lease_at:
        changes.set(lease_at=lease_at)
        changes.used(lease_at, now)
    elif changes.memory.used_at is not None and changes.memory.used_at > now:
        changes.set(used_at=now)
