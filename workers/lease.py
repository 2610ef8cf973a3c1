"""The foreground lease: how a host says "the user is waiting for the model now", so that evolution steps aside.

A host wraps each user-facing call in `foreground(home)`; any number may hold the lease at once. It is a shared kernel
lock on a file: it needs no server, costs a few microseconds, and ends with the process that holds it, however it dies.
Only the standard library is imported, so a host pays next to nothing for it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

TYPE_CHECKING = False  # spares the import of typing, which costs more than this module; type checkers know the name
if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LEASE = "locks/foreground.lease"  # relative to the home


@contextlib.contextmanager
def foreground(home_root: Path) -> Iterator[None]:
    """Hold the lease while the user waits for the foreground model.

    The file's modification time is the time of the last use. A running evolution request is cancelled within a fraction
    of a second; none starts until the lease is free and the quiet period is over.

    Args:
        home_root: evolution's home folder; the lease's file is made there when it is missing.
    """
    path = home_root / LEASE
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    lease = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lease, fcntl.LOCK_SH)
        os.utime(lease)
        yield
    finally:
        with contextlib.suppress(OSError):
            os.utime(lease)  # before the lock goes: the lease is never free with an old time
        fcntl.flock(lease, fcntl.LOCK_UN)  # closing is not enough when a forked child still has the file open
        os.close(lease)


def lease_held(home_root: Path) -> bool:
    """Tell whether anyone holds the lease.

    The lock is taken and given back within microseconds; a holder that comes just then waits that long.

    Raises:
        OSError: the file can be neither opened nor locked.
    """
    try:
        lease = os.open(home_root / LEASE, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(lease, fcntl.LOCK_EX | fcntl.LOCK_NB)
        fcntl.flock(lease, fcntl.LOCK_UN)
    except BlockingIOError:
        return True
    finally:
        os.close(lease)
    return False


def last_foreground_use(home_root: Path) -> float | None:
    """Return when the lease was last taken or given back, in seconds since 1970, or None when it never was."""
    try:
        return (home_root / LEASE).stat().st_mtime
    except FileNotFoundError:
        return None
