"""Remove what nothing needs any more: reply texts of runs that ended, leftovers of killed calls, old logs and copies.

What a run, a vote, a promotion or a rollback needs is never looked at: rows stay, and of a run that goes on every reply
stays too.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from sqlalchemy import Engine, text

from models import journal
from pipeline.errors import Refused
from workers.archive import ABANDONED_S
from workers.backup import TEMPORARY, database_file
from workers.clock import now
from workers.home import Home
from workers.lock import LOCK, UP_LOCK, Lock, held
from workers.restore import BEFORE
from workers.sessions import Database, database

DAY_S = 86_400.0
WORTH_BYTES, WORTH_SHARE = 1_000_000, 0.2  # free space in the database from which rewriting it pays
PARTS = re.compile(r"\..+\.(new|\d{1,10})|.+\.part")  # names of files that are renamed when they are whole


@dataclass(frozen=True, slots=True)
class Waste:
    """One thing that may go.

    Attributes:
        what: `replies`, `temporary`, `log`, `copy` or `space`.
        where: path, or words.
        size: bytes.
    """

    what: str
    where: str
    size: int


def clean(home: Home, older_than: timedelta, *, dry_run: bool) -> tuple[Waste, ...]:
    """Remove, or with *dry_run* only list, what is older than *older_than*.

    Temporary files go after an hour. Logs stay while `evoctl up` writes them.

    Raises:
        Unreachable: the database does not answer.
        EvolutionError: its tables are of another release.
    """
    found = list(_files(home, older_than, dry_run=dry_run))
    with database(home) as opened:
        found += _replies(opened, older_than, dry_run=dry_run)
        found += _space(home, opened, dry_run=dry_run)
    return tuple(found)


def _files(home: Home, older_than: timedelta, *, dry_run: bool) -> Iterator[Waste]:
    old = older_than.total_seconds()
    for folder in dict.fromkeys((home.root, home.pid_dir, home.config.parent, home.config.resolve().parent)):
        ours = folder in (home.root, home.pid_dir)
        yield from _each(folder, "temporary", _is_part if ours else _is_config_part(home), ABANDONED_S, dry_run=dry_run)
    for template in _template_folders(home):
        yield from _each(template, "temporary", _is_config_part(home), ABANDONED_S, dry_run=dry_run)
    if not held(home.locks / UP_LOCK):
        yield from _each(home.log_dir, "log", lambda name: ".log" in name, old, dry_run=dry_run)
    yield from _each(home.root, "copy", lambda name: name.startswith(BEFORE), old, dry_run=dry_run)
    backup = f"{home.config.resolve().name}.bak"
    yield from _each(home.config.resolve().parent, "copy", lambda name: name == backup, old, dry_run=dry_run)


def _each(
    folder: Path, what: str, wanted: Callable[[str], bool], older_than_s: float, *, dry_run: bool
) -> Iterator[Waste]:
    """Remove the entries of *folder* whose names are *wanted* and that nobody changed for so long."""
    with suppress(FileNotFoundError, NotADirectoryError):
        for entry in sorted(folder.iterdir()):
            if not wanted(entry.name):
                continue
            with suppress(OSError):
                info = entry.lstat()
                if time.time() - info.st_mtime < older_than_s:
                    continue
                is_folder = entry.is_dir() and not entry.is_symlink()
                size = sum(p.lstat().st_size for p in entry.rglob("*")) if is_folder else info.st_size
                if not dry_run:
                    shutil.rmtree(entry) if is_folder else entry.unlink()
                yield Waste(what, str(entry), size)


def _is_part(name: str) -> bool:
    return name.startswith(TEMPORARY) or PARTS.fullmatch(name) is not None


def _is_config_part(home: Home) -> Callable[[str], bool]:
    """Return a test for the temporary files of ours beside the configuration; other programs' files look alike."""
    mine = {home.config.name, home.config.resolve().name}
    ends = tuple(f".{name}.new" for name in mine) + tuple(f".{name}.bak.new" for name in mine)
    return lambda name: name.startswith(".") and name.endswith(ends)


def _template_folders(home: Home) -> set[Path]:
    """Return the folders below the configuration's that hold prompts, one level deep as `init` makes them."""
    with suppress(OSError):
        return {Path(entry.path) for entry in os.scandir(home.config.parent) if entry.is_dir(follow_symlinks=False)}
    return set()


def _replies(opened: Database, older_than: timedelta, *, dry_run: bool) -> list[Waste]:
    before = now() - older_than
    with opened.read() as session:
        count, size = journal.prunable(session, before)
    if count and not dry_run:
        with opened.write() as session:
            journal.prune(session, before)
    return [Waste("replies", f"{count} texts of runs that ended", size)] if count else []


def _space(home: Home, opened: Database, *, dry_run: bool) -> list[Waste]:
    """Give free pages back when there are many and no job works: rewriting locks the database."""
    try:
        database_file(home)
    except Refused:
        return []  # a server sees to that by itself
    with opened.engine.connect() as connection:
        free, pages, page = (
            int(connection.execute(text(f"PRAGMA {name}")).scalar_one())
            for name in ("freelist_count", "page_count", "page_size")
        )
    if free * page < WORTH_BYTES or free < WORTH_SHARE * pages:
        return []
    lock = Lock(home.locks / LOCK)
    if not dry_run and not lock.take():
        return []
    try:
        if not dry_run:
            _vacuum(opened.engine)
    finally:
        lock.release()
    return [Waste("space", "free pages of the database", free * page)]


def _vacuum(engine: Engine) -> None:
    raw = engine.raw_connection()
    try:
        raw.driver_connection.execute("VACUUM")  # type: ignore[union-attr]  # sqlite3's own connection: outside a transaction
        raw.driver_connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # type: ignore[union-attr]  # same
    finally:
        raw.close()
