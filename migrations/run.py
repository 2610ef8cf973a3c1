"""Bring a database to a revision, and tell whether it is there. Works from an installed wheel: no alembic.ini is read."""

from __future__ import annotations

from importlib.resources import files

from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Engine

import models.judge_tables
import models.search_tables
import models.tables
import models.watch_tables
import models.work_tables  # noqa: F401 - registers the other tables
from models.base import Base


def upgrade(engine: Engine, revision: str = "head") -> None:
    """Bring the database of *engine* up to *revision*."""
    command.upgrade(_config(engine), revision)


def downgrade(engine: Engine, revision: str) -> None:
    """Bring the database of *engine* down to *revision* (`base` empties it)."""
    command.downgrade(_config(engine), revision)


def current(engine: Engine) -> str | None:
    """Return the database's revision, None when it has none."""
    with engine.connect() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """Return the newest revision that this program knows."""
    newest = ScriptDirectory.from_config(_config(None)).get_current_head()
    assert newest is not None
    return newest


def known(revision: str) -> bool:
    """Tell whether this program has *revision* among its own, so that it can bring a database from there to the newest."""
    script = ScriptDirectory.from_config(_config(None))
    return any(one.revision == revision for one in script.walk_revisions())


def differences(engine: Engine) -> list[object]:
    """List what the database lacks or has too much against the tables in `models`; empty when they agree."""
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        return list(compare_metadata(context, Base.metadata))


def _config(engine: Engine | None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(files("migrations")))
    if engine is not None:
        config.attributes["engine"] = engine
    return config
