"""A client that goes away is noticed at once, whatever its request is doing."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

import pytest

from ops.simulator.knobs import Knobs
from ops.simulator.probe import Caller
from ops.simulator.server import SimulatorServer

QWEN = "qwen2.5-coder:3b"
SLOW = {
    "writing": Knobs(tokens_per_second=0.5),
    "reading the prompt": Knobs(prefill_tokens_per_second=0.5),
    "loading": Knobs(load_seconds=60.0),
    "stalled": Knobs(stall_seconds=60.0, stall_after_chunks=0),
}


def send(server: SimulatorServer, *, stream: bool) -> socket.socket:
    """Send a request and leave its answer unread."""
    body = json.dumps({"model": QWEN, "prompt": "Name the file.\n---\nDescription: a cat", "stream": stream}).encode()
    head = f"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = socket.create_connection(("127.0.0.1", server.port))
    connection.sendall(head.encode() + body)
    return connection


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("doing", SLOW)
@pytest.mark.parametrize("reset", [False, True])
def test_a_disconnect_cancels(
    serve: Callable[..., SimulatorServer], until: Callable[..., None], doing: str, stream: Any, reset: Any
) -> None:
    """Closed or reset, streaming or not: the request ends within half a second and holds nothing."""
    server = serve(knobs=SLOW[doing])
    connection = send(server, stream=stream)
    until(server.core.scheduler.in_use)
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    gone = time.monotonic()
    connection.close()
    until(lambda: server.requests()[0].outcome)

    (entry,) = server.requests()
    assert entry.outcome == "cancelled"
    assert entry.end - gone < 0.5
    until(lambda: not server.core.scheduler.in_use())


def test_a_cancelled_request_refreshes_the_expiry(
    serve: Callable[..., SimulatorServer], caller: type[Caller], until: Callable[..., None]
) -> None:
    """END fires for a cancelled request as for any other."""
    server = serve(knobs=Knobs(tokens_per_second=0.5))
    connection = send(server, stream=True)
    until(server.core.scheduler.in_use)
    connection.close()
    until(lambda: not server.core.scheduler.in_use())

    ((runner, expires),) = server.core.scheduler.listed()

    assert runner.expires_ns == expires


def test_a_waiter_leaves_the_line_at_once(serve: Callable[..., SimulatorServer], until: Callable[..., None]) -> None:
    """A request that waits for a slot goes when its client goes; the running one goes on."""
    server = serve(knobs=Knobs(tokens_per_second=0.5))
    running = send(server, stream=True)
    until(lambda: any(runner.running for runner, _ in server.core.scheduler.listed()))
    waiter = send(server, stream=True)
    until(lambda: any(runner.waiting for runner, _ in server.core.scheduler.listed()))

    waiter.close()
    until(lambda: server.requests()[1].outcome == "cancelled")

    assert server.requests()[0].outcome == ""
    running.close()
    until(lambda: not server.core.scheduler.in_use())


def test_a_waiting_load_leaves_the_line_at_once(
    serve: Callable[..., SimulatorServer], until: Callable[..., None]
) -> None:
    """A second load that waits behind the first is given up when its client goes."""
    server = serve(knobs=Knobs(load_seconds=60.0))
    first, second = send(server, stream=True), send(server, stream=True)
    until(lambda: len(server.requests()) == 2)

    second.close()
    until(lambda: [entry.outcome for entry in server.requests()].count("cancelled") == 1)

    first.close()
    until(lambda: not server.core.scheduler.in_use())


def test_a_pipelined_request_is_no_disconnect(server: SimulatorServer, until: Callable[..., None]) -> None:
    """Two requests sent at once on one connection are both answered."""
    server.turn({"tokens_per_second": 200.0})
    with send(server, stream=False) as connection:
        body = b'{"model": "qwen2.5-coder:3b"}'
        connection.sendall(
            b"POST /api/generate HTTP/1.1\r\nHost: localhost\r\nContent-Length: %d\r\n\r\n" % len(body) + body
        )
        until(lambda: len(server.requests()) == 2 and all(entry.outcome for entry in server.requests()))

    assert [entry.outcome for entry in server.requests()] == ["done", "done"]
