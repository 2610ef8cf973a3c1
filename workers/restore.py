"""Put a backup into a home: checked and migrated beside the present database, then put in its place in one step.

Until that step a kill leaves the old database whole; after it the new one is. What was there before is kept in a folder
of its own.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path

from sqlalchemy.exc import SQLAlchemyError

from migrations.run import current, known, upgrade
from models.base import make_engine, sessions
from models.prompts import versions_in_use
from pipeline.errors import BadInput, Blocked, ConfigError, EvolutionError, Refused
from workers import archive
from workers.archive import Archive
from workers.backup import check_whole, database_file, work_folder
from workers.clock import now
from workers.home import PRIVATE_DIR, Home
from workers.host_config import load_host_config
from workers.host_publish import put_back
from workers.host_templates import locate, sync_folder
from workers.lock import LOCK, TICK_LOCK, UP_LOCK, WAITING, Lock
from workers.schema import strange
from workers.yaml_tree import MAX_BYTES, plain, read_bytes

BEFORE = "before-restore-"  # begins the name of the folder that keeps what was there
SIDES = ("", "-wal", "-shm", "-journal")  # a SQLite file and what may stand beside it
HELD = {
    UP_LOCK: "`evoctl up` of this home runs",
    TICK_LOCK: "A tick of this home runs",
    LOCK: "A job of this home runs",
    WAITING: "A job of this home waits for a quiet moment",
}


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        revision: of the database now.
        saved_as: the backup's own revision; another one means that it was migrated.
        before: folder with what was there before; None when the home was empty.
        config_written: the host's configuration was put back as well.
        differences: where the configuration and the restored database or the backup disagree, in words.
    """

    revision: str
    saved_as: str
    created_at: str
    before: Path | None
    config_written: bool
    differences: tuple[str, ...]


def restore(home: Home, source: Path, *, force: bool = False, config: bool = False) -> Restored:
    """Put the backup *source* into *home*.

    Args:
        home: where to; its Redis, its passwords and its logs stay as they are.
        source: a file that `save` wrote.
        force: a home that has a database may be overwritten.
        config: put the host's configuration, and the files that it names, back too.

    Raises:
        BadInput: *source* is no whole backup, or of a newer release.
        Refused: the home is not empty, and *force* was not given; or its database is no SQLite file.
        Blocked: something of this home runs.
        ConfigError: something cannot be written.
    """
    target = database_file(home)
    with archive.opened(source) as found:
        _check_revision(found)
        if config and archive.CONFIG not in found.manifest.files:
            raise BadInput(f"{plain(found.name)} has no configuration.", hint="Leave --with-config out.")
        present = [Path(f"{target}{side}") for side in SIDES if os.path.lexists(f"{target}{side}")]
        others = _others(home, found) if config else {}
        if (present or others) and not force:
            what = "The home has a database already." if present else f"{next(iter(others.values()))} exists already."
            raise Refused(what, hint="With --force it is kept in a folder beside, and then replaced.")
        try:
            with _nothing_runs(home), work_folder(home) as folder:
                revision = _checked(found, folder)
                before = _keep(home, present, others)
                _swap(folder / archive.DATABASE, target)
                if config:
                    put_back(home.config, found.content(archive.CONFIG), _beside(found))
        except OSError as error:
            what = "The backup could not be put in place."
            raise ConfigError(what, why=f"{error.filename or target}: {error.strerror or error}.") from error
        made = found.manifest
        return Restored(revision, made.revision, made.created_at, before, config, _differences(home, target, found))


def _beside(found: Archive) -> dict[str, bytes]:
    """Return the files that the saved configuration names, by their paths beside it."""
    names = [name for name in found.manifest.files if name.startswith(archive.BESIDE)]
    return {name.removeprefix(archive.BESIDE): found.content(name) for name in names}


def _others(home: Home, found: Archive) -> dict[str, Path]:
    """Return the host's files that would be replaced, by their paths in the folder that keeps them."""
    wanted = {archive.CONFIG: home.config}
    wanted |= {f"beside/{name}": locate(home.config, name, Path(name).suffix) for name in _beside(found)}
    return {name: path for name, path in wanted.items() if os.path.lexists(path)}


@contextmanager
def _nothing_runs(home: Home) -> Iterator[None]:
    """Hold every lock of the home, so that nothing starts meanwhile."""
    home.ensure()
    with ExitStack() as stack:
        for name, what in HELD.items():
            lock = Lock(home.locks / name)
            if not lock.take():
                raise Blocked(f"{what}; nothing was changed.", hint="evoctl down")
            stack.enter_context(lock)
        yield


def _check_revision(found: Archive) -> None:
    if known(found.manifest.revision):
        return
    raise BadInput(
        f"{plain(found.name)} cannot be restored; nothing was changed.",
        why=f"Its database is of revision {plain(found.manifest.revision, 40)}, by release "
        f"{plain(found.manifest.program, 40)}; this release does not know it.",
        hint="Install that release or a newer one, and restore with it.",
    )


def _check_space(found: Archive, folder: Path) -> None:
    wanted, free = found.manifest.files[archive.DATABASE].size, shutil.disk_usage(folder).free
    if wanted > free:
        raise BadInput(
            f"{plain(found.name)} cannot be restored; nothing was changed.",
            why=f"Its database takes {wanted:,} bytes, and {free:,} are free.",
        )


def _checked(found: Archive, folder: Path) -> str:
    """Check every member, extract the database into *folder* and bring it to this release's revision."""
    _check_space(found, folder)
    found.check()
    fresh = folder / archive.DATABASE
    found.extract(archive.DATABASE, fresh)
    broken = BadInput(f"{plain(found.name)} cannot be restored; nothing was changed.", why="Its database is damaged.")
    engine = make_engine(f"sqlite:///{fresh}")
    try:
        _check_schema(found, fresh)
        with closing(sqlite3.connect(fresh)) as connection:
            check_whole(connection)
        if current(engine) != found.manifest.revision:
            raise broken
        upgrade(engine)
        revision = str(current(engine))
    except (sqlite3.Error, SQLAlchemyError) as error:
        raise broken from error
    finally:
        engine.dispose()
    _close(fresh)
    return revision


def _check_schema(found: Archive, fresh: Path) -> None:
    odd = strange(fresh, found.manifest.revision)
    if odd:
        raise BadInput(
            f"{plain(found.name)} cannot be restored; nothing was changed.",
            why=f"Its database {plain(odd, 120)}: it is not as this program makes one of revision {found.manifest.revision}.",
            hint="What is not ours may be a program. Where the backup is from, drop it and save again; `evoctl backup` says so.",
        )


def _close(path: Path) -> None:
    """Bring everything into the one file; fails while another connection is open."""
    with closing(sqlite3.connect(path, timeout=1.0)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _keep(home: Home, present: list[Path], others: dict[str, Path]) -> Path | None:
    """Copy what is about to be replaced; None when there is nothing."""
    if present:
        with suppress(sqlite3.DatabaseError):  # a damaged one is kept as it is
            _close_present(present[0])
    wanted = {path.name: path for path in present} | others
    if not wanted:
        return None
    folder = _new_folder(home)
    for name, path in wanted.items():
        if path.exists():
            (folder / name).parent.mkdir(mode=PRIVATE_DIR, parents=True, exist_ok=True)
            shutil.copy2(path, folder / name)
    sync_folder(folder)
    return folder


def _new_folder(home: Home) -> Path:
    name = f"{BEFORE}{now():%Y%m%dT%H%M%SZ}"
    for number in count(1):
        folder = home.root / (name if number == 1 else f"{name}-{number}")
        with suppress(FileExistsError):
            folder.mkdir(mode=PRIVATE_DIR)
            return folder
    raise AssertionError("there is always a next number")


def _close_present(path: Path) -> None:
    try:
        _close(path)
    except sqlite3.OperationalError as error:
        if "locked" not in str(error):
            raise
        why = "A page, a command or another program has it open."
        raise Blocked("The database is in use; nothing was changed.", why=why, hint="evoctl down") from error


def _swap(fresh: Path, target: Path) -> None:
    """Put *fresh* in the place of *target*; a log of the old database must not be read into the new one."""
    for side in SIDES[1:]:
        Path(f"{target}{side}").unlink(missing_ok=True)
    fresh.replace(target)
    sync_folder(target.parent)


def _differences(home: Home, target: Path, found: Archive) -> tuple[str, ...]:
    """Say where the configuration names other prompts than the restored database has in use."""
    said: list[str] = []
    if archive.CONFIG in found.manifest.files:
        try:
            same = read_bytes(home.config, MAX_BYTES) == found.content(archive.CONFIG)
        except ConfigError as trouble:
            same = True
            said.append(f"{trouble.what} With --with-config the backup's own is put back.")
        if not same:
            said.append(f"{home.config} is not the one in the backup; it was left as it is.")
    engine = make_engine(f"sqlite:///{target}")
    try:
        with sessions(engine)() as session:
            in_use = versions_in_use(session)
        skills = load_host_config(home.config).skills.values()
    except EvolutionError:
        return tuple(said)
    finally:
        engine.dispose()
    for spec in skills:
        version, template = in_use.get(spec.name, (spec.version, spec.template))
        if (version, template) != (spec.version, spec.template):
            names = f"{home.config.name} names version {spec.version} ({spec.template})"
            said.append(f"{spec.name}: {names}, the backup had version {version} ({template}) in use.")
    return tuple(said)
