"""Save a home in one file while everything runs: its database, the host's configuration and every prompt version.

Passwords and tokens are files of the home that are never read here.
"""

from __future__ import annotations

import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from urllib.parse import quote

from sqlalchemy.engine.url import URL, make_url

from migrations.run import current
from models.base import BUSY_TIMEOUT_S, make_engine, sessions
from models.prompts import every_text
from pipeline.errors import ConfigError, EvolutionError, Refused, Unreachable
from pipeline.skills import NAME
from workers import archive
from workers.clock import now
from workers.home import APP, Home
from workers.host_templates import locate
from workers.schema import strange
from workers.yaml_tree import MAX_BYTES, decode, parse, plain, read_bytes

TEMPORARY = ".tmp-"  # begins the name of every folder in the home that only lives for one call
FILES = {"prompt_template": ".md", "schema": ".json"}  # keys of a skill's entry that name a file


@dataclass(frozen=True, slots=True)
class Saved:
    """A backup that was written.

    Attributes:
        size: bytes of the file.
        versions: prompt versions in it, also as plain files.
        strange: what in its database is not ours, so that it will not be restored; empty when nothing is.
    """

    path: Path
    size: int
    versions: int
    manifest: archive.Manifest
    strange: str = ""


def save(home: Home, target: Path, *, force: bool = False) -> Saved:
    """Write a backup of *home* to *target*; writers go on meanwhile, and what they commit later is not in it.

    Raises:
        Refused: *target* exists, or the database is no SQLite file.
        Unreachable: the database cannot be read.
        ConfigError: *target* cannot be written.
    """
    source = database_file(home)
    if not source.is_file():
        raise Refused("There is no database to save.", why=f"{source} does not exist.", hint="evoctl init")
    members: dict[str, bytes | Path] = {}
    try:
        with work_folder(home) as folder:
            snapshot = folder / archive.DATABASE
            copy_database(source, snapshot)
            revision, versions = _texts(snapshot)
            odd = strange(snapshot, revision)
            members[archive.DATABASE] = snapshot
            members |= _host_files(home.config)
            members |= versions
            facts = {"revision": revision, "program": version(APP), "created_at": f"{now():%Y-%m-%dT%H:%M:%SZ}"}
            manifest = archive.write(target, members, facts, force=force)
    except OSError as error:
        what = f"The backup {plain(str(target), 400)} cannot be written."
        raise ConfigError(what, why=f"{error.filename or target}: {error.strerror or error}.") from error
    return Saved(target, target.stat().st_size, len(versions), manifest, odd)


def database_file(home: Home) -> Path:
    """Return the SQLite file of *home*.

    Raises:
        Refused: the database is no file; the hint is what saves it.
    """
    url = make_url(home.database_url)
    if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
        return Path(str(url.database)).absolute()
    shown = URL.create("postgresql", url.username, host=url.host, port=url.port, database=url.database)
    raise Refused(
        "Only a SQLite database is saved and restored here.",
        why="DATABASE_URL names a server, which has its own tools for that.",
        hint=f"pg_dump --format=custom --file=evolution.dump --dbname='{shown}'   and later pg_restore",
    )


@contextmanager
def work_folder(home: Home) -> Iterator[Path]:
    """Make a private folder in the home for one call; `evoctl gc` removes those of killed calls."""
    folder = Path(tempfile.mkdtemp(prefix=TEMPORARY, dir=home.ensure().root))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def copy_database(source: Path, target: Path) -> None:
    """Copy a SQLite file that is in use, as it is at one moment, into one file without a log beside it.

    Raises:
        Unreachable: it cannot be read, or is damaged.
    """
    address = f"file:{quote(str(source))}?mode=rw"  # no new file where there is none
    try:
        with (
            closing(sqlite3.connect(address, uri=True, timeout=BUSY_TIMEOUT_S)) as old,
            closing(sqlite3.connect(target)) as new,
        ):
            target.chmod(0o600)
            old.backup(new)  # all pages in one step: one moment, whoever writes meanwhile
            new.execute("PRAGMA journal_mode=DELETE")
            check_whole(new)
    except sqlite3.Error as error:
        raise Unreachable("The database cannot be read.", why=f"{error}.", hint="evoctl doctor") from error


def check_whole(connection: sqlite3.Connection) -> None:
    """Let SQLite check every page of a database.

    Raises:
        sqlite3.DatabaseError: one is damaged.
    """
    (found,) = connection.execute("PRAGMA integrity_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(f"the database is damaged: {plain(str(found))}")


def _texts(snapshot: Path) -> tuple[str, dict[str, bytes | Path]]:
    """Return the revision, and each version's text under the name that it gets in the archive."""
    engine = make_engine(f"sqlite:///{snapshot}")
    try:
        revision = current(engine)
        if revision is None:
            raise Refused("The database has no tables yet.", hint="evoctl migrate")
        with sessions(engine)() as session:
            found = every_text(session)
    finally:
        engine.dispose()
    with closing(sqlite3.connect(snapshot)) as connection:  # the engine left it with a log beside it
        connection.execute("PRAGMA journal_mode=DELETE")
    return revision, {
        f"versions/{skill}/v{number}.md": text.encode("utf-8", "surrogatepass")
        for skill, number, text in found
        if NAME.fullmatch(skill)
    }


def _host_files(config: Path) -> dict[str, bytes | Path]:
    """Read the configuration and the files that it names; what cannot be read is left out, as the host leaves it out."""
    found: dict[str, bytes | Path] = {}
    with suppress(ConfigError):
        content = read_bytes(config, MAX_BYTES)
        found[archive.CONFIG] = content
        document = parse(decode(content, config.name), config.name)
        sections = document.entries(document.root, config.name) if document.root else ()
        skills = next((one for one in sections if one.name == "skills"), None)
        for skill in document.entries(skills.value, "skills") if skills else ():
            for entry in document.entries(skill.value, skill.name):
                with suppress(EvolutionError):
                    if entry.name in FILES:
                        name = str(document.scalar(entry, entry.name))
                        path = locate(config, name, FILES[entry.name])
                        found[f"{archive.BESIDE}{name}"] = read_bytes(path, MAX_BYTES)
    return found
