"""Preemption: a model request in flight is given up as soon as the user comes.

A `Watcher` looks at the lease, at the runners and at Ollama's list while the main thread waits for the model. When the
user comes it sends SIGUSR1 to the main thread, whose handler raises `Preempted` out of the blocking read; the client closes the
connection on its way out, and the model stops.
"""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

from pipeline.gate import Reason
from workers.llm.gate import Gate
from workers.llm.runners import Unseen

AGAIN_S = 1.0  # an exception can be swallowed where Python ignores them (`__del__`); then the signal is sent again


class Preempted(BaseException):
    """The user came while a model request was in flight; no stage code may swallow it.

    Attributes:
        reason: `lease`, `foreground-busy` or `recent-use`.
    """

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason)
        self.reason = reason


class Watcher:
    """Watches for the user around one model request; use it through `preemptible`.

    Attributes:
        user_came: set when the user came; outside the main thread it is all that happens.
        reason: why.
    """

    def __init__(self, gate: Gate, tag: str, *, main: int | None) -> None:
        self.user_came = threading.Event()
        self.reason = Reason.LEASE
        self._gate, self._tag, self._main = gate, tag, main
        self._since = time.time()
        self._done = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._watch_lease, name="lease-watch", daemon=True)]
        if not gate.is_foreground(tag):  # while we use the user's model ourselves, what the list shows of it is ours
            self._threads.append(threading.Thread(target=self._watch_runners, name="runner-watch", daemon=True))
            self._threads.append(threading.Thread(target=self._watch_list, name="list-watch", daemon=True))

    def start(self) -> None:
        """Begin to look."""
        for thread in self._threads:
            thread.start()

    def came(self) -> None:
        """Be told that the shared lease was taken; from any thread."""
        self._gate.used_now()
        self._interrupt(Reason.LEASE)

    def stop(self) -> None:
        """Send no more signals; a look at the list that still waits for the server ends by itself."""
        self._done.set()
        with self._lock:  # a signal that is being sent is out before this returns
            pass
        self._threads[0].join()

    def _watch_lease(self) -> None:
        while not self._done.wait(self._gate.settings.poll_s):
            try:
                held = self._gate.lease_held()
            except OSError:
                held = True  # fail closed
            if held:
                self._interrupt(Reason.LEASE)
                return

    def _watch_runners(self) -> None:
        watch = self._gate.runners.watch((self._tag,))
        while not self._done.wait(self._gate.settings.runner_poll_s):
            try:
                busy = watch.busy()
            except Unseen:  # on another machine: the list is all there is to see
                return
            if busy:
                self._interrupt(Reason.BUSY)
                with contextlib.suppress(OSError):
                    self._gate.used_now()
                return

    def _watch_list(self) -> None:
        while not self._done.wait(self._gate.settings.ps_poll_s):
            try:
                memory = self._gate.look()
            except OSError:  # the gate's file cannot be written; the gate says so before the next request
                continue
            if memory.busy or (memory.used_at or 0.0) > self._since:
                self._interrupt(Reason.BUSY if memory.busy else Reason.RECENT)
                return

    def _interrupt(self, reason: Reason) -> None:
        with self._lock:
            if self.user_came.is_set():
                return  # the other thread saw it first, and one signal is enough
            self.reason = reason
            self.user_came.set()
        while self._main is not None:
            with self._lock:
                if self._done.is_set():
                    return
                signal.pthread_kill(self._main, signal.SIGUSR1)
            if self._done.wait(AGAIN_S):
                return


@contextlib.contextmanager
def preemptible(gate: Gate, tag: str) -> Iterator[Watcher]:
    """Let the user interrupt the model request that the body makes to *tag*.

    In the main thread the body is left by `Preempted`, and only the body: the handler does nothing before and after.
    In another thread no signal can be raised; there only the watcher's `user_came` is set. A request to the user's own
    model is noted with the gate as ours.

    Raises:
        Preempted: the user came.
    """
    in_main = threading.current_thread() is threading.main_thread()
    watcher = Watcher(gate, tag, main=threading.get_ident() if in_main else None)
    with gate.own_call(tag):
        watcher.start()
        try:
            if in_main:
                with _handler(watcher):
                    yield watcher
            else:
                yield watcher
        finally:
            watcher.stop()


@contextlib.contextmanager
def _handler(watcher: Watcher) -> Iterator[None]:
    """Raise `Preempted` on SIGUSR1 while the body runs; put the old handler back afterwards."""
    in_flight = False

    def handle(_signum: int, _frame: FrameType | None) -> None:
        if in_flight and watcher.user_came.is_set():
            raise Preempted(watcher.reason)

    old = signal.signal(signal.SIGUSR1, handle)
    try:
        in_flight = True
        yield
    finally:
        in_flight = False
        watcher.stop()
        signal.signal(
            signal.SIGUSR1, signal.SIG_IGN
        )  # throws away a signal that is on its way: the old handler may kill
        signal.signal(signal.SIGUSR1, old)
