"""backup, restore and gc as a person calls them, and promotions that something stands in the way of."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import select, text

from models.steps import advance, claim, wake
from models.tables import VariantRow
from models.work_tables import RunRow, StepRow
from pipeline.domain import Fate, Stage
from workers.clock import now
from workers.lock import UP_LOCK, Lock
from workers.stage import work


def test_backup_restore_and_gc_say_what_they_did(evoctl: Any, host: Any, trial: Any, tmp_path: Path) -> None:
    """The words and the JSON name file, versions and the folder with what was there before."""
    file = str(tmp_path / "b.zip")
    trial.evolution.database.engine.dispose()

    saved = evoctl("backup", file, "--json").data
    again, stopped = evoctl("backup", file), evoctl("restore", file)
    done = evoctl("restore", file, "--force")
    listed = evoctl("gc", "--dry-run", "--older-than", "0")

    assert (saved["versions"], saved["revision"]) == (1, done.out.partition("revision ")[2][:4])
    assert (again.code, stopped.code, done.code, listed.code) == (4, 4, 0, 0)
    assert "What was there before is in" in done.out
    assert "before-restore-" in listed.out
    assert len(trial.evolution.next_ballot().cards) == 3


def test_a_backup_that_restore_would_refuse_is_told_at_once(evoctl: Any, trial: Any, tmp_path: Path) -> None:
    """An index of somebody else's: the person hears of it while the database can still be mended."""
    with trial.evolution.database.write() as session:
        session.execute(text("CREATE INDEX my_report ON samples (created_at)"))
    trial.evolution.database.engine.dispose()

    saved = evoctl("backup", str(tmp_path / "b.zip"))

    assert saved.code == 0
    assert "has the index my_report, which is not ours: restore will refuse this backup" in saved.err
    assert evoctl("restore", str(tmp_path / "b.zip"), "--force").code == 2


def test_restore_while_up_runs_is_blocked(evoctl: Any, host: Any, tmp_path: Path) -> None:
    """Exit code 8, and the command that helps."""
    evoctl("backup", str(tmp_path / "b.zip"))
    lock = Lock(host.locks / UP_LOCK)
    assert lock.take()

    with lock:
        said = evoctl("restore", str(tmp_path / "b.zip"), "--force")

    assert said.code == 8
    assert "evoctl down" in said.err


def test_backup_of_a_server_names_its_own_tool(evoctl: Any, host: Any, monkeypatch: Any) -> None:
    """PostgreSQL is refused with the pg_dump line, without the password."""
    monkeypatch.setenv("DATABASE_URL", "postgresql+psycopg://me:secret@127.0.0.1:1/evolution")

    said = evoctl("backup", "b.zip")

    assert said.code == 4
    assert "pg_dump" in said.err
    assert "postgresql://me@127.0.0.1:1/evolution" in said.err
    assert "secret" not in said.err


def test_a_promotion_waits_for_a_read_only_file(evoctl: Any, host: Any, trial: Any) -> None:
    """Nothing is lost: the run waits, status says why, and it ends promoted when the file may be written."""
    before = host.config.read_bytes()
    host.config.chmod(0o444)

    with trial.evolution.database.write() as session:
        wake(session, trial.run, Stage.BANDIT, now())
        step = session.scalars(select(StepRow).where(StepRow.run_id == trial.run)).one()
        mine = claim(session, step.id, step.attempt, now())
        assert mine is not None
        session.get_one(VariantRow, trial.variants[0]).fate = Fate.WINNER
        (bell,) = advance(session, mine, Stage.PROMOTE, now())
    work(host, Stage.PROMOTE, bell.step, bell.attempt)
    status = evoctl("runs", "--json").out
    with trial.evolution.database.read() as session:
        step = session.scalars(select(StepRow).where(StepRow.stage == Stage.PROMOTE)).one()
    kept = host.config.read_bytes()
    host.config.chmod(0o644)
    work(host, Stage.PROMOTE, step.id, step.attempt)

    assert "is read-only" in step.waiting_for
    assert "is read-only" in status
    assert kept == before
    with trial.evolution.database.read() as session:
        assert session.get_one(RunRow, step.run_id).ending == "promoted"
    assert trial.evolution.rules("file-naming").skill.version == 2


def test_a_deleted_old_prompt_comes_back_from_the_database(evoctl: Any, host: Any, trial: Any) -> None:
    """A rollback writes the file again; one that a person corrected meanwhile stays as the person left it."""
    old = trial.evolution.rules("file-naming").skill.template
    text = (host.config.parent / old).read_text(encoding="utf-8")
    evoctl("promote", "file-naming", "variant_a", "--yes")
    (host.config.parent / old).unlink()

    assert evoctl("rollback", "file-naming", "--to", "v1", "--yes", "--json").data["version"] == 1

    assert (host.config.parent / old).read_text(encoding="utf-8") == text
