"""The idle gate: may a model request start now, or is the user at work?

Two probes: the cooperative lease, which is exact, and Ollama's list, which shows some uses only and only afterwards
(see `workers.llm.ps`). A probe that fails on a running server keeps the gate closed. Only the standard library is
imported, so that a job which must wait does so before anything heavy is loaded.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pipeline.settings import GateSettings
from workers.lease import last_foreground_use, lease_held
from workers.llm.memory import Changes, Memory, MemoryFile
from workers.llm.ps import Down, Look, OwnCall, Sign, Unknown, compare, look_at
from workers.llm.tags import normal

OPEN = "open"
LEASE = "lease"  # a foreground command runs
BUSY = "foreground-busy"  # the list shows a request of the user's
RECENT = "recent-use"  # the quiet period is not over
PS_UNKNOWN = "ps-unknown"  # the server is up but gave no list: closed until it does

LEASE_STEP_S = 0.5  # while the lease is held, the time of last use is written down this often


@dataclass(frozen=True, slots=True, kw_only=True)
class GateReading:
    """Whether a request may start.

    Attributes:
        reason: one stable word: `open`, `lease`, `foreground-busy`, `recent-use` or `ps-unknown`.
        detail: the same in words, for people.
        waits_s: seconds until the gate opens if nobody uses the model meanwhile; None when that cannot be known.
    """

    open: bool
    reason: str
    detail: str
    waits_s: float | None = None


class Gate:
    """Looks whether the user's model is in use. Several processes share what it remembers in the home.

    Args:
        root: the home folder.
        gate: how often to look, and how long an answer may take.
        foreground_tag: the user's model.
        ollama_url: the server that runs it.
    """

    def __init__(self, root: Path, gate: GateSettings, foreground_tag: str, ollama_url: str) -> None:
        self.settings = gate
        self._root, self._tag, self._url = root, normal(foreground_tag), ollama_url
        self._file = MemoryFile(root, f"{normal(foreground_tag)} at {ollama_url}")

    def reading(self, quiet_s: float) -> GateReading:
        """Tell whether a request may start after *quiet_s* seconds without use of the user's model.

        It takes a few milliseconds when Ollama answers, and once or twice `ps_timeout_s` when it hangs.
        """
        try:
            if self.lease_held():
                return GateReading(open=False, reason=LEASE, detail="A foreground command runs.")
        except OSError as error:
            return GateReading(open=False, reason=LEASE, detail=f"The lease cannot be asked: {error}")
        return self._judge(self.look(), quiet_s)

    def lease_held(self) -> bool:
        """Tell whether a foreground command runs now, and remember it as use.

        Raises:
            OSError: the lease can be neither opened nor locked.
        """
        held = lease_held(self._root)
        if held:
            now = time.time()
            with self._file.changing() as changes:
                if changes.memory.used_at is None or abs(now - changes.memory.used_at) > LEASE_STEP_S:
                    changes.used(now, now)
        return held

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
            seen = Look(at=now, expires=None)
        except Unknown as trouble:
            with self._file.changing() as changes:
                changes.set(trouble=str(trouble) or "no answer")
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
            self.note_own_call(tag, started, time.time(), cancelled=cancelled)

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
            changes.set(look=seen, keep_alive=finding.keep_alive, busy=finding.sign is Sign.BUSY, trouble="")
            return changes.memory

    def _judge(self, memory: Memory, quiet_s: float) -> GateReading:
        if memory.trouble or memory.look is None:  # no look yet: another process is asking for the first time
            detail = f"Ollama's list cannot be read: {memory.trouble or 'no answer yet'}"
            return GateReading(open=False, reason=PS_UNKNOWN, detail=detail)
        if memory.busy:
            return GateReading(open=False, reason=BUSY, detail=f"{self._tag} works for the user.")
        now = time.time()
        used_at = memory.used_at
        left_s = 0.0 if used_at is None else min(quiet_s, used_at + quiet_s - now)
        if left_s > 0:
            detail = f"The user's model was in use less than {quiet_s:g} s ago."
            return GateReading(open=False, reason=RECENT, detail=detail, waits_s=left_s)
        return GateReading(open=True, reason=OPEN, detail="Nobody uses the model.", waits_s=0.0)


def _take_in_lease(changes: Changes, lease_at: float | None, now: float) -> None:
    """Count the lease's last use once, so that a time ahead of a clock that was put back does not count for ever."""
    if lease_at is not None and lease_at != changes.memory.lease_at:
        changes.set(lease_at=lease_at)
        changes.used(lease_at, now)
    elif changes.memory.used_at is not None and changes.memory.used_at > now:
        changes.set(used_at=now)
