"""Keeping processes alive: restart always, because a worker also ends with status 0 when its Redis dies."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import psutil

from pipeline.errors import Unreachable
from workers.home import private

log = logging.getLogger("evolution.supervise")

BACK_OFF_S = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0)  # wait before the n-th restart in a row
STEADY_S = 3.0  # a process that lived this long is not failing in a row
STOP_S = 8.0  # after SIGTERM, before SIGKILL
POLL_S = 0.1
NICE = 19  # the lowest priority of the processor
PING_S = 0.3  # how often the worker's Redis is looked at


@dataclass(slots=True)
class Process:
    """One supervised process.

    Attributes:
        needs_redis: URL of the Redis it works for; when that comes back, an idle worker is restarted, since it may be
            backing off for up to a minute.
        umask: of what it writes; -1 leaves ours.
        low: it and what it starts run at the lowest priority.
    """

    name: str
    command: Sequence[str]
    log: Path | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    needs_redis: str = ""
    low: bool = False
    umask: int = -1
    child: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    failures: int = 0
    not_before: float = 0.0

    def start(self) -> None:
        """Start it; without its log when that cannot be opened.

        Raises:
            OSError: the system has no room for another process, or the command is gone.
        """
        out: int | IO[bytes] = sys.stderr.fileno()
        with contextlib.ExitStack() as stack:
            if self.log is not None:
                out = subprocess.DEVNULL
                with contextlib.suppress(OSError):  # a full disk: to run is more than to be read of
                    out = stack.enter_context(open(self.log, "ab", opener=private))
            self.child = subprocess.Popen(  # noqa: S603 - our own command lines
                self.command, stdout=out, stderr=out, stdin=subprocess.DEVNULL, env={**os.environ, **self.env},
                start_new_session=True, umask=self.umask,
            )  # fmt: skip
        if self.low:
            lower(self.child.pid)
        self.started = time.monotonic()

    @property
    def running(self) -> bool:
        """Whether it lives."""
        return self.child is not None and self.child.poll() is None

    def stop(self, wait_s: float = STOP_S) -> None:
        """End it and everything it started: SIGTERM, then SIGKILL."""
        child = self.child
        if child is None:
            return
        family = _family(child.pid)
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(wait_s)
        for one in family:
            with contextlib.suppress(psutil.Error):
                one.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(STOP_S)


class Supervisor:
    """Starts processes in order, restarts each that ends, and stops them in reverse order."""

    def __init__(self, processes: Sequence[Process]) -> None:
        self.processes = list(processes)
        self.done = threading.Event()
        self._lock = threading.Lock()
        self._redis_run: dict[str, str] = {}
        self._pinged = 0.0

    def __enter__(self) -> Self:
        """Start everything."""
        for process in self.processes:
            process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything; a watching thread stops restarting first."""
        self.done.set()
        with self._lock:
            pass
        for process in reversed(self.processes):
            process.stop()

    def watch(self) -> None:
        """Restart what ends, until `done` is set."""
        while not self.done.wait(POLL_S):
            with self._lock:
                if not self.done.is_set():
                    self.look()

    def look(self) -> None:
        """Do one round."""
        now = time.monotonic()
        for process in self.processes:
            if process.running:
                continue
            if process.child is not None:
                lived = now - process.started
                process.failures = 0 if lived > STEADY_S else process.failures + 1
                wait = BACK_OFF_S[min(process.failures, len(BACK_OFF_S) - 1)]
                process.not_before, process.child = now + wait, None
            if now >= process.not_before:
                self._start(process, now)
        if now - self._pinged >= PING_S:
            self._pinged = now
            self._greet_returning_redis()

    def _start(self, process: Process, now: float) -> None:
        """Start a process again; what keeps the system from it is outlived as the process's own failures are."""
        try:
            process.start()
        except OSError as trouble:
            process.failures += 1
            process.not_before = now + BACK_OFF_S[min(process.failures, len(BACK_OFF_S) - 1)]
            log.warning("supervise.trouble %s cannot be started: %s", process.name, trouble)

    def _greet_returning_redis(self) -> None:
        """Restart idle workers whose Redis came back: they would sleep through their own back-off."""
        for url in {process.needs_redis for process in self.processes if process.needs_redis}:
            run = redis_run(url)
            before, self._redis_run[url] = self._redis_run.get(url, run), run
            if run and run != before:
                for process in self.processes:
                    if (
                        process.needs_redis == url
                        and process.running
                        and process.child
                        and not _horses(process.child.pid)
                    ):
                        process.child.kill()
                        process.child.wait()
                        process.child, process.failures, process.not_before = None, 0, 0.0


def redis_run(url: str) -> str:
    """Return the name that the Redis at *url* gave its present life, empty when it does not answer."""
    from workers.queues import Bells  # noqa: PLC0415 - redis is loaded only where it is asked

    bells = Bells(url)
    try:
        return bells.run_id()
    except Unreachable:
        return ""
    finally:
        bells.close()


def answers(url: str) -> bool:
    """Tell whether Redis answers at *url*."""
    return bool(redis_run(url))


def lower(pid: int) -> None:
    """Give a process, and what it starts from now on, the lowest priority of processor and disk, as far as that is allowed."""
    with contextlib.suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, NICE)
    if psutil.LINUX:  # elsewhere a process manager sets it: launchd's LowPriorityIO
        with contextlib.suppress(OSError, psutil.Error):
            psutil.Process(pid).ionice(psutil.IOPRIO_CLASS_IDLE)


def run_one(command: Sequence[str], redis_url: str) -> int:
    """Supervise one command until SIGTERM or SIGINT (`evoctl supervise -- rq worker evolution`).

    Args:
        command: the program's path and its arguments.
        redis_url: of the Redis that a worker needs; empty for a command that is no worker and keeps its priority.
    """
    supervisor = Supervisor([Process(name=command[0], command=command, needs_redis=redis_url, low=bool(redis_url))])
    stop_on_signal(supervisor.done)
    with supervisor:
        supervisor.watch()
    return 0


def stop_on_signal(done: threading.Event) -> None:
    """Set *done* on SIGTERM and SIGINT."""
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: done.set())


def _horses(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return psutil.Process(pid).children(recursive=True)
    return []


def _family(pid: int) -> list[psutil.Process]:
    with contextlib.suppress(psutil.Error):
        return [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    return []
