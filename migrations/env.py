"""Alembic's entry: runs the revisions on the engine that `migrations.run` hands over, or on DATABASE_URL for the bare `alembic` command."""

from __future__ import annotations

import os
from typing import Any, Literal

from alembic import context
from alembic.autogenerate.api import AutogenContext
from sqlalchemy import Engine

import models.judge_tables
import models.search_tables
import models.tables
import models.watch_tables
import models.work_tables  # noqa: F401 - registers the other tables
from models.base import Base, UtcDateTime, make_engine


def _render_item(kind: str, value: Any, autogen: AutogenContext) -> str | Literal[False]:
    """Write our own type with its import, which autogenerate leaves out."""
    if kind == "type" and isinstance(value, UtcDateTime):
        autogen.imports.add("from models.base import UtcDateTime")
        return "UtcDateTime()"
    return False


def _run(engine: Engine) -> None:
    with engine.connect() as connection:
        context.configure(
            connection=connection,
            target_metadata=Base.metadata,
            render_as_batch=True,
            render_item=_render_item,
            compare_server_default=True,
        )
        with context.begin_transaction():
            context.run_migrations()
        connection.commit()


_engine = context.config.attributes.get("engine")
if _engine is None:
    _engine = make_engine(os.environ.get("DATABASE_URL", "sqlite:///evolution.db"))
    _run(_engine)
    _engine.dispose()
else:
    _run(_engine)
