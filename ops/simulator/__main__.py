"""Run a simulated Ollama: `python -m ops.simulator --port 0 --seed 7`."""

from __future__ import annotations

import argparse
import importlib
import signal
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from ops.simulator.knobs import Knobs
from ops.simulator.server import SimulatorServer
from ops.simulator.world import World

DEFAULT_WORLD = "ops.simulator.worlds.file_naming:FileNamingWorld"


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    defaults = Knobs()
    command = argparse.ArgumentParser(prog="python -m ops.simulator", description=__doc__)
    command.add_argument("--port", type=int, default=11434, help="port on 127.0.0.1; 0 takes a free one")
    command.add_argument("--port-file", type=Path, help="file that gets the port number when the server is ready")
    command.add_argument("--seed", type=int, default=7, help="seed of the world")
    command.add_argument("--world", default=DEFAULT_WORLD, help="module:Class of the world (default: %(default)s)")
    command.add_argument("--request-log", type=Path, help="file that gets a JSON line at each begin and end")
    command.add_argument("--absent", action="append", default=[], metavar="TAG", help="model that is not pulled yet")
    command.add_argument("--tokens-per-second", type=float, default=0.0, help="0 writes without delay")
    command.add_argument("--prefill-tokens-per-second", type=float, default=0.0, help="0 reads without delay")
    command.add_argument("--load-seconds", type=float, default=0.0)
    command.add_argument("--num-parallel", type=int, default=defaults.num_parallel)
    command.add_argument("--max-loaded", type=int, default=defaults.max_loaded)
    command.add_argument("--memory-budget", type=int, default=0, help="bytes for loaded models; 0 is unlimited")
    command.add_argument("--runners", action="store_true", help="a process `llama-server` for each loaded model")
    command.add_argument("--runner-cpu", type=float, default=defaults.runner_cpu, help="share of a core of a busy one")
    command.add_argument("--keep-alive", type=float, default=defaults.default_keep_alive, help="seconds")
    return command


def load_world(name: str, seed: int) -> World:
    """Make the world `module:Class` with its seed."""
    module, _, attribute = name.partition(":")
    return cast("World", getattr(importlib.import_module(module), attribute)(seed=seed))


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve until SIGINT or SIGTERM."""
    given = parser().parse_args(arguments)
    knobs = Knobs(
        tokens_per_second=given.tokens_per_second, prefill_tokens_per_second=given.prefill_tokens_per_second,
        load_seconds=given.load_seconds, num_parallel=given.num_parallel, max_loaded=given.max_loaded,
        memory_budget=given.memory_budget, default_keep_alive=given.keep_alive,
        runner_processes=given.runners, runner_cpu=given.runner_cpu,
    )  # fmt: skip
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    world = load_world(given.world, given.seed)
    with SimulatorServer(world, knobs, given.port, request_log=given.request_log, absent=tuple(given.absent)) as server:
        if given.port_file is not None:
            # Renamed into place: whoever waits for the file never reads half of it.
            part = given.port_file.with_name(f"{given.port_file.name}.part")
            part.write_text(f"{server.port}\n", encoding="utf-8")
            part.replace(given.port_file)
        print(f"simulated Ollama {knobs.version} on {server.url}", flush=True)  # noqa: T201 - the line says it is ready
        ended.wait()


if __name__ == "__main__":
    main()
