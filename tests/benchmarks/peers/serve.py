"""A simulated server in a process of its own, so that its processor time is not taken for a search's.

It prints its port, and for each line on stdin how many requests for text have come in so far; it ends with its stdin.
"""

from __future__ import annotations

import argparse
import importlib
import sys

from ops.simulator.knobs import Knobs
from ops.simulator.server import SimulatorServer

CONTEXT = 32_768  # tokens; no peer's request shall be cut


def main() -> None:
    """Serve until stdin is closed."""
    command = argparse.ArgumentParser()
    command.add_argument("world")
    command.add_argument("seed", type=int)
    command.add_argument("profile")
    given = command.parse_args()
    module, _, name = given.world.partition(":")
    world = getattr(importlib.import_module(module), name)(seed=given.seed, profile=given.profile)
    with SimulatorServer(world, Knobs(default_num_ctx=CONTEXT, num_parallel=4)) as server:
        sys.stdout.write(f"{server.port}\n")
        sys.stdout.flush()
        for _ in sys.stdin:
            sys.stdout.write(f"{server.counts().inference}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
