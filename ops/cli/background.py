"""What `up` writes down about itself, for `down` and for a second `up`."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.home import Home

LOCK, PID_FILE = "up.lock", "up.json"
MARK = "EVOCTL_UP"  # in the environment of every process of one `up`, so that `down` finds those it left behind
POLL_S = 0.1


def read(home: Home) -> dict[str, Any]:
    """Return what `up` wrote down: `pid`, `mark`, `ready`, `processes`; nothing when there is no such file."""
    try:
        data = json.loads((home.pid_dir / PID_FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return data if isinstance(data, dict) else {}


def write(home: Home, data: dict[str, Any]) -> None:
    """Write it down; a reader never sees half of it."""
    path = home.pid_dir / PID_FILE
    part = Path(f"{path}.part")
    part.write_text(json.dumps(data), encoding="utf-8")
    part.replace(path)


def until(true: Callable[[], object], seconds: float, error: Exception) -> None:
    """Wait until *true* says so; raise *error* when it does not within *seconds*."""
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            raise error
        time.sleep(POLL_S)
