"""A stage in an interpreter of its own: on macOS a forked process may not use what a stage needs.

There a forked job that asks for a model or loads numerics can be ended by the system's libraries (signals 6 and 11), so
the job only waits and takes the lock, and a fresh process does the rest. It is a member of the job's process group, so
that a stop of the job reaches both, and it alone keeps the kernel lock: a job that dies leaves it at work, nobody else
begins meanwhile, and when it dies itself the lock is free at once.
"""

# ruff: noqa: PLC0415 - the job loads next to nothing here, and the child only once it knows where modules are
from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pipeline.domain import Stage
    from workers.home import Home
    from workers.lock import Lock

SWITCH = "EVOCTL_EXEC_STAGE"  # 1 or 0; else by platform


def wanted() -> bool:
    """Tell whether stages run in a process of their own: on macOS, and where `EVOCTL_EXEC_STAGE` says so."""
    return os.environ.get(SWITCH, "1" if sys.platform == "darwin" else "0") == "1"


def run(home: Home, lock: Lock, stage: Stage, step_id: int, attempt: int, *, waited: bool) -> str:
    """Let a child work on one step and ring the bells after it; return what came of it in words of ours.

    Args:
        home: where things are.
        lock: taken; the child gets it, and this process lets go of it.
        stage: the stage that the job was enqueued for.
        step_id: the step.
        attempt: the step's attempt that the job was enqueued for.
        waited: the job has waited for the gate.

    Raises:
        StepFailed: the step's own code failed, or the child died.
    """
    from workers.queues import current_job_id
    from workers.stepping import StepFailed

    task = {
        "path": sys.path, "root": str(home.root), "config": str(home.config), "stage": stage.value, "step": step_id,
        "attempt": attempt, "waited": waited, "job": current_job_id(),
    }  # fmt: skip
    told = _ask(task, lock)
    if "words" in told:
        return str(told["words"])
    raise StepFailed(str(told["failed"]))


def work_and_ring(home: Home, lock: Lock, stage: Stage, step_id: int, attempt: int, *, waited: bool) -> str:
    """Work on one step in this process as the holder of *lock*, let go of it, and ring; the arguments are those of `run`."""
    from pipeline.errors import Unreachable
    from workers.queues import Bells

    bells = Bells(home.redis_url)
    try:
        with lock:
            from workers.stage import work

            outcome = work(home, stage, step_id, attempt, waited=waited)
        from workers.relay import relay

        with contextlib.suppress(Unreachable):  # the step table is the outbox; reconciliation rings later
            relay(home, bells, outcome.bells)
    finally:
        bells.close()
    return outcome.words


def main(lock_fd: int, answer_fd: int) -> None:
    """Do the task that standard input describes, and write what came of it as JSON."""
    for number in (lock_fd, answer_fd):
        os.set_inheritable(number, False)
    task = json.loads(sys.stdin.buffer.read())
    sys.path[:] = task["path"]
    told = _told(task, lock_fd)
    with contextlib.suppress(OSError):  # the job died meanwhile; the step's row says it all
        os.write(answer_fd, json.dumps(told).encode())


def _ask(task: dict[str, Any], lock: Lock) -> dict[str, Any]:
    """Start the child, hand it the lock, and wait for its answer."""
    reading, writing = os.pipe()
    with open(reading, "rb", closefd=True) as answer:  # noqa: PTH123 - a descriptor, not a path
        try:
            child = subprocess.Popen(  # noqa: S603 - our own interpreter and file
                [sys.executable, "-P", __file__, str(lock.fileno()), str(writing)],
                stdin=subprocess.PIPE, pass_fds=(lock.fileno(), writing),
            )  # fmt: skip
        finally:
            os.close(writing)
        lock.release()  # the child alone holds it now: its death frees the lock, ours does not
        with _passing_on(child):
            assert child.stdin is not None
            with contextlib.suppress(BrokenPipeError), child.stdin:
                child.stdin.write(json.dumps(task).encode())
            told = answer.read()
            code = child.wait()
    if told:
        found: dict[str, Any] = json.loads(told)
        return found
    return {"failed": f"the stage's process ended with {f'signal {-code}' if code < 0 else f'code {code}'}"}


@contextlib.contextmanager
def _passing_on(child: subprocess.Popen[bytes]) -> Iterator[None]:
    """Pass SIGTERM on: who ends the job means the stage."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, lambda *_: child.terminate())
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _told(task: dict[str, Any], lock_fd: int) -> dict[str, str]:
    from pathlib import Path

    from pipeline.domain import Stage
    from workers import turn  # noqa: F401 - sets the number of threads of the numerics before they are loaded
    from workers.home import Home
    from workers.lock import Lock
    from workers.queues import adopt_job
    from workers.stepping import StepFailed

    home, lock = Home(Path(task["root"]), Path(task["config"])), Lock.inherited(lock_fd)
    adopt_job(home.redis_url, task["job"])
    try:
        words = work_and_ring(home, lock, Stage(task["stage"]), task["step"], task["attempt"], waited=task["waited"])
    except StepFailed as failed:  # its words are ours; anything else goes to the log with its traceback
        return {"failed": str(failed)}
    return {"words": words}


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
