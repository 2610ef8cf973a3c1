"""How a peer's driver reaches the models: one connection, every request counted, and a hard stop at the budget.

It runs in the peers' own environment beside their packages, so it needs the standard library alone.
"""

from __future__ import annotations

import http.client
import json
import threading
from collections.abc import Sequence

TASK_MODEL = "qwen2.5-coder:3b"
META_MODEL = "smollm2:360m-instruct-q4_K_M"
SECONDS = 60.0  # that a reply may take


class BudgetReached(BaseException):
    """The next request would exceed the budget; not an `Exception`, since optimisers catch those and go on."""


class Models:
    """The two models behind the server.

    Args:
        port: of the server on this machine.
        budget: most requests.
        seed: the requests of warm models are numbered from here, so that equal texts get different replies.
    """

    def __init__(self, port: int, budget: int, seed: int) -> None:
        self.calls = 0
        self._budget = budget
        self._seed = seed * 100_000
        self._wire = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
        self._lock = threading.Lock()  # some peers ask from several threads

    @property
    def left(self) -> int:
        """Count the requests that may still be made."""
        return self._budget - self.calls

    def task(self, text: str) -> str:
        """Let the task model answer one prompt, cold."""
        return self.say(TASK_MODEL, [{"role": "user", "content": text}], temperature=0.0)

    def meta(self, messages: Sequence[dict[str, str]], temperature: float = 1.0) -> str:
        """Let the generator answer, warm."""
        return self.say(META_MODEL, messages, temperature=temperature)

    def say(self, model: str, messages: Sequence[dict[str, str]], *, temperature: float) -> str:
        """Make one request.

        Raises:
            BudgetReached: there is none left.
            RuntimeError: the server refused; the request counts.
        """
        with self._lock:
            if self.left <= 0:
                raise BudgetReached
            self.calls += 1
            body = {
                "model": model,
                "messages": list(messages),
                "temperature": temperature,
                "seed": self._seed + self.calls,
            }
            self._wire.request("POST", "/v1/chat/completions", json.dumps(body), {"Content-Type": "application/json"})
            reply = self._wire.getresponse()
            text = reply.read()
        if reply.status != http.HTTPStatus.OK:
            raise RuntimeError(f"status {reply.status}: {text[:200]!r}")
        return str(json.loads(text)["choices"][0]["message"]["content"])
