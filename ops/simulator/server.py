"""A simulated Ollama on a port of this machine: `with SimulatorServer(world=...) as server: server.url`."""

from __future__ import annotations

import sys
import threading
from collections.abc import Mapping, Sequence
from http.server import ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Self

from ops.simulator.clock import Clock, MachineClock
from ops.simulator.core import Core
from ops.simulator.handler import Handler
from ops.simulator.knobs import Fault, Knobs, turned
from ops.simulator.requestlog import Counts, Entry
from ops.simulator.world import World


class QuietServer(ThreadingHTTPServer):
    """A threading server that lets clients come in crowds and go without a stack trace."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = 256

    def handle_error(self, request: object, client_address: object) -> None:
        """Report a programming error; a client that broke its connection is none."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]  # typed narrower than it is called


class SimulatorServer:
    """Starts the server in threads of this process; the world may be changed while it runs.

    Args:
        world: what answers.
        knobs: speed, size and faults.
        port: 0 takes a free one.
        clock: a `SteppedClock` lets tests move the time by hand.
        request_log: a file that gets one JSON line at each begin and end.
        absent: tags of the world that are not on the disk at first.
    """

    def __init__(
        self,
        world: World,
        knobs: Knobs | None = None,
        port: int = 0,
        *,
        clock: Clock | None = None,
        request_log: Path | None = None,
        absent: Sequence[str] = (),
    ) -> None:
        self.core = Core(world, knobs or Knobs(), clock or MachineClock(), request_log, absent)
        handler = type("BoundHandler", (Handler,), {"core": self.core})
        self._http = QuietServer(("127.0.0.1", port), handler)
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.02,), name="simulator", daemon=True)

    @property
    def port(self) -> int:
        """Tell the port."""
        return int(self._http.server_address[1])

    @property
    def url(self) -> str:
        """Tell the address to hand to a client."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> Self:
        """Begin to answer."""
        self._thread.start()
        return self

    def stop(self) -> None:
        """Stop answering and free the port."""
        self._http.shutdown()
        self._http.server_close()
        self.core.close()

    def counts(self) -> Counts:
        """Count the inference requests so far."""
        return self.core.log.counts()

    def requests(self, since: int = 0) -> tuple[Entry, ...]:
        """List the requests with a number above *since*."""
        return self.core.log.entries(since)

    def turn(self, wanted: Mapping[str, object]) -> None:
        """Turn the knobs named in *wanted*."""
        self.core.knobs = turned(self.core.knobs, wanted)

    def fail_next(self, fault: Fault) -> None:
        """Order a failure."""
        self.core.faults.add(fault)

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
