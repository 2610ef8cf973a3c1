"""Loads, keeps and unloads models as Ollama's scheduler does: the state machine behind `/api/ps`."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from ops.simulator.cancel import CancelToken
from ops.simulator.clock import SECOND, Clock
from ops.simulator.errors import ServerError
from ops.simulator.knobs import Knobs
from ops.simulator.runner_process import RunnerProcess, RunnerProgram
from ops.simulator.world import ModelCard

BUSY = "server busy, please try again.  maximum pending requests exceeded"


@dataclass(slots=True, eq=False)
class Runner:
    """One loaded model.

    Attributes:
        name: the name it was loaded under.
        options: canonical text of its load options.
        session_ns: how long it stays after its last request.
        references: requests that hold it, running or waiting for a slot.
        expires_ns: when it goes; None until the first request after the load has ended.
        waiting: requests waiting for a slot, in order of arrival.
        last_prompt: the prompt in its prefix cache.
        process: that stands for it, None without such processes.
    """

    card: ModelCard
    name: str
    options: str
    context: int
    session_ns: int
    references: int = 0
    expires_ns: int | None = None
    ready: bool = False
    running: int = 0
    waiting: deque[object] = field(default_factory=deque)
    last_prompt: tuple[str, ...] = ()
    process: RunnerProcess | None = None


@dataclass(frozen=True, slots=True)
class Loading:
    """One load, or one end of a runner: `load`, `unload`, `evicted` (for another model or other options), `failed`, `end`."""

    what: str
    tag: str
    context: int
    at: float  # seconds of the machine's monotonic clock


@dataclass(frozen=True, slots=True, eq=False)
class Wanted:
    """What a request asks of the scheduler: a model, its load options, and how long to keep it."""

    card: ModelCard
    name: str
    options: str
    context: int
    keep_alive: int | None
    token: CancelToken


class Scheduler:
    """Hands out runners: loads one at a time in order of arrival, slots of a runner first come first served."""

    def __init__(self, clock: Clock, knobs: Callable[[], Knobs]) -> None:
        self._clock = clock
        self._knobs = knobs
        self._changed = threading.Condition(threading.RLock())
        self._runners: dict[str, Runner] = {}
        self._loads: deque[object] = deque()
        self._program: RunnerProgram | None = None
        self._history: list[Loading] = []

    def history(self) -> tuple[Loading, ...]:
        """List every load and unload so far."""
        with self._changed:
            return tuple(self._history)

    def close(self) -> None:
        """End the runners' processes."""
        with self._changed:
            for runner in list(self._runners.values()):
                self._unload(runner, "end")
            if self._program is not None:
                self._program.close()

    def take(self, wanted: Wanted) -> tuple[Runner, int]:
        """Hold a runner for *wanted*, loading it when needed; gives it with the nanoseconds that took.

        Raises:
            Cancelled: the client went away; nothing is held then.
            ServerError: too many loads are waiting (503), or the load failed (500).
        """
        began = self._clock.now_ns()
        wanted.token.when_gone(self._wake)
        with self._changed:
            runner = self._warm(wanted) or self._load_in_turn(wanted)
            runner.references += 1
            if wanted.keep_alive is not None:
                runner.session_ns = wanted.keep_alive
        return runner, self._clock.now_ns() - began

    def give_back(self, runner: Runner) -> None:
        """End a request, however it ended: the runner's time to stay begins anew."""
        with self._changed:
            runner.references -= 1
            if runner.references == 0:
                if runner.session_ns <= 0:
                    self._unload(runner)
                else:
                    runner.expires_ns = self._clock.now_ns() + runner.session_ns
            self._changed.notify_all()

    def enter(self, runner: Runner, token: CancelToken) -> None:
        """Wait for one of the runner's slots; raises `Cancelled` when the client leaves the line."""
        place = object()
        with self._changed:
            runner.waiting.append(place)
            try:
                self._until(lambda: runner.waiting[0] is place and runner.running < self._slots(runner), token)
                runner.running += 1
                self._show(runner)
            finally:
                runner.waiting.remove(place)
                self._changed.notify_all()

    def leave(self, runner: Runner) -> None:
        """Free the slot."""
        with self._changed:
            runner.running -= 1
            self._show(runner)
            self._changed.notify_all()

    def expire(self, card: ModelCard) -> None:
        """Unload a model as soon as nobody holds it; an unloaded one is fine too."""
        with self._changed:
            self._sweep()
            runner = self._runners.get(card.digest)
            if runner is None or not runner.ready:
                return
            runner.expires_ns, runner.session_ns = self._clock.now_ns(), 0
            if runner.references == 0:
                self._unload(runner)
            self._changed.notify_all()

    def in_use(self) -> bool:
        """Tell whether any request holds a runner or waits for a load."""
        with self._changed:
            return bool(self._loads) or any(runner.references for runner in self._runners.values())

    def listed(self) -> list[tuple[Runner, int]]:
        """List loaded models with their `expires_at`, the latest first."""
        with self._changed:
            self._sweep()
            now = self._clock.now_ns()
            hide = self._knobs().hide_while_loading
            shown = [
                (runner, now + runner.session_ns if runner.expires_ns is None else runner.expires_ns)
                for runner in self._runners.values()
                if runner.ready or not hide
            ]
        return sorted(shown, key=lambda pair: pair[1] // SECOND, reverse=True)

    def _warm(self, wanted: Wanted) -> Runner | None:
        self._sweep()
        runner = self._runners.get(wanted.card.digest)
        return runner if runner is not None and runner.ready and runner.options == wanted.options else None

    def _load_in_turn(self, wanted: Wanted) -> Runner:
        if len(self._loads) >= self._knobs().max_queue:
            raise ServerError(503, BUSY)
        place = object()
        self._loads.append(place)
        try:
            self._until(lambda: self._loads[0] is place, wanted.token)
            while (runner := self._warm(wanted)) is None and (
                victim := self._victim(wanted.card, wanted.context)
            ) is not None:
                self._evict(victim, wanted.token)
            return runner or self._load(wanted)
        finally:
            self._loads.remove(place)
            self._changed.notify_all()

    def _victim(self, card: ModelCard, context: int) -> Runner | None:
        # The same model under other load options always goes; another model goes only when room is needed.
        knobs = self._knobs()
        if card.digest in self._runners:
            return self._runners[card.digest]
        loaded = list(self._runners.values())
        memory = sum(self._bytes(runner.card, runner.context) for runner in loaded) + self._bytes(card, context)
        if not loaded or (len(loaded) < knobs.max_loaded and not 0 < knobs.memory_budget < memory):
            return None
        idle = [runner for runner in loaded if runner.references == 0]
        return min(idle or loaded, key=lambda runner: (runner.session_ns, runner.card.digest))

    def _evict(self, runner: Runner, token: CancelToken) -> None:
        runner.session_ns = 0
        if runner.references == 0:
            self._unload(runner, "evicted")
        self._until(lambda: self._runners.get(runner.card.digest) is not runner, token)

    def _load(self, wanted: Wanted) -> Runner:
        knobs = self._knobs()
        default = round(knobs.default_keep_alive * SECOND)
        session = default if wanted.keep_alive is None else wanted.keep_alive
        runner = Runner(wanted.card, wanted.name, wanted.options, wanted.context, session, references=1)
        self._runners[wanted.card.digest] = runner
        self._note("load", runner)
        if knobs.runner_processes:
            self._program = self._program or RunnerProgram()
            runner.process = RunnerProcess(self._program.folder, runner.card, runner.context, self._slots(runner))
        try:
            self._slowly(knobs.load_seconds, wanted.token)
            runner.ready = not knobs.load_error
        finally:
            runner.references = 0
            if not runner.ready:
                self._unload(runner, "failed")
        if not runner.ready:
            raise ServerError(500, knobs.load_error)
        return runner

    def _unload(self, runner: Runner, why: str = "unload") -> None:
        if self._runners.get(runner.card.digest) is runner:
            del self._runners[runner.card.digest]
            self._note(why, runner)
        if runner.process is not None:
            runner.process.end()
            runner.process = None
        self._changed.notify_all()

    def _note(self, what: str, runner: Runner) -> None:
        self._history.append(Loading(what, runner.card.tag, runner.context, time.monotonic()))

    def _show(self, runner: Runner) -> None:
        if runner.process is not None:
            runner.process.busy(runner.running, self._knobs().runner_cpu)

    def _bytes(self, card: ModelCard, context: int) -> int:
        return card.loaded_bytes(context, self._knobs().num_parallel)

    def _sweep(self) -> None:
        now = self._clock.now_ns()
        for runner in list(self._runners.values()):
            if runner.references == 0 and runner.expires_ns is not None and runner.expires_ns <= now:
                self._unload(runner)

    def _slowly(self, seconds: float, token: CancelToken) -> None:
        self._changed.release()
        try:
            self._clock.pause(seconds, token)
        finally:
            self._changed.acquire()

    def _slots(self, runner: Runner) -> int:
        return 1 if runner.card.embeds_only else self._knobs().num_parallel

    def _until(self, ready: Callable[[], bool], token: CancelToken) -> None:
        while not ready():
            token.check()
            self._changed.wait()
        token.check()

    def _wake(self) -> None:
        with self._changed:
            self._changed.notify_all()
