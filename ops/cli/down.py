"""`down`: stop what `up` runs, and what a killed one left behind."""

# ruff: noqa: PLC0415 - help and completion import none of what the command needs
from __future__ import annotations

import os
import signal

from ops.cli.background import LOCK, PID_FILE, end, left_behind, read, until
from ops.cli.call import Call, command, pass_call
from pipeline.errors import Refused, Unreachable

STOP_S = 40.0  # for `up` to stop everything


@command("down", examples="evoctl down")
@pass_call
def down(call: Call) -> None:
    """Stop what `up` runs.

    What a killed `up` left behind is stopped as well.
    """
    from ops.cli.service import installed
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
    left = end(left_behind(home, known))
    (home.pid_dir / PID_FILE).unlink(missing_ok=True)
    words = "Stopped." if running or left else "Nothing was running."
    if running and installed(home):
        call.note("The service starts it again; to end that: evoctl service uninstall")
    call.result("down", {"stopped": running, "left_behind": left}, lambda: words)
