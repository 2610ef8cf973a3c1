"""Compare searches: `python -m tests.benchmarks.peers --budgets 1000,3000 --seeds 20`.

Every search gets the same labelled samples, the same incumbent and the same two models; each request it makes counts, and none
is answered beyond the budget. The truth is exact, so what a search claims can be held against it.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from tests.benchmarks.peers.methods import METHODS, Method
from tests.benchmarks.peers.referee import PYTHON, Run, measure
from tests.benchmarks.peers.table import table
from tests.searching import commit_seed

WORLD = "ops.simulator.worlds.records:RecordsWorld"


def parser() -> argparse.ArgumentParser:
    """Describe the command line."""
    command = argparse.ArgumentParser(prog="make bench-peers ARGS=...", description=__doc__.partition("\n")[0])
    command.add_argument("--world", default=WORLD, help="module:Class of the skill's world (default: %(default)s)")
    command.add_argument("--profile", choices=("small", "strong"), default="small", help="how able the generator is")
    command.add_argument("--budgets", default="1000,3000", help="most requests to the models, separated by commas")
    command.add_argument("--seeds", type=int, default=20, help="worlds per method")
    command.add_argument("--peer-seeds", type=int, default=4, help="worlds per slow method")
    command.add_argument("--methods", default="", help="names separated by commas; the default is all of them")
    command.add_argument("--seed", type=int, help="first seed; the default follows from the commit that is checked out")
    command.add_argument("--jobs", type=int, default=1, help="searches at the same time")
    command.add_argument("--out", type=Path, help="file that gets every run as JSON")
    return command


def main(arguments: Sequence[str] | None = None) -> int:
    """Run everything and print the table."""
    command = parser()
    given = command.parse_args(arguments)
    names = [name.strip() for name in given.methods.split(",") if name.strip()] or [method.name for method in METHODS]
    chosen = [method for method in METHODS if method.name in names]
    if unknown := set(names) - {method.name for method in METHODS}:
        command.error(f"no such method: {', '.join(sorted(unknown))}; there are {', '.join(m.name for m in METHODS)}")
    if any(method.driver for method in chosen) and not PYTHON.exists():
        command.error("the peers are not installed: run `make bench-peers`")
    base = commit_seed() if given.seed is None else given.seed
    runs: list[Run] = []
    for run in measured(given, chosen, base):
        runs.append(run)
        say(
            f"{run.method} @{run.budget} seed {run.seed}: {run.gain:+.1f} points, {run.calls} calls {run.failed}",
            sys.stderr,
        )
        if given.out is not None:
            given.out.write_text(
                json.dumps({"seed": base, "world": given.world, "runs": [asdict(r) for r in runs]}, indent=1)
            )
    say(f"World {given.world}, generator {given.profile}, seeds from {base}.\n\n{table(runs, names)}")
    return 0


def measured(given: argparse.Namespace, chosen: Sequence[Method], base: int) -> Iterator[Run]:
    """Run every method with every seed and budget."""
    with ProcessPoolExecutor(given.jobs) as pool:
        tasks = {
            pool.submit(measure, given.world, base + offset, given.profile, method, budget)
            for budget in map(int, given.budgets.split(","))
            for method in chosen
            for offset in range(given.peer_seeds if method.slow else given.seeds)
        }
        for task in as_completed(tasks):
            yield task.result()


def say(text: str, stream: TextIO = sys.stdout) -> None:
    """Write a line at once."""
    stream.write(f"{text}\n")
    stream.flush()


if __name__ == "__main__":
    sys.exit(main())
