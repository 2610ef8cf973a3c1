"""Logging of evoctl and its long-running commands: one event a line, control characters escaped.

Prompts and user data are never logged at INFO or above; the log files are readable by their owner only.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from ops.cli.output import show
from workers.home import private

if TYPE_CHECKING:
    from workers.home import Home

FILE = "evoctl.log"
MAX_BYTES, KEPT = 1_000_000, 3  # of one log file, and how many older ones stay
LONGEST = 2000  # characters of one event
FORMAT = "%(asctime)s %(levelname)s %(name)s %(message)s"


class _PrivateFile(RotatingFileHandler):
    """A log file that only its owner may read, also after it has been moved on."""

    def _open(self) -> TextIO:  # type: ignore[override]  # the narrower of the two that `logging` knows
        return open(self.baseFilename, "a", encoding=self.encoding, errors=self.errors, opener=private)


class OneLine(logging.Formatter):
    """Writes each event, its traceback included, on one line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        return show(super().format(record), limit=LONGEST)


def log_to_terminal(verbose: int) -> None:
    """Send events to standard error: warnings, with -v what happens, with -vv everything."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(OneLine(FORMAT))
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel((logging.WARNING, logging.INFO, logging.DEBUG)[min(verbose, 2)])


def write_error(home: Home, name: str, trace: Sequence[str]) -> Path:
    """Write a traceback to the log file, each line an event under the error's *name*; return the file.

    Raises:
        EvolutionError: the home cannot be created.
        OSError: the file cannot be written.
    """
    path = home.ensure().log_dir / FILE
    handler = _PrivateFile(path, maxBytes=MAX_BYTES, backupCount=KEPT, encoding="utf-8", errors="backslashreplace")
    handler.setFormatter(OneLine(FORMAT))
    try:
        for line in "".join(trace).splitlines():
            handler.emit(logging.LogRecord(f"evoctl.{name}", logging.ERROR, "", 0, "%s", (line,), None))
    finally:
        handler.close()
    return path
