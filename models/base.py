"""What all tables share: the metadata with its naming convention, UTC times, and sessions."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Engine, MetaData, Result, Select, TypeDecorator, create_engine, event
from sqlalchemy.engine.url import make_url
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import DeclarativeBase, Session, sessionmaker

# Named constraints are what lets Alembic change them on SQLite (batch mode) and PostgreSQL alike.
NAMING = {
    "ix": "ix_%(column_0_N_label)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
SCHEMA = "0005"  # the revision these tables belong to; a test holds it equal to the newest migration
AT_ONCE = 200  # rows that `streamed` holds
BUSY_TIMEOUT_S = 10.0  # how long a writer waits for another one before "database is locked"


class Base(DeclarativeBase):
    """Root of all tables."""

    metadata = MetaData(naming_convention=NAMING)


class UtcDateTime(TypeDecorator[datetime]):
    """A moment, aware and in UTC on both sides; SQLite keeps it naive."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Refuse naive times; store UTC."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without a zone was about to be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002 - SQLAlchemy's signature
        """Give UTC back."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def make_engine(url: str) -> Engine:
    """Open a database.

    Errors name no parameters: those hold prompts and people's data. SQLite gets WAL, full synchronisation, foreign keys and an immediate write lock for every transaction begun through
    `sessions` (a deferred one could fail half way); PostgreSQL gets a ping before use, since it may have been restarted.
    """
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, pool_pre_ping=True, pool_size=2, max_overflow=4, hide_parameters=True)
    engine = create_engine(
        url, hide_parameters=True, connect_args={"timeout": BUSY_TIMEOUT_S, "check_same_thread": False}
    )
    event.listen(engine, "do_connect", _sqlite_create)
    event.listen(engine, "connect", _sqlite_connect)
    event.listen(engine, "begin", _sqlite_begin)
    return engine


def sessions(engine: Engine) -> sessionmaker[Session]:
    """Return a maker of sessions whose objects stay readable after the commit."""
    return sessionmaker(engine, expire_on_commit=False)


def insert_first(session: Session, row: Base) -> bool:
    """Insert *row* at once; False, with nothing changed, when another transaction was faster with the same key."""
    try:
        with session.begin_nested():
            session.add(row)
    except IntegrityError:
        return False
    return True


def _sqlite_create(_dialect: Any, _record: Any, args: list[Any], _named: Any) -> None:
    """Create the file that is missing, readable by its owner only: SQLite itself would let the umask decide.

    What SQLite puts beside it has its mode.
    """
    path = str(args[0]) if args else ""
    if path and path != ":memory:" and not path.startswith("file:"):
        with suppress(OSError):  # it is there, or connecting says what is wrong
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _sqlite_connect(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, see _sqlite_begin
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute("PRAGMA foreign_keys=ON")
    cursor.close()


def _sqlite_begin(connection: Any) -> None:
    # Readers opt out of the write lock with the execution option read_only=True.
    read_only = connection.get_execution_options().get("read_only", False)
    connection.exec_driver_sql("BEGIN" if read_only else "BEGIN IMMEDIATE")


@contextmanager
def streamed(session: Session, query: Select[*tuple[Any, ...]]) -> Iterator[Result[*tuple[Any, ...]]]:
    """Read the rows of *query* a few at a time; a reader that stops early leaves no cursor open on the server."""
    with closing(session.execute(query.execution_options(yield_per=AT_ONCE))) as rows:
        yield rows
