"""The database of a home, opened for one piece of work and closed after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session, sessionmaker

from models.base import SCHEMA, make_engine, sessions
from pipeline.errors import OtherRelease, Unreachable
from workers.home import Home
from workers.trouble import of_database


@dataclass(frozen=True, slots=True)
class Database:
    """An open database."""

    engine: Engine
    maker: sessionmaker[Session]

    @contextmanager
    def write(self) -> Iterator[Session]:
        """Open a transaction that is committed at the end of the block.

        Raises:
            Unreachable: the database is locked or away.
        """
        try:
            with self.maker.begin() as session:
                yield session
        except OperationalError as error:
            raise of_database(error.orig) from error

    @contextmanager
    def read(self) -> Iterator[Session]:
        """Open a transaction that takes no write lock and is rolled back.

        Raises:
            Unreachable: the database is locked or away.
        """
        try:
            with self.maker() as session:
                session.connection(execution_options={"read_only": True})
                yield session
        except OperationalError as error:
            raise of_database(error.orig) from error


@contextmanager
def database(home: Home, *, check: bool = True) -> Iterator[Database]:
    """Open the home's database.

    Raises:
        Unreachable: it does not answer.
        OtherRelease: its tables are of another release.
    """
    engine = make_engine(home.database_url)
    try:
        opened = Database(engine, sessions(engine))
        if check:
            check_release(opened)
        yield opened
    finally:
        engine.dispose()


def check_release(opened: Database) -> None:
    """Check that the tables are those of this program; nothing is written.

    Raises:
        Unreachable: the database does not answer.
        OtherRelease: they are not, and what to do.
    """
    try:
        with opened.read() as session:
            found = session.scalar(text("SELECT version_num FROM alembic_version"))
    except (ProgrammingError, Unreachable) as error:
        if isinstance(error, Unreachable) and "no such table" not in error.why:
            raise
        found = None
    if found != SCHEMA:
        raise other_release(found)


def other_release(found: str | None) -> OtherRelease:
    """Return the error of a database that is at revision *found*, None for one without tables."""
    if found is None:
        what, hint = "The database has no tables yet.", "evoctl migrate"
    elif is_newer(found):
        what = f"The database is at revision {found}, which is newer than this program's {SCHEMA}."
        hint = "Use the newer program again, or restore a backup from before it. Nothing was written."
    else:
        what, hint = f"The database is at revision {found}, not {SCHEMA}.", "evoctl up, or evoctl migrate"
    return OtherRelease(what, why="Its tables must be those of this release.", hint=hint)


def is_newer(found: str) -> bool:
    """Tell whether a revision is one that this program does not know; they are numbered.

    >>> is_newer("0001"), is_newer(SCHEMA), is_newer("9999"), is_newer("ae1027a6acf")
    (False, False, True, True)
    """
    return not found.isdecimal() or found > SCHEMA
