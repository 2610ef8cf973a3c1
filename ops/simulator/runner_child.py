"""A simulated `llama-server`: the process that would hold one model.

It answers `/slots` and `/health`, and uses the processor while its parent says that a request runs. Standard library only;
it ends when its parent does. Its input is one order a line: `busy REQUESTS SHARE` (of a core), `grow BYTES`; it writes a
line for each look at its slots.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

PERIOD_S = 0.05  # of the duty cycle
CACHE = "LLAMA_ARG_CACHE_RAM"  # MiB, as the real server reads it
MIB = 1 << 20


class State:
    """What the parent ordered."""

    def __init__(self, slots: int, context: int) -> None:
        self.slots, self.context = slots, context
        self.busy, self.share = 0, 0.0
        self.cache: list[bytearray] = []
        self.most = int(os.environ.get(CACHE, "8192") or 0) * MIB

    def order(self, line: str) -> None:
        """Do as one line of input says."""
        word, _, value = line.strip().partition(" ")
        if word == "busy":
            running, _, share = value.partition(" ")
            self.busy, self.share = int(running), float(share)
        elif word == "grow":
            self.grow(int(value))

    def grow(self, size: int) -> None:
        """Keep one more prompt in memory, the oldest ones go where the cache is full."""
        while self.cache and sum(map(len, self.cache)) + size > self.most:
            self.cache.pop(0)
        if size <= self.most:
            self.cache.append(bytearray(b"\1") * size)

    def shown(self) -> list[dict[str, object]]:
        """Return the slots as the real server lists them."""
        return [
            {"id": slot, "n_ctx": self.context, "is_processing": slot < self.busy, "simulated": True}
            for slot in range(self.slots)
        ]


def main() -> None:
    """Serve until the input ends."""
    words = dict(itertools.pairwise(sys.argv[1:]))
    state = State(int(words.get("--parallel", "1")), int(words["--ctx-size"]))

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True

        def do_GET(self) -> None:
            path, _, query = self.path.partition("?")
            full = state.busy >= state.slots and "fail_on_no_slot=1" in query
            body: object = state.shown() if path == "/slots" else {"status": "ok"}
            if path not in ("/slots", "/health"):
                body = {"error": {"code": 404, "message": "File Not Found", "type": "not_found_error"}}
            text = json.dumps(body).encode()
            self.send_response(503 if full else 200 if path in ("/slots", "/health") else 404)
            self.send_header("Content-Type", "application/json; charset=utf-8")
            self.send_header("Content-Length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)
            if path == "/slots":
                sys.stdout.write("slots\n")
                sys.stdout.flush()

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", int(words["--port"])), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True).start()
    threading.Thread(target=_work, args=(state,), daemon=True).start()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    for line in sys.stdin:  # until the parent is gone, however it went
        state.order(line)
    os._exit(0)


def _work(state: State) -> None:
    """Use the ordered share of a core while a request runs."""
    while True:
        if not state.busy or state.share <= 0:
            time.sleep(0.005)
            continue
        used = time.thread_time()
        began = time.monotonic()
        while time.thread_time() - used < PERIOD_S * min(state.share, 1.0):
            pass
        time.sleep(max(0.0, PERIOD_S - (time.monotonic() - began)))


if __name__ == "__main__":
    main()
