"""Compare what a database is made of with what this program makes: a trigger or a view of somebody else's is a program."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

from migrations.run import upgrade
from models.base import make_engine

STATISTICS = {  # what ANALYZE leaves
    ("table", "sqlite_stat1"): "CREATE TABLE sqlite_stat1(tbl,idx,stat)",
    ("table", "sqlite_stat4"): "CREATE TABLE sqlite_stat4(tbl,idx,neq,nlt,ndlt,sample)",
}
PARTS = "SELECT type, name, tbl_name, sql FROM sqlite_master"

Schema = dict[tuple[str, str], str]


def strange(path: Path, revision: str) -> str:
    """Say in what a SQLite file differs from a fresh database of *revision*, in one part of it; empty when in none.

    Nothing in the file is run or evaluated.

    Raises:
        sqlite3.DatabaseError: the file cannot be read.
    """
    with closing(sqlite3.connect(path)) as connection:
        found = _read(connection.execute(PARTS).fetchall())
    ours = _ours(revision)
    for (kind, name), sql in found.items():
        if ours.get((kind, name), STATISTICS.get((kind, name))) != sql:
            return f"has the {kind} {name}{', but made otherwise' if (kind, name) in ours else ''}"
    return next((f"lacks the {kind} {name}" for kind, name in ours if (kind, name) not in found), "")


def _ours(revision: str) -> Schema:
    engine = make_engine("sqlite://")
    try:
        upgrade(engine, revision)
        with engine.connect() as connection:
            return _read([tuple(row) for row in connection.exec_driver_sql(PARTS)])
    finally:
        engine.dispose()


def _read(rows: list[tuple[str, ...]]) -> Schema:
    """Key what SQLite wrote down by kind and name; white space in it differs between releases of what writes it."""
    return {
        (str(kind), str(name)): " ".join(str(sql).split()) if sql else f"on {table}" for kind, name, table, sql in rows
    }
