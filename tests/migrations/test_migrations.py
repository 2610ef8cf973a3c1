"""The migrations: there and back, and never apart from the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from sqlalchemy import Engine, inspect, text

from migrations import run
from models.base import SCHEMA, Base, make_engine


@pytest.fixture(name="engine")
def _engine(database_url: str) -> Iterator[Engine]:
    """Return an engine on an empty database."""
    engine = make_engine(database_url)
    yield engine
    engine.dispose()


def test_an_upgraded_database_equals_the_tables(engine: Engine) -> None:
    """After all revisions, the database has what the models say: nothing less, nothing more."""
    run.upgrade(engine)

    assert run.differences(engine) == []
    assert set(inspect(engine).get_table_names()) == {*Base.metadata.tables, "alembic_version"}


def test_up_down_and_up_again_loses_nothing(engine: Engine) -> None:
    """Going down to the base removes every table, and the way up works again."""
    run.upgrade(engine)
    run.downgrade(engine, "base")

    assert set(inspect(engine).get_table_names()) == {"alembic_version"}
    assert run.current(engine) is None

    run.upgrade(engine)

    assert run.differences(engine) == []
    assert run.current(engine) == run.head()


def test_upgrading_twice_changes_nothing(engine: Engine) -> None:
    """A database that is already there stays as it is."""
    run.upgrade(engine)
    run.upgrade(engine)

    assert run.current(engine) == run.head()
    assert run.differences(engine) == []


def test_a_missing_table_is_noticed(engine: Engine) -> None:
    """The comparison is no formality: without one table it finds a difference."""
    run.upgrade(engine)
    with engine.begin() as connection:
        connection.exec_driver_sql("DROP TABLE votes")

    assert run.differences(engine) != []


def test_every_constraint_has_its_conventional_name(engine: Engine) -> None:
    """Later revisions change constraints by name, so the database must know them by the name of the convention."""
    run.upgrade(engine)
    look = inspect(engine)

    for table in Base.metadata.tables.values():
        assert look.get_pk_constraint(table.name)["name"] == f"pk_{table.name}"
        assert all(str(key["name"]).startswith(f"fk_{table.name}_") for key in look.get_foreign_keys(table.name))
        assert all(str(c["name"]).startswith(f"uq_{table.name}_") for c in look.get_unique_constraints(table.name))


def test_the_tables_name_the_newest_revision() -> None:
    """`models.base.SCHEMA`, which every process compares with its database, is the newest migration."""
    assert run.head() == SCHEMA


def test_a_search_under_way_goes_on_as_it_began(engine: Engine) -> None:
    """A database of the first revision keeps its rows, and its open searches the loop that they began with."""
    run.upgrade(engine, "0001")
    kept = {"settings": {"search": {"population": 8}}, "skill": {"name": "x"}}
    with engine.begin() as connection:
        connection.execute(text("INSERT INTO skills (name, created_at, check_reason) VALUES ('x', '2026-11-20', '')"))
        for ended in (None, "2026-11-20"):
            connection.execute(
                text(
                    "INSERT INTO runs (skill_name, kind, trigger, forced, reason, seed, rules, version, horizon, simulated,"
                    " created_at, ended_at, ending, ending_reason) VALUES ('x', 'evolution', 'person', :no, '', 1, :rules, 1,"
                    " 0, :no, '2026-11-20', :ended, '', '')"
                ),
                {"no": False, "rules": json.dumps(kept), "ended": ended},
            )

    run.upgrade(engine)

    with engine.connect() as connection:
        rules = [json.loads(row) for row in connection.execute(text("SELECT rules FROM runs ORDER BY id")).scalars()]
    assert rules[0]["settings"]["search"] == {"population": 8, "mode": "promptbreeder"}
    assert rules[1] == kept
    assert run.differences(engine) == []
