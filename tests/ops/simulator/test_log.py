"""The request log: the witness that no call was paid for twice."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

from ops.simulator.probe import Caller
from ops.simulator.requestlog import fingerprint
from ops.simulator.server import SimulatorServer

QWEN = "qwen2.5-coder:3b"


def test_only_inference_is_counted(call: Caller, server: SimulatorServer) -> None:
    """Looking around, loading and unloading cost nothing."""
    call("GET", "/api/tags")
    call("POST", "/api/generate", {"model": QWEN})
    call("POST", "/api/generate", {"model": QWEN, "keep_alive": 0})
    call("POST", "/api/embed", {"model": "embeddinggemma:300m", "input": "x"})
    call.generate()

    counts = server.counts()

    assert (counts.total, counts.inference) == (5, 2)
    assert counts.by_path == {"/api/embed": 1, "/api/generate": 1}
    assert counts.by_mind == {"embedding": 1, "task": 1}
    assert counts.by_tag == {"embeddinggemma:300m": 1, QWEN: 1}
    assert call("GET", "/_simulator/counts").json()["by_outcome"] == {"done": 2}


def test_equal_requests_have_equal_hashes(call: Caller, server: SimulatorServer) -> None:
    """The order of the keys does not matter; a seed does."""
    call.generate(options={"seed": 1, "temperature": 0})
    call.generate(options={"temperature": 0, "seed": 1})
    call.generate(options={"temperature": 0, "seed": 2})

    first, second, third = (entry.sha256 for entry in server.requests())

    assert first == second != third
    assert server.counts().paid_twice == {first: 2}


def test_the_hash_can_be_computed_by_anyone() -> None:
    """SHA-256 of the path, a line break and the body as JSON with sorted keys and no spaces."""
    wanted = hashlib.sha256('/api/chat\n{"a":"é","b":1}'.encode()).hexdigest()

    assert fingerprint("/api/chat", {"b": 1, "a": "é"}) == wanted


def test_requests_can_be_listed_from_a_number_on(call: Caller) -> None:
    """`since` leaves out what was seen before; the simulator's own paths are not listed."""
    for _ in range(3):
        call.generate()

    requests = call("GET", "/_simulator/requests?since=2").json()["requests"]

    assert [(request["number"], request["outcome"]) for request in requests] == [(3, "done")]
    assert requests[0]["begin"] < requests[0]["end"]


def test_the_log_file_tells_begin_and_end(
    serve: Callable[..., SimulatorServer], caller: type[Caller], tmp_path: Path
) -> None:
    """Each request leaves a line when it begins and one when it ends, at once."""
    file = tmp_path / "requests.jsonl"
    server = serve(request_log=file)
    caller(server.port).generate()

    lines = [json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()]

    assert [line["event"] for line in lines] == ["begin", "end"]
    assert lines[0]["sha256"] == lines[1]["sha256"]
    assert (lines[0]["outcome"], lines[1]["outcome"], lines[1]["status"]) == ("", "done", 200)
    assert lines[1]["tokens"] > 0


def test_refused_inference_is_counted_as_failed(call: Caller, server: SimulatorServer) -> None:
    """A request for a missing model came in, but was not answered."""
    call.generate(model="nope:1b")

    assert (server.counts().by_outcome, server.counts().finished) == ({"failed": 1}, {})


def test_broken_requests_are_listed_without_a_hash(call: Caller, server: SimulatorServer) -> None:
    """What cannot be read has no body to hash and is no inference."""
    call("POST", "/api/generate", raw=b"{")

    (entry,) = server.requests()
    assert (entry.sha256, entry.inference, entry.status) == ("", False, 400)
