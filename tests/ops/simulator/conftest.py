"""A server per test, a raw HTTP caller, and a way to wait for what another thread does."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from ops.simulator.probe import Caller
from ops.simulator.server import SimulatorServer
from ops.simulator.worlds.file_naming import FileNamingWorld

DATA = Path(__file__).parents[3] / "ops" / "demo" / "data" / "real-pairs.jsonl"


@pytest.fixture(name="world", scope="session")
def _world() -> FileNamingWorld:
    return FileNamingWorld(seed=7)


@pytest.fixture(name="serve")
def _serve(world: FileNamingWorld) -> Iterator[Callable[..., SimulatorServer]]:
    started: list[SimulatorServer] = []

    def serve(**keys: Any) -> SimulatorServer:
        started.append(SimulatorServer(**({"world": world} | keys)).start())
        return started[-1]

    yield serve
    for server in started:
        server.stop()


@pytest.fixture(name="server")
def _server(serve: Callable[..., SimulatorServer]) -> SimulatorServer:
    return serve()


@pytest.fixture(name="call")
def _call(server: SimulatorServer) -> Caller:
    return Caller(server.port)


@pytest.fixture(name="caller")
def _caller() -> type[Caller]:
    return Caller


@pytest.fixture(name="until")
def _until() -> Callable[[Callable[[], object]], None]:
    def until(holds: Callable[[], object], seconds: float = 5.0) -> None:
        end = time.monotonic() + seconds
        while not holds():
            assert time.monotonic() < end, "it never came true"
            time.sleep(0.002)

    return until


@pytest.fixture(name="behind")
def _behind() -> Iterator[Callable[..., Future[Any]]]:
    """Run calls behind the test's back."""
    with ThreadPoolExecutor(max_workers=8) as pool:
        yield pool.submit


@pytest.fixture(name="pairs", scope="session")
def _pairs() -> list[dict[str, str]]:
    return [json.loads(line) for line in DATA.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(autouse=True)
def _no_stray_threads() -> Iterator[None]:
    yield
    assert threading.active_count() < 60
