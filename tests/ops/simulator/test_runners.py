"""The runners' processes: they look and work as Ollama's do, and never outlive the simulator."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from ops.simulator.knobs import Knobs
from ops.simulator.server import SimulatorServer
from ops.simulator.worlds.file_naming import FileNamingWorld

QWEN, SMOL = "qwen2.5-coder:3b", "smollm2:360m-instruct-q4_K_M"


@pytest.fixture(name="made")
def _made() -> Iterator[Callable[..., SimulatorServer]]:
    """Return a maker of simulators with runners."""
    servers: list[SimulatorServer] = []

    def make(**knobs: Any) -> SimulatorServer:
        servers.append(SimulatorServer(FileNamingWorld(seed=1), Knobs(runner_processes=True, **knobs)).start())
        return servers[-1]

    yield make
    for server in servers:
        server.stop()


def ask(port: int, path: str, body: object = None, *, timeout: float = 20.0) -> tuple[int, Any]:
    """Send one request."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout)
    try:
        connection.request("GET" if body is None else "POST", path, None if body is None else json.dumps(body))
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())
    finally:
        connection.close()


def write(server: SimulatorServer, tag: str, **more: object) -> threading.Thread:
    """Let a model write, in the background."""
    body = {"model": tag, "prompt": "Name the picture.", "stream": False, **more}
    thread = threading.Thread(target=lambda: ask(server.port, "/api/generate", body), daemon=True)
    thread.start()
    return thread


def runners(of: int = 0) -> list[psutil.Process]:
    """Return the runners of a process, of this one by default."""
    found = []
    for one in psutil.Process(of or os.getpid()).children():
        with contextlib.suppress(psutil.Error):  # a child of another test may be gone, and not yet fetched
            found += [one] if "--simulated" in one.cmdline() else []
    return found


def until(fact: Callable[[], object], seconds: float = 8.0) -> bool:
    """Wait until *fact* holds."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            if fact():
                return True
        except (OSError, psutil.Error):
            pass
        time.sleep(0.02)
    return False


def port_of(process: psutil.Process) -> int:
    """Read the port from the command line, as a watcher does."""
    words = process.cmdline()
    return int(words[words.index("--port") + 1])


def test_each_loaded_model_has_a_process_with_ollamas_name_and_words(made: Any) -> None:
    """Its file is the one that `/api/show` names, and it goes with the model."""
    server = made()
    for tag in (QWEN, SMOL):
        ask(server.port, "/api/generate", {"model": tag})

    found = runners()
    assert len(found) == 2
    if sys.platform == "linux":
        assert {one.name() for one in found} == {"llama-server"}
    files = {one.cmdline()[one.cmdline().index("--model") + 1] for one in found}
    for tag in (QWEN, SMOL):
        modelfile = ask(server.port, "/api/show", {"model": tag})[1]["modelfile"]
        assert modelfile.split("FROM ")[1].split("\n")[0] in files
    ask(server.port, "/api/generate", {"model": SMOL, "keep_alive": 0})
    assert until(lambda: len(runners()) == 1)


def test_slots_and_processor_time_show_a_running_request(made: Any) -> None:
    """And rest when it is over."""
    server = made(tokens_per_second=2.0, runner_cpu=0.5)
    ask(server.port, "/api/generate", {"model": QWEN})
    (one,) = runners()
    assert until(lambda: ask(port_of(one), "/slots")[1][0]["is_processing"] is False)

    thread = write(server, QWEN, options={"num_predict": 4})
    assert until(lambda: ask(port_of(one), "/slots")[1][0]["is_processing"])
    assert ask(port_of(one), "/slots?fail_on_no_slot=1")[0] == 503
    before = sum(one.cpu_times()[:2])
    time.sleep(0.6)
    assert sum(one.cpu_times()[:2]) - before >= 0.1
    thread.join(20)
    assert until(lambda: ask(port_of(one), "/slots")[1][0]["is_processing"] is False)
    before = sum(one.cpu_times()[:2])
    time.sleep(0.5)
    assert sum(one.cpu_times()[:2]) - before <= 0.04


def test_a_dropped_prompt_is_noticed_late_and_looks_at_the_slots_put_that_off(made: Any) -> None:
    """As measured on the real server: that is why nobody may look faster than once a second."""
    server = made(prefill_tokens_per_second=1.0, prefill_cancel_seconds=0.6)
    ask(server.port, "/api/generate", {"model": QWEN})
    (one,) = runners()

    def held(looks: float) -> float:
        connection = http.client.HTTPConnection("127.0.0.1", server.port)
        connection.request("POST", "/api/generate", json.dumps({"model": QWEN, "prompt": f"{looks} {'word ' * 50}"}))
        assert until(server.core.scheduler.in_use)
        time.sleep(0.1)
        connection.sock.close()
        began, looked = time.monotonic(), 0.0
        while server.core.scheduler.in_use():
            if looks and time.monotonic() - began < looks and time.monotonic() - looked > 0.1:
                ask(port_of(one), "/slots")
                looked = time.monotonic()
            time.sleep(0.01)
        return time.monotonic() - began

    assert 0.4 <= held(0.0) <= 5
    assert held(1.5) >= 1.9


def test_the_hidden_prompt_cache_grows_to_its_limit(made: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """By each distinct prompt, up to LLAMA_ARG_CACHE_RAM, which the process inherits."""
    monkeypatch.setenv("LLAMA_ARG_CACHE_RAM", "40")
    server = made(cache_bytes_per_prompt=10 << 20)
    ask(server.port, "/api/generate", {"model": QWEN})
    (one,) = runners()
    before = one.memory_info().rss
    for number in range(3):
        ask(server.port, "/api/generate", {"model": QWEN, "prompt": f"Picture {number}", "stream": False})
    assert until(lambda: one.memory_info().rss - before >= 28 << 20)

    for number in range(10):
        ask(server.port, "/api/generate", {"model": QWEN, "prompt": f"Other {number}", "stream": False})
    time.sleep(0.3)
    assert one.memory_info().rss - before <= 60 << 20


def test_loads_and_evictions_are_counted(made: Any) -> None:
    """Also a load for other load options."""
    server = made(max_loaded=1)
    for tag, options in ((QWEN, {}), (SMOL, {}), (SMOL, {"num_ctx": 2048}), (SMOL, {"num_ctx": 2048})):
        ask(server.port, "/api/generate", {"model": tag, "options": options})

    counts = ask(server.port, "/_simulator/counts")[1]
    assert counts["loads"] == {QWEN: 1, SMOL: 2}
    assert counts["evicted"] == {QWEN: 1, SMOL: 1}


def test_a_listed_models_size_is_its_file_and_its_context(made: Any) -> None:
    """320 MiB for 8,192 tokens of SmolLM2-360M, by layers, heads and context."""
    server = made()
    ask(server.port, "/api/generate", {"model": SMOL, "options": {"num_ctx": 8192}})

    (row,) = ask(server.port, "/api/ps")[1]["models"]
    assert row["size"] == 270_898_672 + (320 << 20)


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_no_runner_outlives_its_server(tmp_path: Path, how: signal.Signals) -> None:
    """However that ends."""
    port_file = tmp_path / "port"
    words = [sys.executable, "-m", "ops.simulator", "--port", "0", "--port-file", str(port_file), "--runners"]
    with subprocess.Popen(words, stdout=subprocess.DEVNULL) as server:
        assert until(port_file.exists, 20)
        ask(int(port_file.read_text()), "/api/generate", {"model": QWEN})
        (one,) = runners(server.pid)
        server.send_signal(how)
        server.wait(10)

        assert until(lambda: not one.is_running() or one.status() == psutil.STATUS_ZOMBIE)
