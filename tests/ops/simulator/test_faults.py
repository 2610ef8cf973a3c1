"""Failures on order: each breaks a request as a real server would."""

from __future__ import annotations

import http.client
from collections.abc import Callable
from typing import Any

import pytest

from ops.simulator.knobs import DieMidStream, Fault, Knobs, turned
from ops.simulator.probe import Caller
from ops.simulator.server import SimulatorServer

QWEN = "qwen2.5-coder:3b"


def test_an_ordered_status_fails_the_next_requests(call: Caller) -> None:
    """Two failures fail two requests; the third succeeds."""
    call("POST", "/_simulator/fail", {"status": 503, "error": "busy", "times": 2})

    replies = [call.generate() for _ in range(3)]

    assert [reply.status for reply in replies] == [503, 503, 200]
    assert replies[0].json() == {"error": "busy"}


def test_a_failure_can_wait_for_a_path_or_a_model(call: Caller) -> None:
    """Other paths and tags pass; a failure without a path is for inference only."""
    call("POST", "/_simulator/fail", {"status": 500, "path": "/api/ps"})
    call("POST", "/_simulator/fail", {"status": 500, "model": QWEN})

    assert call("GET", "/api/tags").status == 200
    assert call.generate(model="smollm2:360m-instruct-q4_K_M").status == 200
    assert (call("GET", "/api/ps").status, call.generate().status) == (500, 500)


def test_ordered_failures_can_be_cleared(call: Caller) -> None:
    """`clear` forgets what was ordered."""
    call("POST", "/_simulator/fail", {"status": 500, "times": 9})
    call("POST", "/_simulator/fail", {"clear": True})

    assert call.generate().status == 200


def test_an_error_line_ends_a_stream(serve: Callable[..., SimulatorServer], caller: type[Caller]) -> None:
    """The status stays 200; the last line is the error."""
    server = serve(knobs=Knobs(chunk_tokens=1))
    server.fail_next(Fault(how="error_line", error="boom", after_chunks=2))
    reply = caller(server.port).generate(stream=True)

    assert reply.status == 200
    assert [list(line)[-1] for line in reply.lines()] == ["done", "done", "error"]
    assert reply.lines()[-1] == {"error": "boom"}
    assert server.requests()[0].outcome == "failed"


def test_a_crash_without_a_stream_is_a_500(serve: Callable[..., SimulatorServer], caller: type[Caller]) -> None:
    """Nothing was sent yet, so the crash has a status."""
    reply = caller(serve(knobs=Knobs(die_mid_stream=DieMidStream())).port).generate()

    assert reply.status == 500


@pytest.mark.parametrize("stream", [True, False])
def test_a_reset_breaks_the_connection(server: SimulatorServer, call: Caller, stream: Any) -> None:
    """The client sees its connection broken, not an end."""
    server.fail_next(Fault(how="reset"))

    with pytest.raises((ConnectionResetError, http.client.RemoteDisconnected, http.client.IncompleteRead)):
        call.generate(stream=stream)


def test_an_end_without_done(server: SimulatorServer, call: Caller) -> None:
    """The stream just ends; unstreamed it is a 200 with `done` false and no metrics."""
    server.fail_next(Fault(how="no_done", times=2))
    stream = call.generate(stream=True).lines()
    whole = call.generate().json()

    assert not any(line["done"] for line in stream)
    assert (whole["done"], "eval_count" in whole) == (False, False)
    assert [entry.outcome for entry in server.requests()] == ["cut", "cut"]


def test_the_repeat_guard_cuts_a_loop(serve: Callable[..., SimulatorServer], caller: type[Caller]) -> None:
    """Thirty equal pieces come through, then the stream ends without `done`."""
    server = serve(knobs=Knobs(repeat_guard=True))
    lines = caller(server.port).generate(stream=True).lines()

    assert "".join(line["response"] for line in lines) == " the" * 30
    assert not any(line["done"] for line in lines)


def test_a_stall_lasts_as_long_as_ordered(server: SimulatorServer, call: Caller) -> None:
    """The stream stands still and then goes on to its end."""
    server.fail_next(Fault(how="stall", seconds=0.15))

    body = call.generate().json()

    assert body["done"]
    assert body["eval_duration"] > 0.15e9


def test_knobs_turn_at_run_time(call: Caller) -> None:
    """A turned knob holds from the next request on; the reply shows them all."""
    turned_to = call(
        "POST", "/_simulator/knobs", {"tokens_per_second": 50, "die_mid_stream": {"how": "no_done"}}
    ).json()

    assert (turned_to["tokens_per_second"], turned_to["die_mid_stream"]["how"]) == (50.0, "no_done")
    assert call("GET", "/_simulator/knobs").json() == turned_to
    assert call.generate().json()["done"] is False


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/_simulator/knobs", {"speed": 1}),
        ("/_simulator/knobs", {"tokens_per_second": "fast"}),
        ("/_simulator/knobs", {"die_mid_stream": 3}),
        ("/_simulator/fail", {"how": "badly"}),
        ("/_simulator/fail", []),
    ],
)
def test_a_wrong_knob_or_failure_is_refused(call: Caller, path: str, body: Any) -> None:
    """Unknown names and wrong types are 400, so that a test's typing error is seen."""
    assert call("POST", path, body).status == 400


def test_turning_knobs_leaves_the_old_ones_alone() -> None:
    """Knobs are values: turning gives new ones."""
    before = Knobs()

    after = turned(before, {"load_seconds": 2})

    assert (before.load_seconds, after.load_seconds) == (0.0, 2.0)
