"""The database of a home, opened for one piece of work and closed after it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from sqlalchemy import Engine, text
from sqlalchemy.exc import OperationalError, ProgrammingError
from sqlalchemy.orm import Session, sessionmaker

from models.base import SCHEMA, make_engine, sessions
from pipeline.errors import EvolutionError, Unreachable
from workers.home import Home


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
            raise _away(error) from error

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
            raise _away(error) from error


@contextmanager
def database(home: Home, *, check: bool = True) -> Iterator[Database]:
    """Open the home's database.

    Raises:
        Unreachable: it does not answer.
        EvolutionError: its tables are of another release.
    """
    engine = make_engine(home.database_url)
    try:
        opened = Database(engine, sessions(engine))
        if check:
            _check_schema(opened)
        yield opened
    finally:
        engine.dispose()


def _check_schema(opened: Database) -> None:
    try:
        with opened.read() as session:
            found = session.scalar(text("SELECT version_num FROM alembic_version"))
    except (ProgrammingError, Unreachable) as error:
        if isinstance(error, Unreachable) and "no such table" not in error.why:
            raise
        found = None
    if found != SCHEMA:
        raise EvolutionError(
            "The database has no tables yet."
            if found is None
            else f"The database is at revision {found}, not {SCHEMA}.",
            why="Its tables must be those of this release.",
            hint="evoctl migrate",
        )


def _away(error: OperationalError) -> Unreachable:
    return Unreachable("The database does not answer.", why=str(error.orig), hint="evoctl doctor")
