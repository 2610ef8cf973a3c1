"""Loads, slots, evictions and reloads."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

import pytest

from ops.simulator.clock import SteppedClock
from ops.simulator.knobs import Knobs
from ops.simulator.probe import Caller
from ops.simulator.server import SimulatorServer

QWEN, SMOL, GEMMA = "qwen2.5-coder:3b", "smollm2:360m-instruct-q4_K_M", "embeddinggemma:300m"


@pytest.fixture(name="clock")
def _clock() -> SteppedClock:
    return SteppedClock()


def waiting(server: SimulatorServer) -> int:
    """Count the requests that wait for a slot."""
    return sum(len(runner.waiting) for runner, _ in server.core.scheduler.listed())


def running(server: SimulatorServer) -> int:
    """Count the requests that have a slot."""
    return sum(runner.running for runner, _ in server.core.scheduler.listed())


def loaded(server: SimulatorServer) -> list[str]:
    """List the tags that are loaded."""
    return sorted(runner.card.tag for runner, _ in server.core.scheduler.listed())


def test_requests_to_one_model_are_served_in_order_of_arrival(
    serve: Callable[..., SimulatorServer],
    caller: type[Caller],
    behind: Callable[..., Future[Any]],
    until: Callable[..., None],
    clock: SteppedClock,
) -> None:
    """With one slot the second request starts when the first has ended."""
    server = serve(knobs=Knobs(tokens_per_second=10.0), clock=clock)
    ask = caller(server.port)
    ask("POST", "/api/generate", {"model": QWEN})
    futures = []
    for number in range(3):
        futures.append(behind(ask.generate, options={"num_predict": 1, "seed": number}))
        until(lambda wanted=number: (clock.pausing, waiting(server)) == (1, wanted))
    for future in futures:
        until(lambda: clock.pausing == 1)
        clock.advance(0.1)
        future.result(5)

    ends = [entry.end for entry in server.requests()[1:]]
    assert ends == sorted(ends)


def test_num_parallel_requests_run_at_once(
    serve: Callable[..., SimulatorServer],
    caller: type[Caller],
    behind: Callable[..., Future[Any]],
    until: Callable[..., None],
    clock: SteppedClock,
) -> None:
    """Two slots let two of three requests run."""
    server = serve(knobs=Knobs(tokens_per_second=1.0, num_parallel=2), clock=clock)
    futures = [behind(caller(server.port).generate, options={"num_predict": 1}) for _ in range(3)]
    until(lambda: (clock.pausing, waiting(server)) == (2, 1))

    at_once = running(server)

    for _ in range(2):
        clock.advance(60)
        until(lambda: waiting(server) == 0)
    until(lambda: clock.advance(1) or all(future.done() for future in futures))
    assert at_once == 2


def test_an_embedding_model_has_one_slot(
    serve: Callable[..., SimulatorServer],
    caller: type[Caller],
    behind: Callable[..., Future[Any]],
    until: Callable[..., None],
    clock: SteppedClock,
) -> None:
    """`num_parallel` does not reach embedding models."""
    server = serve(knobs=Knobs(prefill_tokens_per_second=1.0, num_parallel=4), clock=clock)
    ask = caller(server.port)
    futures = [behind(ask, "POST", "/api/embed", {"model": GEMMA, "input": "word"}) for _ in range(2)]
    until(lambda: waiting(server) == 1)
    for _ in range(2):
        clock.advance(60)
        until(lambda: waiting(server) == 0)
    until(lambda: clock.advance(1) or all(future.done() for future in futures))

    assert [future.result().status for future in futures] == [200, 200]


def test_other_load_options_reload_the_model(
    serve: Callable[..., SimulatorServer], caller: type[Caller], clock: SteppedClock
) -> None:
    """A different num_ctx costs a load; the same one, or a sampling option, does not."""
    server = serve(knobs=Knobs(), clock=clock)
    ask = caller(server.port)
    contexts = []
    for options in ({"num_ctx": 2048}, {"num_ctx": 2048, "temperature": 0.1}, {"num_ctx": 1024}, {}):
        ask.generate(options=options)
        contexts.append((ask.ps()[0]["context_length"], id(server.core.scheduler.listed()[0][0])))

    assert [context for context, _ in contexts] == [2048, 2048, 1024, 4096]
    assert contexts[0] == contexts[1]


def test_the_idle_model_with_the_shortest_keep_alive_makes_room(
    serve: Callable[..., SimulatorServer], caller: type[Caller]
) -> None:
    """Room is made by the model whose keep_alive is shortest, not by the oldest."""
    server = serve(knobs=Knobs(max_loaded=2))
    ask = caller(server.port)
    ask("POST", "/api/generate", {"model": QWEN, "keep_alive": 300})
    ask("POST", "/api/generate", {"model": SMOL, "keep_alive": 30})

    ask("POST", "/api/embed", {"model": GEMMA, "input": "x"})

    assert loaded(server) == [GEMMA, QWEN]


def test_the_memory_budget_bounds_what_is_loaded(serve: Callable[..., SimulatorServer], caller: type[Caller]) -> None:
    """Two models that do not fit together take turns."""
    server = serve(knobs=Knobs(memory_budget=2_500_000_000))
    ask = caller(server.port)
    ask("POST", "/api/generate", {"model": QWEN})
    ask("POST", "/api/generate", {"model": SMOL})

    assert loaded(server) == [SMOL]


def test_a_busy_model_is_waited_for(
    serve: Callable[..., SimulatorServer],
    caller: type[Caller],
    behind: Callable[..., Future[Any]],
    until: Callable[..., None],
    clock: SteppedClock,
) -> None:
    """A load that needs room waits until the busy model's request has ended."""
    server = serve(knobs=Knobs(tokens_per_second=1.0, max_loaded=1), clock=clock)
    ask = caller(server.port)
    busy = behind(ask.generate, options={"num_predict": 2})
    until(lambda: clock.pausing == 1)
    other = behind(ask, "POST", "/api/generate", {"model": SMOL})
    until(lambda: len(server.requests()) == 2)
    clock.advance(1)
    waited = not other.done()
    clock.advance(1)

    assert busy.result(5).status == other.result(5).status == 200
    assert waited
    assert loaded(server) == [SMOL]


def test_the_queue_of_loads_is_bounded(
    serve: Callable[..., SimulatorServer],
    caller: type[Caller],
    behind: Callable[..., Future[Any]],
    until: Callable[..., None],
    clock: SteppedClock,
) -> None:
    """One waiting load more than `max_queue` is refused with 503 and two spaces in the text."""
    server = serve(knobs=Knobs(load_seconds=5.0, max_queue=1), clock=clock)
    ask = caller(server.port)
    first = behind(ask.generate)
    until(lambda: clock.pausing == 1)

    refused = ask("POST", "/api/generate", {"model": SMOL})

    clock.advance(5)
    assert first.result(5).status == 200
    assert (refused.status, refused.json()["error"]) == (
        503,
        "server busy, please try again.  maximum pending requests exceeded",
    )


def test_a_failed_load_is_a_500_and_leaves_nothing(serve: Callable[..., SimulatorServer], caller: type[Caller]) -> None:
    """The load's own text is the error, and nothing is listed."""
    server = serve(knobs=Knobs(load_error="llama-server process has terminated: exit status 1: x"))

    reply = caller(server.port).generate()

    assert (reply.status, loaded(server)) == (500, [])
    assert reply.json()["error"].startswith("llama-server process has terminated")


def test_the_prefix_cache_shortens_the_second_prefill(
    serve: Callable[..., SimulatorServer],
    caller: type[Caller],
    behind: Callable[..., Future[Any]],
    until: Callable[..., None],
    clock: SteppedClock,
) -> None:
    """Of an equal prompt only one token is read, while its token count stays whole."""
    server = serve(knobs=Knobs(prefill_tokens_per_second=10.0), clock=clock)
    ask = caller(server.port)
    replies = []
    for asked, seconds in enumerate((10, 0.1), start=1):
        future = behind(ask.generate)
        until(lambda wanted=asked: len(server.requests()) == wanted and clock.pausing == 1)
        clock.advance(seconds)
        replies.append(future.result(5).json())

    first, second = replies
    assert second["prompt_eval_count"] == first["prompt_eval_count"] > 30
    assert second["prompt_eval_duration"] == 100_000_000 < first["prompt_eval_duration"]


def test_an_alias_shares_the_runner_of_its_model(call: Caller, server: SimulatorServer) -> None:
    """`simulated/<tag>` is the same model under another name: one runner, one digest."""
    call.generate()
    call.generate(model=f"simulated/{QWEN}")

    assert loaded(server) == [QWEN]
