"""`down`: stop what `up` runs, and what a killed one left behind."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

import contextlib
import os
import signal
from typing import TYPE_CHECKING, Any

from ops.cli.background import LOCK, MARK, PID_FILE, read, until
from ops.cli.call import Call, command, pass_call
from pipeline.errors import Refused, Unreachable

if TYPE_CHECKING:
    import psutil

    from workers.home import Home

STOP_S = 40.0  # for `up` to stop everything
TERM_S = 10.0  # after SIGTERM, before SIGKILL


@command("down", examples="evoctl down")
@pass_call
def down(call: Call) -> None:
    """Stop what `up` runs.

    What a killed `up` left behind is stopped as well.
    """
    from workers.lock import held

    home = call.home
    known = read(home)
    running = (home.locks / LOCK).exists() and held(home.locks / LOCK)
    if running:
        if not isinstance(known.get("pid"), int):
            raise Refused(
                "An `evoctl up` of this home runs, but its process id is not known.", hint="Stop it by Ctrl-C."
            )
        os.kill(known["pid"], signal.SIGTERM)
        until(
            lambda: not held(home.locks / LOCK),
            STOP_S,
            Unreachable("`evoctl up` did not stop in time.", hint="evoctl down"),
        )
    left = _end(_left_behind(home, known))
    (home.pid_dir / PID_FILE).unlink(missing_ok=True)
    words = "Stopped." if running or left else "Nothing was running."
    call.result("down", {"stopped": running, "left_behind": left}, lambda: words)


def _left_behind(home: Home, known: dict[str, Any]) -> list[psutil.Process]:
    """Find processes that a killed `up` left behind: those with its mark in their environment, and its Valkey."""
    import psutil

    mark = known.get("mark")
    if not mark:
        return []
    ours = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark:
                ours.append(process)
    if "valkey" in known.get("processes", ()):  # it overwrites its environment with its title
        with contextlib.suppress(psutil.Error, Unreachable):
            ours.append(psutil.Process(_valkey(home)))
    return list({process.pid: process for process in ours}.values())


def _valkey(home: Home) -> int:
    from ops.cli.setup import embedded_url
    from workers.redis_facts import redis_facts

    return redis_facts(embedded_url(home)).process


def _end(processes: list[psutil.Process]) -> int:
    """Stop processes: SIGTERM, then SIGKILL; return how many there were."""
    import psutil

    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    _, stubborn = psutil.wait_procs(processes, timeout=TERM_S)
    for process in stubborn:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return len(processes)
