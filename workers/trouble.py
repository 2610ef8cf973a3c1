"""Trouble that passes: a full disk, a database that another program holds, a file that nobody may write.

None of it is a failure of what was tried: it is named in plain words, and tried again.
"""

from __future__ import annotations

import errno
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

from pipeline.errors import Unreachable
from workers.home import write_private

FULL = frozenset((errno.ENOSPC, errno.EDQUOT, errno.EFBIG))
UNWRITABLE = frozenset((errno.EROFS, errno.EACCES, errno.EPERM))
NO_ROOM = "53100"  # PostgreSQL's word for it
PATIENCE_S, PAUSE_S = 90.0, 1.0
MB = 1_000_000
PROBE_BYTES = MB  # what is written to see whether there is room

T = TypeVar("T")


def of_database(error: BaseException | None) -> Unreachable:
    """Name what a database's driver complains of."""
    code = str(getattr(error, "sqlite_errorname", "") or getattr(error, "sqlstate", "") or "")
    if code in ("SQLITE_FULL", NO_ROOM):
        return disk_full(str(error))
    if code.startswith(("SQLITE_IOERR_WRITE", "SQLITE_IOERR_SHM", "SQLITE_IOERR_FSYNC", "SQLITE_IOERR_TRUNCATE")):
        return Unreachable(
            "The disk cannot be written; it may be full.", why=str(error), hint="evoctl doctor tells how much is free."
        )
    if code.startswith("SQLITE_READONLY"):
        return Unreachable("The database cannot be written.", why=str(error), hint="Make its file and folder writable.")
    if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        why = f"{error}: another program holds it."
        return Unreachable("The database is locked.", why=why, hint="Try again when that program is done.")
    return Unreachable("The database does not answer.", why=str(error or ""), hint="evoctl doctor")


def of_file(error: OSError) -> Unreachable | None:
    """Name why a file could not be written; None when it is something else, which would not pass by itself."""
    if error.errno in FULL:
        return disk_full(": ".join(str(part) for part in (error.filename, error.strerror) if part))
    if error.errno in UNWRITABLE:
        where = str(error.filename or "A file")
        return Unreachable(f"{where} cannot be written.", why=error.strerror or "", hint=f"chmod u+w {where}")
    return None


def disk_full(why: str) -> Unreachable:
    """Return the error of a full disk."""
    return Unreachable(
        "The disk is full.", why=why, hint="Free some space; work goes on by itself and nothing is lost."
    )


def free_mb(folder: Path) -> float:
    """Return how much an ordinary user may still write to the disk of *folder*, in MB; folders above it stand in."""
    place = next((one for one in (folder, *folder.parents) if one.exists()), Path("/"))
    return shutil.disk_usage(place).free / MB


def check_room(folder: Path, wanted_mb: float) -> None:
    """Stop before the disk of *folder* is full.

    Raises:
        Unreachable: fewer than *wanted_mb* MB are free.
    """
    free = free_mb(folder)
    if free < wanted_mb:
        raise disk_full(f"{free:.0f} MB are free where {folder} is; work.min_free_mb wants {wanted_mb:g}.")


def check_writing(folder: Path) -> None:
    """Stop where nothing can be written: a quota shows in no figure. Takes about a millisecond and leaves nothing.

    Raises:
        Unreachable: the disk is full or the folder read-only.
        OSError: it is something else.
    """
    try:
        write_private(folder / "room.probe", "x" * PROBE_BYTES)
    except OSError as error:
        raise of_file(error) or error from error
    finally:
        (folder / "room.probe").unlink(missing_ok=True)


def patiently(work: Callable[[], T], *, seconds: float | None = None) -> T:
    """Do *work*, a whole transaction, again until the database takes it.

    Args:
        work: has no effect when it raises.
        seconds: to keep trying, `PATIENCE_S` when None: somewhat more than the minute that a backup may hold a database.

    Raises:
        Unreachable: it was tried for so long in vain.
    """
    end = time.monotonic() + (PATIENCE_S if seconds is None else seconds)
    while True:
        try:
            return work()
        except Unreachable:
            if time.monotonic() >= end:
                raise
        time.sleep(PAUSE_S)
