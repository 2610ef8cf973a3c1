"""Delivers a generation: as a stream or in one piece, and breaks off in the ways real servers do."""

from __future__ import annotations

from collections.abc import Callable

from ops.simulator.core import Visit
from ops.simulator.errors import ServerError
from ops.simulator.exchange import NDJSON
from ops.simulator.inference import CRASH, Broken, Chunk, Finish, Generation
from ops.simulator.render import Renderer


def deliver(
    visit: Visit,
    job: Generation,
    render: Renderer,
    *,
    stream: bool,
    kind: str = NDJSON,
    finally_send: Callable[[Finish], None] | None = None,
) -> None:
    """Run *job* and send what it writes; *finally_send* adds events after the last one."""
    if waits(visit):
        visit.exchange.watch()
    written: list[Chunk] = []
    try:
        finish = run(visit, job, written, render if stream else None, kind)
    except Broken as broken:
        break_off(visit, broken, render, written, stream=stream)
        return
    visit.prompt_tokens, visit.tokens = finish.prompt_tokens, finish.tokens
    done = bool(finish.reason)
    visit.outcome = "done" if done else "cut"
    if not stream:
        visit.exchange.reply_json(render.whole(written, finish if done else None))
        return
    open_stream(visit, kind)
    if done:
        visit.exchange.send(render.last(finish))
        if finally_send is not None:
            finally_send(finish)
    visit.exchange.end_stream()


def waits(visit: Visit) -> bool:
    """Tell whether a generation may wait for anything, so that the client must be watched."""
    knobs = visit.core.knobs
    slow = knobs.tokens_per_second or knobs.prefill_tokens_per_second or knobs.load_seconds
    return bool(slow) or visit.fault is not None or visit.core.scheduler.in_use()


def run(visit: Visit, job: Generation, written: list[Chunk], render: Renderer | None, kind: str) -> Finish:
    """Drive the generation to its end; with *render* every chunk is sent as it comes."""
    flow = visit.core.engine().run(job)
    try:
        while True:
            try:
                chunk = next(flow)
            except StopIteration as stop:
                finish: Finish = stop.value
                return finish
            written.append(chunk)
            visit.tokens += len(chunk.tokens)
            if render is not None and chunk.text:
                open_stream(visit, kind)
                visit.exchange.send(render.chunk(chunk))
    finally:
        flow.close()


def open_stream(visit: Visit, kind: str) -> None:
    """Send the head once; errors before the first token still have a status of their own."""
    if not visit.exchange.streaming:
        visit.exchange.begin_stream(kind)


def break_off(visit: Visit, broken: Broken, render: Renderer, written: list[Chunk], *, stream: bool) -> None:
    """End as a crashed or cut-off runner does."""
    if broken.how == "reset":
        visit.outcome = "failed"
        visit.exchange.reset()
    elif broken.how == "error_line":
        visit.outcome = "failed"
        if not visit.exchange.streaming:
            raise ServerError(500, broken.text or CRASH)
        visit.exchange.send({"error": broken.text or CRASH})
        visit.exchange.end_stream()
    else:
        visit.outcome = "cut"
        if stream:
            open_stream(visit, NDJSON)
            visit.exchange.end_stream()
        else:
            visit.exchange.reply_json(render.whole(written, None))
