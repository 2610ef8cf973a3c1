"""The simulated server without its sockets: disk, scheduler, knobs, faults, log and world, and one visit to them."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ops.simulator.cancel import DisconnectWatcher
from ops.simulator.clock import Clock
from ops.simulator.errors import ServerError
from ops.simulator.exchange import Exchange
from ops.simulator.inference import Engine
from ops.simulator.knobs import Fault, FaultQueue, Knobs, standing_fault
from ops.simulator.requestlog import RequestLog
from ops.simulator.scheduler import Scheduler
from ops.simulator.store import Store, Stored
from ops.simulator.wire import Body
from ops.simulator.world import World


class Core:
    """All state of one simulated server."""

    def __init__(self, world: World, knobs: Knobs, clock: Clock, log_file: Path | None, absent: Sequence[str]) -> None:
        self.world = world
        self.knobs = knobs
        self.clock = clock
        self.faults = FaultQueue()
        self.log = RequestLog(log_file)
        self.store = Store(world.models(), clock.now_ns(), absent)
        self.scheduler = Scheduler(clock, lambda: self.knobs)
        self.watcher = DisconnectWatcher()
        self._lock = threading.Lock()
        self._answers = 0

    def engine(self) -> Engine:
        """Give what a generation needs, under the knobs of this moment."""
        return Engine(self.clock, self.scheduler, self.world, self.knobs)

    def next_number(self) -> int:
        """Count answers that need a number of their own."""
        with self._lock:
            self._answers += 1
            return self._answers

    def close(self) -> None:
        """Close the log and end the watching thread."""
        self.scheduler.close()
        self.watcher.close()
        self.log.close()


@dataclass(slots=True, kw_only=True)
class Visit:
    """One request on its way through the server, and what the log will say of it.

    Attributes:
        query: the decoded query string.
        number: the log's number, 0 before `begin`.
        outcome: as in the log.
    """

    core: Core
    exchange: Exchange
    method: str
    path: str
    query: Mapping[str, str]
    raw: bytes
    number: int = 0
    outcome: str = "done"
    fault: Fault | None = None
    prompt_tokens: int = 0
    tokens: int = 0
    ended: bool = False

    def begin(self, tag: str, mind: str, body: Body | None, *, inference: bool) -> None:
        """Write the request into the log before anything is done for it, then fail if a test ordered that.

        Raises:
            ServerError: the ordered status and text.
        """
        self.number = self.core.log.begin(self.path, tag, mind, body, inference=inference)
        self.fault = self.core.faults.take(self.path, tag, inference=inference)
        if self.fault is not None and self.fault.how == "status":
            raise ServerError(self.fault.status, self.fault.error)
        if self.fault is None and inference:
            self.fault = standing_fault(self.core.knobs)

    def end(self) -> None:
        """Write the end of the request into the log, once."""
        if self.ended:
            return
        self.ended = True
        if self.number == 0:
            self.number = self.core.log.begin(self.path, "", "", None, inference=False)
        self.core.log.end(
            self.number, self.outcome, self.exchange.status, prompt_tokens=self.prompt_tokens, tokens=self.tokens
        )

    def stored(self, name: str, *, quoted_as: str = "model '{}' not found") -> Stored:
        """Find a model on the disk.

        Raises:
            ServerError: 404, with the path's own wording.
        """
        if not name:
            raise ServerError(404, "model '' not found")
        found = self.core.store.find(name)
        if found is None:
            raise ServerError(404, quoted_as.format(name))
        return found
