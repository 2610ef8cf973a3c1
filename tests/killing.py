"""Kill a piece of work at its n-th system call, by ptrace: before the call is done, and after it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import warnings
from collections.abc import Callable
from functools import lru_cache

TRACE_ME, SYSCALL, SET_OPTIONS = 0, 24, 0x4200
EXIT_KILL, MARK_CALLS = 0x100000, 1
CALL_STOP = signal.SIGTRAP | 0x80
CAN_TRACE = sys.platform == "linux"


def killed_at(work: Callable[[], object], stop: int) -> int | None:
    """Run *work* in a child process and kill it at its *stop*-th stop; each system call has two, before and after.

    Returns:
        None when the child was killed; else, as it ended before, how many stops it made.
    """
    processors = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(processors)})  # both on one processor: they only ever run in turns
    try:
        return _traced(work, stop)
    finally:
        os.sched_setaffinity(0, processors)


def _traced(work: Callable[[], object], stop: int) -> int | None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the child uses no thread of this process
        child = os.fork()
    if child == 0:
        _work(work)
    _expect_stop(child)
    _ptrace(SET_OPTIONS, child, EXIT_KILL | MARK_CALLS)
    made, deliver = 0, 0
    while made < stop:
        _ptrace(SYSCALL, child, deliver)
        _, status = os.waitpid(child, 0)
        if os.WIFEXITED(status):
            assert os.WEXITSTATUS(status) == 0, "the work failed"
            return made
        assert os.WIFSTOPPED(status), "the work was killed by somebody else"
        deliver = 0 if os.WSTOPSIG(status) == CALL_STOP else os.WSTOPSIG(status)
        made += os.WSTOPSIG(status) == CALL_STOP
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status)
    return None


def _work(work: Callable[[], object]) -> None:
    code = 1
    try:
        _ptrace(TRACE_ME, 0, 0)
        os.kill(os.getpid(), signal.SIGSTOP)
        work()
        code = 0
    finally:
        os._exit(code)


def _expect_stop(child: int) -> None:
    _, status = os.waitpid(child, os.WUNTRACED)
    assert os.WIFSTOPPED(status), "the kernel lets nobody trace here"


@lru_cache
def _library() -> ctypes.CDLL:
    library = ctypes.CDLL(None, use_errno=True)
    library.ptrace.restype = ctypes.c_long
    library.ptrace.argtypes = [ctypes.c_long, ctypes.c_long, ctypes.c_void_p, ctypes.c_void_p]
    return library


def _ptrace(request: int, child: int, data: int) -> None:
    if _library().ptrace(request, child, None, data) < 0:
        raise OSError(ctypes.get_errno(), "ptrace")
