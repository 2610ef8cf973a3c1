"""Kernel locks: released by the death of their holder, whatever killed it; no time-out, no heartbeat, no clean-up."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

LOCK = "evolution.lock"
WAITING = "waiting.lock"  # held by a job that waits for the gate, so that nobody takes it for dead
UP_LOCK, TICK_LOCK, WEB_LOCK = (
    "up.lock",
    "tick.lock",
    "web.lock",
)  # held by `evoctl up`, `tick` and `web` while they run
PROBED_S = 0.3  # longer than somebody who only looks whether a lock is held holds it
POLL_S = 0.05  # between tries while another process holds the lock


class Lock:
    """An exclusive lock on a file; use as a context manager after `take` said yes."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd: int | None = None

    def take(self, wait_s: float = 0.0, *, on_wait: Callable[[], None] | None = None) -> bool:
        """Try for *wait_s* seconds; `on_wait` is called once when the first try fails. Returns whether it was taken."""
        fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        end = time.monotonic() + wait_s
        while True:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if on_wait is not None:
                    on_wait()
                    on_wait = None
                if time.monotonic() >= end:
                    os.close(fd)
                    return False
                time.sleep(POLL_S)
            else:
                self._fd = fd
                return True

    @classmethod
    def inherited(cls, descriptor: int) -> Self:
        """Return a lock that the parent process took and handed over as an open descriptor."""
        lock = cls(Path())
        lock._fd = descriptor
        return lock

    def fileno(self) -> int:
        """Return the open descriptor of the lock, which must have been taken; a child that gets it holds the lock too."""
        assert self._fd is not None
        return self._fd

    def release(self) -> None:
        """Let go; without effect when the lock is not held."""
        if self._fd is not None:
            os.close(self._fd)
            self._fd = None

    def __enter__(self) -> Self:
        """Return the lock, which must have been taken."""
        assert self._fd is not None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Let go."""
        self.release()


def held(path: Path) -> bool:
    """Tell whether some process holds the lock; takes and releases it for an instant when nobody does."""
    probe = Lock(path)
    if probe.take():
        probe.release()
        return False
    return True
