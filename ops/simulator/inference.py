"""Runs one generation: takes a runner, waits for its slot, reads the prompt, writes the tokens, breaks when told to."""

from __future__ import annotations

import itertools
import time
from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace

from ops.simulator.cancel import Cancelled, CancelToken
from ops.simulator.clock import SECOND, Clock
from ops.simulator.knobs import Fault, Knobs
from ops.simulator.prompt import fitted
from ops.simulator.scheduler import Runner, Scheduler, Wanted
from ops.simulator.world import Answer, Ask, Token, World

REPEATS = 30  # identical pieces in a row after which Ollama gives a generation up
CRASH = (
    "model runner has unexpectedly stopped, this may be due to resource limitations or an internal error, "
    "check ollama server logs for details"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """What one request wants written.

    Attributes:
        num_predict: most tokens; negative is ten times the context.
        truncate, shift: what to do with an over-long prompt.
        fault: how this generation breaks, or None.
    """

    ask: Ask
    wanted: Wanted
    num_predict: int
    num_keep: int
    stop: tuple[str, ...]
    truncate: bool
    shift: bool
    fault: Fault | None


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some tokens that leave together."""

    tokens: tuple[Token, ...]

    @property
    def text(self) -> str:
        """Join the tokens' texts."""
        return "".join(token.text for token in self.tokens)


@dataclass(frozen=True, slots=True, kw_only=True)
class Finish:
    """How a generation ended; durations in nanoseconds, `reason` empty when it ended without `done`."""

    reason: str
    prompt_tokens: int
    tokens: int
    total: int
    load: int
    prompt: int
    eval: int


class Broken(Exception):
    """The generation breaks here, in the way `how`."""

    def __init__(self, how: str, text: str) -> None:
        super().__init__(text)
        self.how = how
        self.text = text


@dataclass(frozen=True, slots=True)
class Engine:
    """What a generation needs of the server."""

    clock: Clock
    scheduler: Scheduler
    world: World
    knobs: Knobs

    def run(self, job: Generation) -> Generator[Chunk, None, Finish]:
        """Yield chunks as they are written and return how it ended.

        Raises:
            Cancelled: the client went away.
            ServerError: nothing was written and the request is refused.
            Broken: a fault ends it.
        """
        began = self.clock.now_ns()
        runner, load = self.scheduler.take(job.wanted)
        try:
            self.scheduler.enter(runner, job.wanted.token)
            try:
                return (yield from self._write(job, runner, began, load))
            finally:
                self.scheduler.leave(runner)
        finally:
            self.scheduler.give_back(runner)

    def _write(self, job: Generation, runner: Runner, began: int, load: int) -> Generator[Chunk, None, Finish]:
        ask, prompt = fitted(job.ask, runner.context, job.num_keep, self.knobs.truncate_mode, job.truncate, job.shift)
        prefill_began = self.clock.now_ns()
        self._read_prompt(prompt, runner, job.wanted.token)
        written_from = self.clock.now_ns()
        tokens, reason = self._plan(self.world.answer(ask), job, runner.context, len(prompt))
        count = sent = 0
        for chunk in self._paced(tokens, job):
            self._break_if_due(job, sent)
            count, sent = count + len(chunk.tokens), sent + 1
            yield chunk
        if job.fault is not None and job.fault.after_chunks >= sent:
            self._break_if_due(job, job.fault.after_chunks)  # the answer was shorter than the fault's time
        now = self.clock.now_ns()
        return Finish(
            reason=reason, prompt_tokens=len(prompt), tokens=count, total=max(now - began, 1), load=max(load, 1),
            prompt=max(written_from - prefill_began, 1), eval=max(now - written_from, 1),
        )  # fmt: skip

    def _read_prompt(self, prompt: list[str], runner: Runner, token: CancelToken) -> None:
        known = 0
        if self.knobs.prefix_cache:
            pairs = zip(prompt, runner.last_prompt, strict=False)
            known = sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], pairs))
        try:
            if self.knobs.prefill_tokens_per_second > 0:
                self.clock.pause(max(len(prompt) - known, 1) / self.knobs.prefill_tokens_per_second, token)
        except Cancelled:
            self._notice_late(runner)
            raise
        if runner.process is not None and tuple(prompt) != runner.last_prompt:
            runner.process.grow(self.knobs.cache_bytes_per_prompt)
        runner.last_prompt = tuple(prompt)

    def _notice_late(self, runner: Runner) -> None:
        """Hold the slot of a client that has gone: each answer about slots begins the wait anew, as in `llama-server`."""
        since = time.monotonic()
        while True:
            looked = runner.process.looked_at if runner.process is not None else 0.0
            left = max(since, looked) + self.knobs.prefill_cancel_seconds - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(left, 0.05))

    def _plan(self, answer: Answer, job: Generation, context: int, prompt: int) -> tuple[list[Token], str]:
        tokens = list(answer.tokens)
        if job.fault is not None and job.fault.how == "repeat":
            tokens = [Token(" the", -0.01)] * (REPEATS * 4)
        tokens = stopped(tokens, job.stop)
        most = job.num_predict if job.num_predict >= 0 else 10 * context
        if not job.shift:
            most = min(most, max(context - prompt, 1))
        loop = loop_end(tokens)
        if loop is not None and loop <= most:
            return tokens[:loop], ""
        return tokens[:most], "length" if len(tokens) > most else "stop"

    def _paced(self, tokens: list[Token], job: Generation) -> Iterator[Chunk]:
        speed, token = self.knobs.tokens_per_second, job.wanted.token
        size = 1 if speed > 0 or job.fault is not None else max(self.knobs.chunk_tokens, 1)
        began = self.clock.now_ns()
        for index in range(0, len(tokens), size):
            if speed > 0:
                due = began + round((index + 1) / speed * SECOND)
                self.clock.pause((due - self.clock.now_ns()) / SECOND, token)
            else:
                token.check()
            yield Chunk(tuple(tokens[index : index + size]))

    def _break_if_due(self, job: Generation, index: int) -> None:
        fault = job.fault
        if fault is None or index != fault.after_chunks:
            return
        if fault.how == "stall":
            self.clock.pause(fault.seconds, job.wanted.token)
        elif fault.how in ("error_line", "reset", "no_done"):
            raise Broken(fault.how, fault.error or CRASH)


def stopped(tokens: list[Token], stops: tuple[str, ...]) -> list[Token]:
    """Cut the tokens before the first stop text."""
    text = "".join(token.text for token in tokens)
    ends = [place for place in (text.find(stop) for stop in stops if stop) if place >= 0]
    if not ends:
        return tokens
    kept, room = [], min(ends)
    for token in tokens:
        if room <= 0:
            break
        kept.append(replace(token, text=token.text[:room]))
        room -= len(token.text)
    return kept


def loop_end(tokens: list[Token]) -> int | None:
    """Find where more than 30 equal pieces in a row make Ollama give up; None without such a loop."""
    run, last = 0, None
    for index, token in enumerate(tokens):
        piece = token.text.strip()
        run = run + 1 if piece == last and piece else 1
        last = piece
        if run > REPEATS:
            return index
    return None


def load_only(engine: Engine, wanted: Wanted) -> None:
    """Load a model and hold it for an instant, as a request with an empty prompt does."""
    runner, _ = engine.scheduler.take(wanted)
    engine.scheduler.give_back(runner)
