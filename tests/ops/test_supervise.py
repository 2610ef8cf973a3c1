"""The supervisor outlives what keeps it from starting a process."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path

from ops.supervise import Process, Supervisor

PATIENCE_S = 20.0


def until_lines(path: Path, count: int) -> None:
    """Wait for so many lines in a file."""
    end = time.monotonic() + PATIENCE_S
    while not path.exists() or len(path.read_text(encoding="utf-8").splitlines()) < count:
        assert time.monotonic() < end
        time.sleep(0.05)


def test_a_log_that_cannot_be_opened_keeps_no_process_away(tmp_path: Path) -> None:
    """A disk without room for another file: the process runs all the same, and is restarted."""
    starts = tmp_path / "starts"
    command = [sys.executable, "-c", f"open({str(starts)!r}, 'a').write('x\\n'); print('said')"]
    with Supervisor([Process("p", command, log=tmp_path / "none" / "p.log")]) as supervisor:
        threading.Thread(target=supervisor.watch, daemon=True).start()
        until_lines(starts, 2)


def test_a_command_that_is_away_for_a_while_is_started_again(tmp_path: Path) -> None:
    """While the system cannot start it, the watch goes on with the others and tries again."""
    script, starts, others = tmp_path / "script", tmp_path / "starts", tmp_path / "others"

    def install() -> None:
        script.write_text(f"#!/bin/sh\necho x >> {starts}\n", encoding="utf-8")
        script.chmod(0o755)

    install()
    other = Process("other", ["sh", "-c", f"echo x >> {others}; sleep 0.2"])
    with Supervisor([Process("p", [str(script)]), other]) as supervisor:
        until_lines(starts, 1)
        script.rename(tmp_path / "away")
        threading.Thread(target=supervisor.watch, daemon=True).start()
        until_lines(others, 3)
        before = len(starts.read_text(encoding="utf-8").splitlines())
        install()
        until_lines(starts, before + 1)
