"""Ollama's runners on this machine: the processes that hold the models, and whether they work.

Since 0.30 a runner is a `llama-server` child of Ollama, before that an `ollama runner`; both name their model's file on
their command line. A runner that waits uses no processor time at all, and a `llama-server` tells which of its slots are
busy. Everything here is seen from outside: nothing is sent to Ollama but the question which file a tag stands for.
"""

from __future__ import annotations

import contextlib
import http.client
import itertools
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

import psutil

from workers.llm.light_http import Down, Unknown, fetch, is_here, split
from workers.llm.lists import blob_of
from workers.llm.replies import parsed
from workers.llm.tags import normal
from workers.sockets import listening_ports

NAMES = ("llama-server", "ollama")
SERVER = "llama-server"
BLOB = "sha256-"
YOUNG_S = 2.0  # a process may still be what it was forked from
FILES_S = 60.0  # a tag may come to stand for another file
SLOT_S = 0.5  # for an answer; a slot list is written between two tokens
TICK_S = 0.02  # two clock ticks of the kernel's accounting: less may be noise
LONG_S = 2.0  # over a longer time the rate says little
NOISE = 0.002  # cores that a waiting runner may use for the server's pings


class Unseen(Exception):
    """This machine shows nothing of the runners; the text says why."""


@dataclass(frozen=True, slots=True)
class Runner:
    """One runner.

    Attributes:
        created: when its process began, seconds since 1970; with the pid it names the process.
        blob: name of its model's file, `sha256-...`.
        port: where it answers; None for an `ollama runner`.
    """

    pid: int
    created: float
    blob: str
    port: int | None

    @property
    def key(self) -> str:
        """Name the process, also after its pid has been given to another."""
        return f"{self.pid}@{self.created:.2f}"


@dataclass(frozen=True, slots=True)
class Sample:
    """Processor seconds that a runner had used at a moment, of one clock."""

    at: float
    cpu_s: float


class Runners:
    """The runners of one Ollama server, evolution's own told from the user's.

    Args:
        url: the server.
        foreground: tag of the user's model.
        own: tags that only evolution asks; every other model's runner is the user's.
        timeout_s: for the server's answer.
    """

    def __init__(self, url: str, foreground: str, own: Sequence[str], timeout_s: float) -> None:
        self._url, self._timeout_s = url, timeout_s
        self._foreground, self._own = foreground, tuple(own)
        self._port = split(url).port
        self._since: dict[int, float] = {}  # pids that were looked at: since when (monotonic)
        self._known: dict[int, Runner] = {}
        self._lock = threading.Lock()  # the gate looks, and so does the watch over a call
        self._files: dict[str, tuple[str, float]] = {}  # tag -> its file, and when that was asked (monotonic)

    def users(self, but: Iterable[str] = ()) -> list[Runner]:
        """Return the runners that work for the user; *but* are tags that evolution asks just now.

        Raises:
            Unseen: Ollama runs on another machine, or does not say which file a tag stands for.
        """
        if not is_here(self._url):
            raise Unseen("Ollama runs on another machine")
        with self._lock:
            theirs = self._file_of(self._foreground)
            ours = {self._file_of(tag) for tag in (*self._own, *but) if normal(tag) != normal(self._foreground)}
            return [one for one in self._all() if one.blob == theirs or one.blob not in ours]

    def _all(self) -> list[Runner]:
        """Return every runner of the server; it costs a fraction of a millisecond when no process is new."""
        now = time.monotonic()
        pids = set(psutil.pids())
        for pid in self._since.keys() - pids:
            del self._since[pid]
            self._known.pop(pid, None)
        for pid in pids:
            if now - self._since.setdefault(pid, now) <= YOUNG_S and pid not in self._known:
                found = _runner(pid, self._port)
                if found is not None:
                    self._known[pid] = found
        return list(self._known.values())

    def _file_of(self, tag: str) -> str:
        """Return the name of the file that *tag* stands for, empty when it is not installed.

        Raises:
            Unseen: the server does not say.
        """
        name, asked = self._files.get(tag, ("", -FILES_S))
        if time.monotonic() - asked < FILES_S:
            return name
        try:
            answer = fetch(self._url, "/api/show", self._timeout_s, {"model": tag})
            name = blob_of(parsed(answer.body).get("modelfile")) if answer.status == http.client.OK else ""
        except Down:
            name = ""
        except (Unknown, ValueError, AttributeError) as error:
            raise Unseen(f"Ollama does not say which file {tag} is") from error
        self._files[tag] = (name, time.monotonic())
        return name


def cpu_s(runner: Runner) -> float | None:
    """Return the processor seconds that a runner has used, None when it is gone."""
    with contextlib.suppress(psutil.Error):
        process = psutil.Process(runner.pid)
        if abs(process.create_time() - runner.created) < 1:
            times = process.cpu_times()
            return float(times.user + times.system)
    return None


def worked(before: Sample, after: Sample, cores: float) -> bool:
    """Tell whether a runner worked between two samples.

    Args:
        before: the earlier one.
        after: the later one.
        cores: share of a core above which it works, where the samples lie close together.

    >>> worked(Sample(0.0, 1.00), Sample(0.2, 1.06), 0.05), worked(Sample(0.0, 1.0), Sample(5.0, 1.01), 0.05)
    (True, False)
    """
    gap, used = after.at - before.at, after.cpu_s - before.cpu_s
    return used >= max(TICK_S, (cores if gap <= LONG_S else NOISE) * gap)


def slots_busy(runner: Runner) -> bool | None:
    """Ask a `llama-server` whether one of its slots works; None when it does not tell.

    At most once in 1.2 s, and never while a request to it is being dropped: each answer puts off the moment at which it
    notices a client that has gone.

    Raises:
        Unknown: it did not answer, or not with a list of slots.
    """
    if runner.port is None:
        return None
    try:
        answer = fetch(f"http://127.0.0.1:{runner.port}", "/slots", SLOT_S)
    except Down:
        return False  # it is ending, or not ready yet: the processor time tells
    if answer.status in (http.client.NOT_FOUND, http.client.NOT_IMPLEMENTED, http.client.UNAUTHORIZED):
        return None
    try:
        return any(bool(slot["is_processing"]) for slot in parsed(answer.body))
    except (ValueError, TypeError, LookupError) as error:
        raise Unknown("no list of slots") from error


def _runner(pid: int, port: int | None) -> Runner | None:
    """Look at one process; None when it is no runner of the server that listens on *port*."""
    with contextlib.suppress(psutil.Error, ValueError, OSError):
        process = psutil.Process(pid)
        name = process.name()
        if not name.startswith(NAMES):
            return None
        words = process.cmdline()
        blob = PurePath(_after("--model", words)).name
        old = "runner" in words[1:3]
        if blob.startswith(BLOB) and (old or name.startswith(SERVER)) and _serves(process.ppid(), port):
            own_port = _after("--port", words)
            return Runner(pid, process.create_time(), blob, int(own_port) if own_port and not old else None)
    return None


def _after(option: str, words: Sequence[str]) -> str:
    """Return the word that follows *option*, empty when there is none."""
    return next((value for name, value in itertools.pairwise(words) if name == option), "")


def _serves(pid: int, port: int | None) -> bool:
    """Tell whether a process serves *port*; one whose sockets cannot be seen may."""
    ports = listening_ports(pid)
    return not ports or port in ports
