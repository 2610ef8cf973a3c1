"""What a call of evoctl costs. Figures are printed (`make bench`); only ratios within one run are asserted."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.benchmark, pytest.mark.timeout(300)]

ROUNDS = 7


def cpu_ms(words: list[str], environment: dict[str, str]) -> float:
    """Return the median CPU time of a process, in milliseconds, its children included."""
    figures: list[float] = []
    for _ in range(ROUNDS):
        before = os.times()
        subprocess.run(words, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
        after = os.times()
        used = after.children_user + after.children_system - before.children_user - before.children_system
        figures.append(used * 1000)
    return statistics.median(figures)


def test_cpu_of_commands(tmp_path: Path) -> None:
    """Help costs at most half of a command that opens the database."""
    environment = {
        **os.environ, "EVOCTL_HOME": str(tmp_path / "home"), "EVOCTL_CONFIG": str(tmp_path / "host" / "config.yaml"),
        "RQ_REDIS_URL": "redis://127.0.0.1:1/0",
    }  # fmt: skip
    evoctl = [sys.executable, "-m", "ops.cli"]
    subprocess.run([*evoctl, "init", "--example"], env=environment, check=True, capture_output=True)
    costs = {
        name: cpu_ms([*evoctl, *words], environment)
        for name, words in {
            "--help": ["--help"],
            "enqueue --help": ["enqueue", "--help"],
            "status": ["status"],
            "stats": ["stats"],
            "assign": ["assign", "file-naming", "--task-id", "t"],
        }.items()
    }
    costs["python alone"] = cpu_ms([sys.executable, "-c", "pass"], environment)
    began = time.perf_counter()
    subprocess.run([*evoctl, "--help"], env=environment, check=True, capture_output=True)
    wall = (time.perf_counter() - began) * 1000

    figures = ", ".join(f"{name} {cost:.0f}" for name, cost in costs.items())
    print(f"\nCPU of evoctl, ms: {figures}; --help takes {wall:.0f} ms")  # noqa: T201 - a benchmark reports
    assert costs["--help"] < costs["status"] / 2
