"""What is seen of the pipeline from outside while it runs: its step table, the simulator's request log, config.yaml."""

from __future__ import annotations

import json
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from pipeline.domain import StepState
from workers.home import Home

LOOK_S = 0.006  # between two looks
OPEN_STEPS = """
SELECT s.id, s.stage, s.state, s.epoch, s.crashes, s.waiting_for, s.error, s.due_at
FROM steps s JOIN runs r ON r.id = s.run_id WHERE r.ended_at IS NULL"""


@dataclass(frozen=True, slots=True)
class Step:
    """A step of an open run, as it was seen."""

    id: int
    stage: str
    state: str
    epoch: int
    crashes: int
    waiting_for: str
    error: str
    due_at: str | None  # UTC, as SQLite has it

    @property
    def due(self) -> bool:
        """Whether a job may work on it now, or does, or did when it died."""
        if self.state == StepState.RUNNING:
            return True
        return self.state == StepState.READY and (self.due_at or "") <= f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S.%f}"


@dataclass
class Watch:
    """Looks all the time, in a thread of its own; use it as a context manager.

    Attributes:
        claims: how often a job took a step.
        handoffs: how often a running step was given on or back.
        crashes: how often a step's count of deaths rose.
        errors: what steps gave as their error.
        calls: inference requests seen; `in_flight`: those without an end.
        replaced: how often config.yaml became another file.
        locks: inodes of the kernel lock's file; a second one would be a second lock.
    """

    home: Home
    requests: Path
    claims: int = 0
    handoffs: int = 0
    crashes: int = 0
    errors: set[str] = field(default_factory=set)
    calls: int = 0
    in_flight: set[int] = field(default_factory=set)
    replaced: int = 0
    locks: set[int] = field(default_factory=set)
    steps: dict[int, Step] = field(default_factory=dict)
    trouble: list[str] = field(default_factory=list)
    _over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Self:
        """Begin to look."""
        self._thread = threading.Thread(target=self._look_on, daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Look no more."""
        self._over.set()
        self._thread.join()

    @property
    def running(self) -> bool:
        """Whether a step is being worked on, or its process has died and nobody has noticed."""
        return any(step.state == StepState.RUNNING for step in list(self.steps.values()))

    @property
    def due(self) -> bool:
        """Whether there is work that nothing holds back."""
        return any(step.due for step in list(self.steps.values()))

    def wait(self, fact: Callable[[], bool], patience_s: float) -> bool:
        """Wait until *fact* is true, for *patience_s* at most; tell whether it is."""
        end = time.monotonic() + patience_s
        while not fact():
            if time.monotonic() >= end:
                return False
            time.sleep(LOOK_S / 2)
        return True

    def _look_on(self) -> None:
        database = f"file:{self.home.root / 'evolution.db'}?mode=ro"
        inode = self.home.config.stat().st_ino
        with closing(sqlite3.connect(database, uri=True, timeout=5.0)) as opened, self.requests.open("rb") as log:
            log.seek(0, 2)
            version = -1
            while not self._over.wait(LOOK_S):
                self._read(log)
                found = self.home.config.stat().st_ino
                self.replaced += found != inode
                inode = found
                try:
                    now = opened.execute("PRAGMA data_version").fetchone()[0]
                    if now != version:
                        version = now
                        self._compare({row[0]: Step(*row) for row in opened.execute(OPEN_STEPS)})
                except sqlite3.OperationalError as error:
                    self.trouble.append(str(error))

    def _compare(self, found: dict[int, Step]) -> None:
        for number, step in found.items():
            old = self.steps.get(number)
            self.claims += step.epoch - (old.epoch if old else 0)
            self.crashes += max(0, step.crashes - (old.crashes if old else 0))
            self.handoffs += old is not None and old.state == StepState.RUNNING and step.state != StepState.RUNNING
            if step.error:
                self.errors.add(step.error)
        self.handoffs += sum(old.state == StepState.RUNNING for n, old in self.steps.items() if n not in found)
        self.steps = found
        self.locks |= {path.stat().st_ino for path in [self.home.locks / "evolution.lock"] if path.exists()}

    def _read(self, log: Any) -> None:
        for line in log:
            if not line.endswith(b"\n"):  # not yet written to its end
                log.seek(-len(line), 1)
                return
            entry = json.loads(line)
            if entry["number"] == 1 and entry["event"] == "begin":  # another life of the server
                self.in_flight.clear()
            if not entry["inference"]:
                continue
            if entry["event"] == "begin":
                self.calls += 1
                self.in_flight.add(entry["number"])
            else:
                self.in_flight.discard(entry["number"])
