"""Counts every request: the witness by which tests prove that no call was paid for twice."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from collections import Counter
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TextIO

from ops.simulator.wire import Body
from ops.simulator.world import canonical


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One request.

    Attributes:
        number: from 1, in order of arrival.
        mind: who answers, `embedding` for vectors, empty for requests that are not inference.
        sha256: of the path, a line break and the canonical JSON body; empty without a JSON body.
        inference: whether it asks a model to write or to embed; loading and unloading does not.
        begin, end: seconds of the machine's monotonic clock; `end` is 0 while in flight.
        outcome: `done`, `failed`, `cut` (ended without `done`) or `cancelled`; empty while in flight.
        tokens: tokens sent.
    """

    number: int
    path: str
    tag: str
    mind: str
    sha256: str
    inference: bool
    begin: float
    end: float = 0.0
    outcome: str = ""
    status: int = 0
    prompt_tokens: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many inference requests came in, by several keys; `finished` counts complete answers by `sha256`."""

    total: int
    inference: int
    by_path: dict[str, int]
    by_tag: dict[str, int]
    by_mind: dict[str, int]
    by_outcome: dict[str, int]
    by_sha256: dict[str, int]
    finished: dict[str, int]

    @property
    def paid_twice(self) -> dict[str, int]:
        """Give the requests that were answered completely more than once."""
        return {sha: times for sha, times in self.finished.items() if times > 1}


class RequestLog:
    """Keeps entries in memory and, when asked to, one JSON line per begin and per end in a file."""

    def __init__(self, file: Path | None = None) -> None:
        self._lock = threading.Lock()
        self._entries: list[Entry] = []
        # The file is kept open for the life of the log: one line per event must cost microseconds.
        self._file: TextIO | None = None if file is None else file.open("a", encoding="utf-8", buffering=1)

    def begin(self, path: str, tag: str, mind: str, body: Body | None, *, inference: bool) -> int:
        """Note that a request came in; gives its number."""
        sha256 = "" if body is None else fingerprint(path, body)
        with self._lock:
            entry = Entry(
                number=len(self._entries) + 1, path=path, tag=tag, mind=mind, sha256=sha256,
                inference=inference, begin=time.monotonic(),
            )  # fmt: skip
            self._entries.append(entry)
            self._write("begin", entry)
        return entry.number

    def end(self, number: int, outcome: str, status: int, *, prompt_tokens: int = 0, tokens: int = 0) -> None:
        """Note how a request ended."""
        with self._lock:
            entry = replace(
                self._entries[number - 1], end=time.monotonic(), outcome=outcome, status=status,
                prompt_tokens=prompt_tokens, tokens=tokens,
            )  # fmt: skip
            self._entries[number - 1] = entry
            self._write("end", entry)

    def entries(self, since: int = 0) -> tuple[Entry, ...]:
        """List the requests with a number above *since*."""
        with self._lock:
            return tuple(self._entries[since:])

    def counts(self) -> Counts:
        """Count the inference requests so far."""
        entries = self.entries()
        paid = [entry for entry in entries if entry.inference]
        return Counts(
            total=len(entries),
            inference=len(paid),
            by_path=dict(Counter(entry.path for entry in paid)),
            by_tag=dict(Counter(entry.tag for entry in paid)),
            by_mind=dict(Counter(entry.mind for entry in paid)),
            by_outcome=dict(Counter(entry.outcome or "running" for entry in paid)),
            by_sha256=dict(Counter(entry.sha256 for entry in paid)),
            finished=dict(Counter(entry.sha256 for entry in paid if entry.outcome == "done")),
        )

    def close(self) -> None:
        """Close the file; later requests are counted in memory only."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None

    def _write(self, event: str, entry: Entry) -> None:
        if self._file is not None:
            self._file.write(json.dumps({"event": event, **asdict(entry)}) + "\n")


def fingerprint(path: str, body: Body) -> str:
    """Hash a path and a canonical JSON body: equal for equal requests, whatever the order of their keys."""
    return hashlib.sha256(f"{path}\n{canonical(body)}".encode()).hexdigest()
