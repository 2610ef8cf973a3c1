"""A headless Chromium that is told where to go over two pipes: the DevTools protocol, with the standard library alone."""

from __future__ import annotations

import json
import os
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome") or ""
FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage", "--remote-debugging-pipe",
)  # fmt: skip
# Chromium reads its orders from descriptor 3 and answers on 4.
LAUNCH = "import fcntl, os, sys; a, b = (fcntl.fcntl(int(x), fcntl.F_DUPFD, 50) for x in sys.argv[1:3]); "
LAUNCH += "os.dup2(a, 3); os.dup2(b, 4); os.execv(sys.argv[3], sys.argv[3:])"
PATIENCE_S = 60.0


@dataclass(slots=True)
class Browser:
    """One tab.

    Attributes:
        requests: every address that it asked for.
        dialogs: texts of windows that a script opened.
    """

    to: int
    out: int
    requests: list[str] = field(default_factory=list)
    dialogs: list[str] = field(default_factory=list)
    _session: str = ""
    _last: int = 0
    _rest: bytes = b""

    def start(self) -> None:
        """Open the tab, and listen to what it asks for."""
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime"):
            self.call(f"{domain}.enable")

    def go(self, address: str, settled: str) -> None:
        """Open an address, and wait until the expression *settled* is true there."""
        self.call("Page.navigate", url=address)
        end = time.monotonic() + PATIENCE_S
        while self.value(f"document.readyState === 'complete' && Boolean({settled})") is not True:
            assert time.monotonic() < end, f"{address} did not settle: {self.value('document.body.innerText')}"
            time.sleep(0.02)

    def value(self, expression: str) -> Any:
        """Return what an expression is on the page, None when it fails there."""
        return self.call("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Call the browser and return its answer; what it tells meanwhile is kept."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self.to, json.dumps(message).encode() + b"\0")
        while True:
            said = self._read()
            if said.get("id") == self._last:
                assert "error" not in said, said
                return dict(said["result"])
            self._keep(said)

    def _keep(self, said: dict[str, Any]) -> None:
        if said.get("method") == "Network.requestWillBeSent":
            self.requests.append(said["params"]["request"]["url"])
        if said.get("method") == "Page.javascriptDialogOpening":
            self.dialogs.append(said["params"]["message"])

    def _read(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self.out], [], [], PATIENCE_S)
            assert ready, "the browser says nothing"
            self._rest += os.read(self.out, 1 << 16)
        line, _, self._rest = self._rest.partition(b"\0")
        return dict(json.loads(line))


@contextmanager
def browser(profile: Path) -> Iterator[Browser]:
    """Run a fresh browser for the length of the block."""
    (theirs, to), (out, back) = os.pipe(), os.pipe()
    command = [sys.executable, "-c", LAUNCH, str(theirs), str(back), CHROMIUM, *FLAGS, f"--user-data-dir={profile}"]
    env = {**os.environ, "HOME": str(profile), "DBUS_SESSION_BUS_ADDRESS": "disabled:"}
    process = subprocess.Popen(command, pass_fds=(theirs, back), stderr=subprocess.DEVNULL, env=env)
    os.close(theirs)
    os.close(back)
    try:
        tab = Browser(to, out)
        tab.start()
        yield tab
    finally:
        os.close(to)
        os.close(out)
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
