"""The state machine behind `/api/ps`, on a clock that the tests move."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from ops.simulator.clock import SteppedClock
from ops.simulator.knobs import Knobs
from ops.simulator.probe import Caller
from ops.simulator.server import SimulatorServer

QWEN = "qwen2.5-coder:3b"


@pytest.fixture(name="clock")
def _clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture(name="slow")
def _slow(serve: Callable[..., SimulatorServer], clock: SteppedClock) -> SimulatorServer:
    """A server that writes one token a second."""
    return serve(knobs=Knobs(tokens_per_second=1.0, chunk_tokens=1), clock=clock)


@pytest.fixture(name="ask")
def _ask(slow: SimulatorServer, caller: type[Caller]) -> Caller:
    return caller(slow.port)


@pytest.fixture(name="in_flight")
def _in_flight(
    slow: SimulatorServer,
    clock: SteppedClock,
    ask: Caller,
    behind: Callable[..., Future[Any]],
    until: Callable[..., None],
) -> Callable[..., AbstractContextManager[Future[Any]]]:
    """Hold a request in flight; it writes five tokens in five seconds."""

    @contextmanager
    def in_flight(**keys: Any) -> Iterator[Future[Any]]:
        future = behind(ask.generate, options={"num_predict": 5}, **keys)
        until(lambda: clock.pausing == 1)
        yield future
        clock.advance(5)
        assert future.result(5).status == 200
        until(lambda: not slow.core.scheduler.in_use())

    return in_flight


def left(ask: Caller, clock: SteppedClock) -> float:
    """Seconds until the only loaded model goes."""
    (model,) = ask.ps()
    expires = dt.datetime.fromisoformat(model["expires_at"][:26] + model["expires_at"][29:])
    return round(expires.timestamp() - clock.now_ns() / 1e9, 3)


def test_nothing_loaded_is_an_empty_list(ask: Caller) -> None:
    """A fresh server lists no model."""
    assert ask("GET", "/api/ps").json() == {"models": []}


def test_the_first_request_after_a_load_moves_the_expiry_with_the_clock(
    in_flight: Callable[..., AbstractContextManager[Future[Any]]], ask: Caller, clock: SteppedClock
) -> None:
    """While the first request runs, the time left is the whole keep_alive at every poll."""
    with in_flight():
        first = left(ask, clock)
        clock.advance(2)
        second = left(ask, clock)

    assert (first, second) == (300.0, 300.0)


def test_a_later_request_leaves_the_expiry_where_the_last_end_put_it(
    in_flight: Callable[..., AbstractContextManager[Future[Any]]], ask: Caller, clock: SteppedClock
) -> None:
    """A warm model that is busy looks exactly like an idle one."""
    with in_flight():
        pass
    clock.advance(10)
    idle = left(ask, clock)

    with in_flight():
        clock.advance(2)
        busy = left(ask, clock)

    assert idle - busy == 2.0


def test_a_running_request_keeps_the_model_beyond_its_expiry(
    in_flight: Callable[..., AbstractContextManager[Future[Any]]], ask: Caller, clock: SteppedClock
) -> None:
    """The entry stays listed with a time in the past."""
    with in_flight(keep_alive="3s"):
        pass

    with in_flight():
        clock.advance(4)
        over = left(ask, clock)

    assert over < 0


def test_the_end_of_a_request_starts_the_time_anew(
    in_flight: Callable[..., AbstractContextManager[Future[Any]]], ask: Caller, clock: SteppedClock
) -> None:
    """After the end the time left is the whole keep_alive again."""
    with in_flight():
        pass
    clock.advance(100)

    with in_flight():
        pass

    assert left(ask, clock) == 300.0


def test_a_model_goes_when_its_time_is_over(
    in_flight: Callable[..., AbstractContextManager[Future[Any]]], ask: Caller, clock: SteppedClock
) -> None:
    """An idle model is unloaded at its expiry and not before."""
    with in_flight(keep_alive=30):
        pass
    clock.advance(29.9)
    before = len(ask.ps())

    clock.advance(0.2)

    assert (before, ask.ps()) == (1, [])


def test_a_negative_keep_alive_is_for_ever(
    in_flight: Callable[..., AbstractContextManager[Future[Any]]], ask: Caller, clock: SteppedClock
) -> None:
    """The expiry lies about 292 years ahead and still moves with each end."""
    with in_flight(keep_alive=-1):
        pass
    first = ask.ps()[0]["expires_at"]
    clock.advance(60)
    with in_flight():
        pass

    assert first.startswith("2318")
    assert ask.ps()[0]["expires_at"] > first


def test_keep_alive_zero_unloads_at_the_end(
    in_flight: Callable[..., AbstractContextManager[Future[Any]]], ask: Caller
) -> None:
    """The model is listed while the request runs and gone after it."""
    with in_flight(keep_alive=0):
        listed = len(ask.ps())

    assert (listed, ask.ps()) == (1, [])


def test_an_unload_request_during_a_request_waits_for_it(
    in_flight: Callable[..., AbstractContextManager[Future[Any]]], ask: Caller, clock: SteppedClock
) -> None:
    """It is answered at once; the entry stays, expiring now, until the request is over."""
    with in_flight():
        answer = ask("POST", "/api/generate", {"model": QWEN, "keep_alive": 0}).json()
        remaining = left(ask, clock)

    assert (answer["done_reason"], remaining, ask.ps()) == ("unload", 0.0, [])


def test_only_the_last_of_two_overlapping_requests_refreshes(
    serve: Callable[..., SimulatorServer],
    caller: type[Caller],
    behind: Callable[..., Future[Any]],
    until: Callable[..., None],
    clock: SteppedClock,
) -> None:
    """With two in flight the first end changes nothing."""
    server = serve(knobs=Knobs(tokens_per_second=1.0, num_parallel=2), clock=clock)
    ask = caller(server.port)
    ask("POST", "/api/generate", {"model": QWEN, "keep_alive": 60})
    start = left(ask, clock)
    long = behind(ask.generate)
    short = behind(ask.generate, options={"num_predict": 1})
    until(lambda: clock.pausing == 2)

    clock.advance(1)
    short.result(5)
    after_one = left(ask, clock)
    clock.advance(60)
    long.result(5)
    until(lambda: not server.core.scheduler.in_use())

    assert (start, after_one, left(ask, clock)) == (60.0, 59.0, 60.0)


def test_a_loading_model_is_not_listed(
    serve: Callable[..., SimulatorServer],
    caller: type[Caller],
    behind: Callable[..., Future[Any]],
    until: Callable[..., None],
    clock: SteppedClock,
) -> None:
    """From v0.30 on a model appears when it is ready; `hide_while_loading` off brings the old way back."""
    server = serve(knobs=Knobs(load_seconds=5.0), clock=clock)
    ask = caller(server.port)
    future = behind(ask.generate)
    until(lambda: clock.pausing == 1)
    hidden = ask.ps()
    server.turn({"hide_while_loading": False})
    shown = len(ask.ps())

    clock.advance(5)

    assert (hidden, shown) == ([], 1)
    assert future.result(5).json()["load_duration"] == 5_000_000_000


def test_ps_can_be_slow(
    serve: Callable[..., SimulatorServer],
    caller: type[Caller],
    behind: Callable[..., Future[Any]],
    until: Callable[..., None],
    clock: SteppedClock,
) -> None:
    """`ps_delay` blocks the list as a runner's lock does."""
    server = serve(knobs=Knobs(ps_delay=3.0), clock=clock)
    future = behind(caller(server.port).ps)
    until(lambda: clock.pausing == 1)
    waiting = not future.done()

    clock.advance(3)

    assert waiting
    assert future.result(5) == []


def test_the_list_names_what_is_loaded(call: Caller) -> None:
    """Name, model, digest, sizes, details and context length are there, and the format says simulated."""
    call.generate(options={"num_ctx": 2048})

    (model,) = call.ps()

    assert model["name"] == model["model"] == QWEN
    assert model["size"] == model["size_vram"] > 0
    assert (model["context_length"], model["details"]["format"]) == (2048, "simulated")
    assert len(model["digest"]) == 64
