"""What `up` writes down about itself, for `down` and for a second `up`."""

# ruff: noqa: PLC0415 - help and completion import none of what the commands need

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from workers.home import write_private
from workers.lock import UP_LOCK

if TYPE_CHECKING:
    import psutil

    from workers.home import Home

LOCK, PID_FILE = UP_LOCK, "up.json"
MARK = "EVOCTL_UP"  # in the environment of every process of one `up`, so that `down` finds those it left behind
POLL_S = 0.1
TERM_S = 10.0  # after SIGTERM, before SIGKILL


def read(home: Home) -> dict[str, Any]:
    """Return what `up` wrote down: `pid`, `mark`, `ready`, `processes`; nothing when there is no such file."""
    try:
        data = json.loads((home.pid_dir / PID_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write(home: Home, data: dict[str, Any]) -> None:
    """Write it down; a reader never sees half of it."""
    write_private(home.pid_dir / PID_FILE, json.dumps(data))


def until(true: Callable[[], object], seconds: float, error: Exception) -> None:
    """Wait until *true* says so; raise *error* when it does not within *seconds*."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            raise error
        time.sleep(POLL_S)


def mark_of(home: Home) -> str:
    """Return the mark of every process that an `up` of *home* starts."""
    return hashlib.sha256(str(home.root).encode("utf-8", "surrogateescape")).hexdigest()[:16]


def left_behind(home: Home, known: dict[str, Any]) -> list[psutil.Process]:
    """Find processes that a killed `up` left behind: those with the home's mark in their environment, and its Valkey."""
    import psutil

    from ops.valkey import server

    ours: list[psutil.Process] = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.environ().get(MARK) == mark_of(home):
                ours.append(process)
    valkey = server(home) if "valkey" in known.get("processes", ()) else None  # it overwrites its environment
    return [*ours, *([valkey] if valkey is not None and valkey not in ours else [])]


def end(processes: list[psutil.Process]) -> int:
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
