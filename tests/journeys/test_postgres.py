"""The same pipeline on PostgreSQL, named by one URL."""

from __future__ import annotations

import os
from typing import Any

import pytest
from sqlalchemy import create_engine, text


@pytest.mark.postgres
@pytest.mark.timeout(180)
def test_the_whole_pipeline_runs_on_postgresql(start_journey: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """With DATABASE_URL set, a journey comes to the same kind of end, and no SQLite file is made."""
    server = os.environ["EVOCTL_TEST_POSTGRES"]
    admin = create_engine(server, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.execute(text("DROP DATABASE IF EXISTS evolution_journey WITH (FORCE)"))
        connection.execute(text("CREATE DATABASE evolution_journey"))
    monkeypatch.setenv("DATABASE_URL", server.rpartition("/")[0] + "/evolution_journey")
    try:
        with start_journey() as journey:
            journey.begin()
            journey.until(lambda: journey.run().ended_at is not None, "the end")

            assert journey.run().ending in ("promoted", "kept-incumbent")
            assert not (journey.scene.home.root / "evolution.db").exists()
    finally:
        with admin.connect() as connection:
            connection.execute(text("DROP DATABASE IF EXISTS evolution_journey WITH (FORCE)"))
        admin.dispose()
