"""A run that was saved in the middle goes on in another home."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import select

from models.steps import claim
from models.tables import VariantRow
from pipeline.domain import StepState
from workers.backup import save
from workers.restore import restore


def finish(site: Any, bell: Any) -> list[tuple[str, str, int | None]]:
    """Let repair and worker do all there is to do; return the run's end and its variants."""
    for _ in range(20):
        site.reconcile()
        site.burst()
        if site.run(bell).ended_at is not None or site.step(bell).state == StepState.DONE:
            break
    with site.opened.read() as session:
        rows = session.scalars(select(VariantRow).order_by(VariantRow.ordinal)).all()
        return [(row.fate, row.prompt_text, row.fitness_correct) for row in rows]


def test_a_running_step_goes_on_where_the_backup_is_restored(build: Any, tmp_path: Path) -> None:
    """Saved while its step runs, the run ends in the other home as it does in the first."""
    one = build("one")
    bell = one.judging(3)
    with one.opened.write() as session:
        assert claim(session, bell.step, bell.attempt, datetime.now(UTC)) is not None
    save(one.home, tmp_path / "b.zip")
    first = finish(one, bell)

    two = build("two", server=one.server)
    two.opened.engine.dispose()
    restore(two.home, tmp_path / "b.zip", force=True)
    running = two.step(bell).state
    second = finish(two, bell)

    assert running == StepState.RUNNING
    assert second == first
    assert two.step(bell).state == one.step(bell).state == StepState.DONE
