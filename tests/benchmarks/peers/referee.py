"""Runs one search against a server of its own seed and holds the result against the truth."""

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

from ops.simulator.skill_world import SkillWorld
from tests.benchmarks.peers import ours
from tests.benchmarks.peers.methods import Method

ROOT = Path(__file__).parents[3]
PYTHON = ROOT / ".venv-peers" / "bin" / "python"
SAMPLES = 240  # labels that every search gets
MOST = 3600.0  # seconds that one search may take


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One search, measured.

    Attributes:
        gain: points of true accuracy above the incumbent.
        possible: points that the best prompt would gain.
        claimed: the accuracy that the search expects, in [0, 1].
        optimism: claimed minus true accuracy, in points.
        calls: requests that the server counted.
        cpu: seconds of processor time of the search, without imports.
        failed: what went wrong, when the search gave nothing back; the incumbent then stays.
    """

    method: str
    budget: int
    seed: int
    profile: str
    gain: float
    possible: float
    claimed: float | None
    optimism: float | None
    calls: int
    cpu: float
    instruction: str
    note: str = ""
    failed: str = ""


class Server:
    """A simulated server in a child process."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process
        self.port = self._number()

    def counted(self) -> int:
        """Count the requests for text so far."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._number()

    def _number(self) -> int:
        assert self._process.stdout is not None
        return int(self._process.stdout.readline())


@contextmanager
def served(world: str, seed: int, profile: str) -> Iterator[Server]:
    """Start a server, and end it."""
    command = [sys.executable, "-m", "tests.benchmarks.peers.serve", world, str(seed), profile]
    with subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield Server(process)
        finally:
            assert process.stdin is not None
            process.stdin.close()
            process.wait(10)


def measure(name: str, seed: int, profile: str, method: Method, budget: int) -> Run:
    """Run one search and compare what it found with what it claims."""
    world = made(name, seed, profile)
    with served(name, seed, profile) as server:
        found = (
            ask_peer(name, world, seed, method, budget, server.port)
            if method.driver
            else ask_ours(world, seed, method, budget, server.port)
        )
        calls = server.counted()
    truth, floor, claimed = world.accuracy(str(found["instruction"])), world.floor(), found["claimed"]
    return Run(
        method=method.name, budget=budget, seed=seed, profile=profile, gain=100 * (truth - floor),
        possible=100 * (world.ceiling() - floor), claimed=cast("float | None", claimed),
        optimism=None if claimed is None else 100 * (cast("float", claimed) - truth), calls=calls,
        cpu=cast("float", found["cpu"]), instruction=str(found["instruction"]), note=str(found.get("note", "")),
        failed=str(found.get("failed", "")),
    )  # fmt: skip


def made(name: str, seed: int, profile: str) -> SkillWorld:
    """Make the world `module:Class`."""
    module, _, attribute = name.partition(":")
    return cast("SkillWorld", getattr(importlib.import_module(module), attribute)(seed=seed, profile=profile))


def ask_ours(world: SkillWorld, seed: int, method: Method, budget: int, port: int) -> dict[str, object]:
    """Run our own search in this process."""
    samples = world.samples(SAMPLES, seed)
    # The race is what `run` does unless it is told otherwise, so a `run` that knows nothing else can be plugged in too.
    other = {} if method.search == "race" else {"search": method.search}
    begin = time.process_time()
    found = ours.run(world, samples, budget, method.feedback, seed, port, **other)
    cpu = time.process_time() - begin
    return {"instruction": found.instruction, "claimed": found.claimed, "calls": found.calls, "cpu": cpu}


def ask_peer(name: str, world: SkillWorld, seed: int, method: Method, budget: int, port: int) -> dict[str, object]:
    """Run a peer's driver in the peers' environment; when it fails, the incumbent stays."""
    job = {
        "world": name, "world_seed": seed, "samples": [asdict(sample) for sample in world.samples(SAMPLES, seed)],
        "budget": budget, "feedback": method.feedback, "seed": seed, "port": port, "options": dict(method.options),
    }  # fmt: skip
    script = Path(__file__).with_name(method.driver)
    done = subprocess.run(
        [str(PYTHON), str(script)], input=json.dumps(job), capture_output=True, text=True, timeout=MOST, check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONWARNINGS": "ignore"},
    )  # fmt: skip
    if done.returncode == 0:
        return dict(json.loads(done.stdout))
    reason = (done.stderr.strip().splitlines() or ["no message"])[-1]
    incumbent = world.template().partition("\n---\n")[0]
    return {"instruction": incumbent, "claimed": None, "cpu": 0.0, "failed": reason[:300]}
