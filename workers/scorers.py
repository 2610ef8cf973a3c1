"""A skill's own scorers, `python:module:function` and `command:...`, run where they can do the job no harm.

Both run in a process of their own with a time limit, a limit on what they may say and on each file they write, without
our secrets in the environment, and in a session of their own, so that what they started ends with them. This guards
against mistakes, not against malice: a scorer is the user's program and has the user's rights.
"""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
import time
from typing import Any

from pipeline.flow import Failed, FailureKind, Reply, Scored, ScoreOutside
from pipeline.meta_prompt import clip, plain, plain_keep_marks
from workers import score_child
from workers.home import Home

SCORER_S = 10.0  # the score of one answer may take this long
LOAD_S = 30.0  # and this long, once in a job, the import of a function's module: some load a model of their own
SCORER_BYTES = 10_000  # of one reply are read
WORD_CHARS = 40  # of one word for what was lost
MESSAGE_CHARS = 500
SECRETS = ("RQ_REDIS_URL", "DATABASE_URL")  # not for a scorer


class OutsideScorers:
    """The outside scorers of one job; a function's process stays for the next answer, until `close`."""

    def __init__(self, home: Home) -> None:
        self._folder = home.config.parent
        self._children: dict[str, _Child] = {}

    def score(self, request: ScoreOutside) -> Reply:
        """Score one answer; whatever goes wrong is a failed score, never an error.

        Only an exception of the job itself, such as the end of its time, passes through.
        """
        kind, _, rest = request.scorer.partition(":")
        try:
            return _read(self._by_function(rest, request) if kind == "python" else self._by_command(rest, request))
        except (OSError, ValueError, RecursionError, subprocess.SubprocessError) as error:
            words = f"{request.scorer}: {str(error) or type(error).__name__}"
            return Failed(kind=FailureKind.REJECTED, message=clip(words, MESSAGE_CHARS))

    def close(self) -> None:
        """End every process."""
        for target in tuple(self._children):
            self._children.pop(target).end()

    def _by_function(self, target: str, request: ScoreOutside) -> object:
        """Ask the function's process, which is started for the first answer and after a failure."""
        if target in self._children and not self._children[target].lives():
            self._children.pop(target).end()
        try:
            if target not in self._children:
                self._children[target] = _Child(target)
                # Modules are found where the job finds them, and last in the configuration's folder.
                self._children[target].ask({"path": [*sys.path, str(self._folder)]}, LOAD_S)
            reply = self._children[target].ask(_sample(request), SCORER_S)
        except BaseException:  # of whatever kind: a late reply must not be taken for the next answer's
            if target in self._children:
                self._children.pop(target).end()
            raise
        if "error" in reply:
            raise ValueError(str(reply["error"]))
        return reply

    def _by_command(self, command: str, request: ScoreOutside) -> object:
        """Run the command in the configuration's folder: the sample as JSON on its input, a score or JSON on its output."""
        with tempfile.TemporaryFile() as told, tempfile.TemporaryFile() as out:
            told.write(_line(_sample(request)))
            told.seek(0)
            with subprocess.Popen(  # noqa: S603 - the command is the user's own setting, split without a shell
                shlex.split(command), stdin=told, stdout=out, stderr=subprocess.DEVNULL, cwd=self._folder,
                env=_environment(), start_new_session=True,
                preexec_fn=score_child.limit_files,  # noqa: PLW1509 - it takes no lock that another thread may hold
            ) as process:  # fmt: skip
                try:
                    status = process.wait(SCORER_S)
                except subprocess.TimeoutExpired:
                    raise _too_slow(SCORER_S) from None
                finally:
                    _kill_group(process)
            if status != 0:
                raise ValueError(f"it ended with status {status}")
            out.seek(0)
            return _parsed(out.read(SCORER_BYTES))


class _Child:
    """The process with a function in it; it is asked one thing at a time.

    Two sockets lead to it: one for questions and replies, apart from its standard output, so that what the function
    prints does no harm; the other one only shows it that the job still lives.
    """

    def __init__(self, target: str) -> None:
        self._asked = 0
        self._channel, theirs = socket.socketpair()
        self._life, watched = socket.socketpair()
        try:
            with theirs, watched:
                fds = (theirs.fileno(), watched.fileno())
                # -P: the script's folder is not for the function's imports
                self._process = subprocess.Popen(  # noqa: S603 - our own module; the target is one argument
                    [sys.executable, "-P", score_child.__file__, *map(str, fds), target], pass_fds=fds,
                    stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                    env=_environment(), start_new_session=True,
                )  # fmt: skip
        except BaseException:
            self._close()
            raise

    def ask(self, question: dict[str, Any], limit: float) -> dict[str, Any]:
        """Send *question* and return the reply to it.

        Raises:
            ValueError: there was none within *limit* seconds, or it cannot be used; the process must be ended.
        """
        end = time.monotonic() + limit
        try:
            self._channel.settimeout(limit)
            self._channel.sendall(_line({"id": self._asked, **question}))
            reply = _parsed(self._read_line(end))
        except TimeoutError:
            raise _too_slow(limit) from None
        except ConnectionError:
            raise ValueError("its process ended without an answer") from None
        if not isinstance(reply, dict) or reply.get("id") != self._asked:
            raise ValueError("its process spoke out of turn")
        self._asked += 1
        return reply

    def lives(self) -> bool:
        """Tell whether the process is still there."""
        return self._process.poll() is None

    def end(self) -> None:
        """End the process and what it started."""
        _kill_group(self._process)
        self._process.wait()
        self._close()

    def _read_line(self, end: float) -> bytes:
        data = b""
        while not data.endswith(b"\n"):
            left = end - time.monotonic()
            if left <= 0:
                raise TimeoutError
            self._channel.settimeout(left)
            part = self._channel.recv(SCORER_BYTES)
            if not part:
                raise ConnectionError
            data += part
            if len(data) > SCORER_BYTES:
                raise ValueError(f"it said more than {SCORER_BYTES} bytes")
        return data

    def _close(self) -> None:
        self._channel.close()
        self._life.close()


def _sample(request: ScoreOutside) -> dict[str, Any]:
    return {"output": request.output, "expected": request.expected, "input": dict(request.fields)}


def _line(data: dict[str, Any]) -> bytes:
    return json.dumps(data).encode() + b"\n"


def _parsed(data: bytes) -> object:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        raise ValueError("it answered no JSON") from None


def _too_slow(limit: float) -> ValueError:
    return ValueError(f"it took longer than {limit:g} seconds")


def _environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in SECRETS}


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process and what it started, unless that is gone; macOS refuses where only a dead one is left."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)


def _read(answer: object) -> Scored:
    """Read a number, true or false, or an object with `value` and `lost`."""
    lost: object = ()
    if isinstance(answer, dict):
        lost, answer = answer.get("lost") or (), answer.get("value")
    if not isinstance(answer, int | float) or not 0 <= answer <= 1:
        raise ValueError("a score is a number from 0 to 1")
    words = [lost] if isinstance(lost, str) else lost
    if not isinstance(words, list | tuple):
        raise ValueError("what was lost is a list of words")  # noqa: TRY004 - wrong is the reply, not a caller
    return Scored(value=float(answer), lost=tuple(filter(None, map(_word, words[: score_child.MOST_WORDS]))))


def _word(word: object) -> str:
    """Make a word fit to be shown to the generator: one short line of visible signs, or nothing if it has fence marks."""
    text = " ".join(plain_keep_marks(str(word)).split())
    return text[:WORD_CHARS].rstrip() if plain(text) == text else ""
