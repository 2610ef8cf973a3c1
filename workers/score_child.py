"""The child process in which a skill's own Python function scores: a guard, and under it the process with the function.

It is run as a script and needs the standard library alone, so that it starts fast and is found from any folder. The
guard runs nothing of the user's. So it can end everything when the job ends, even if the job was killed while the
function hangs in a loop that lets no other thread run.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import numbers
import os
import resource
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from itertools import islice
from typing import Any, NoReturn, cast

FILE_BYTES = 16 * 2**20  # that a scorer may write to one file
MOST_WORDS = 8  # of what was lost
_WORD_CHARS = 80  # of one such word; the job keeps fewer, after it has taken out what cannot be seen
_ERROR_CHARS = 500

Scorer = Callable[[str, str, dict[str, str]], object]


def limit_files() -> None:
    """Keep what this process and its children write from filling the disk."""
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    limit = FILE_BYTES if hard == resource.RLIM_INFINITY else min(FILE_BYTES, hard)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))


def main(channel: int, life: int, target: str) -> None:
    """Serve scores until the job closes its end of the channel.

    Args:
        channel: descriptor of a socket; one JSON object a line in both directions.
        life: descriptor of a socket whose other end the job alone holds and never writes to.
        target: `module:function`.
    """
    limit_files()
    worker = os.fork()  # before anything of the user's is loaded, and while there is one thread
    if worker:
        _guard(worker, life)
    os.close(life)
    with contextlib.suppress(ConnectionError), socket.socket(fileno=channel) as job:
        _serve(job, target)


def _guard(worker: int, life: int) -> NoReturn:
    """End the whole process group when the job is gone or the process with the function has ended."""
    threading.Thread(target=_end_with, args=(life,), daemon=True).start()
    os.waitpid(worker, 0)
    _end_all()


def _end_with(life: int) -> None:
    try:
        os.read(life, 1)
    finally:
        _end_all()


def _end_all() -> NoReturn:
    os.killpg(0, signal.SIGKILL)
    os._exit(1)  # never reached: the guard is a member of its group


def _serve(job: socket.socket, target: str) -> None:
    """Answer the first line, which says where modules are found, and then one line for each answer to score."""
    me = os.getpid()
    with job.makefile("rb") as lines:
        scorer: Scorer | None = None
        reply: dict[str, Any] = {}
        for line in lines:
            request = json.loads(line)
            if "path" in request:
                sys.path[:] = request["path"]
                scorer, reply = _loaded(target)
            elif scorer is not None:
                reply = _scored(scorer, request)
            if os.getpid() != me:  # the function forked, and this is the copy: it must not speak for the original
                os._exit(0)
            job.sendall(json.dumps({"id": request["id"], **reply}).encode() + b"\n")


def _loaded(target: str) -> tuple[Scorer | None, dict[str, Any]]:
    """Import the function; if that fails, the reason is the reply to everything."""
    module, _, name = target.partition(":")
    try:
        return cast("Scorer", getattr(importlib.import_module(module), name)), {}
    except BaseException as error:  # noqa: BLE001 - the user's own module may raise anything, or try to exit
        return None, {"error": _words(error)}


def _scored(scorer: Scorer, request: dict[str, Any]) -> dict[str, Any]:
    try:
        return _plain(scorer(request["output"], request["expected"], request["input"]))
    except BaseException as error:  # noqa: BLE001 - the user's own function may raise anything, or try to exit
        return {"error": _words(error)}


def _plain(answer: object) -> dict[str, Any]:
    """Turn what the function returned into JSON; whether it is a score is for the job to say."""
    lost: object = ()
    if isinstance(answer, Mapping):
        lost = answer.get("lost") or ()
        answer = answer.get("value")
    words = [lost] if isinstance(lost, str) else islice(cast("list[object]", lost), MOST_WORDS)
    value = float(answer) if isinstance(answer, numbers.Real) else None
    return {"value": value, "lost": [str(word)[:_WORD_CHARS] for word in words]}


def _words(error: BaseException) -> str:
    try:
        return f"{type(error).__name__}: {error}"[:_ERROR_CHARS]
    except BaseException:  # noqa: BLE001 - an error of the user's own class may break while it is written
        return type(error).__name__


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3])
