"""A run that was saved in the middle goes on in another home."""

from __future__ import annotations

import socket
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from models.feedback import Feedback
from models.steps import claim
from models.tables import VariantRow
from models.work_tables import RunRow
from pipeline.domain import Ending, StepState
from workers.backup import save
from workers.client import Evolution
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


def test_a_backup_from_elsewhere_chooses_neither_program_nor_server(build: Any, tmp_path: Path) -> None:
    """A run in it names a scorer and a server of its maker's: where it is restored, nothing is run and nobody asked.

    The run asks the server that this home's configuration names, and ends with the reason when it wants to score.
    """
    marker, one = tmp_path / "ran", build("one")
    with socket.create_server(("127.0.0.1", 0)) as theirs:
        one.configure(one.server.url, f"http://127.0.0.1:{theirs.getsockname()[1]}")
        one.configure("scorer: file-naming", f"scorer: 'command:touch {marker}'")
        with Evolution(one.home) as evolution:
            evolution.feedback("file-naming", [sample(number) for number in range(80)])
            run = evolution.enqueue("file-naming", force=True).run
        save(one.home, tmp_path / "b.zip")

        two = build("two")
        two.opened.engine.dispose()
        restore(two.home, tmp_path / "b.zip", force=True)
        two.settle()
        row = worked_off(two, run)

        theirs.setblocking(False)
        with pytest.raises(BlockingIOError):
            theirs.accept()
    assert not marker.exists()
    assert two.paid() > 0
    assert row.ending == Ending.CANCELLED
    assert row.ending_reason.startswith(f"it scores file-naming by command:touch {marker}, but config.yaml names")


def worked_off(site: Any, run: int) -> RunRow:
    """Let repair and worker do all there is to do; return the run's row."""
    for _ in range(20):
        site.reconcile()
        site.burst()
        with site.opened.read() as session:
            row = session.get_one(RunRow, run)
        if row.ended_at is not None:
            break
    return row


def sample(number: int) -> Feedback:
    """Return a task whose right answer is known."""
    fields = (("description", f"A grey cat number {number} on a red sofa"), ("original_name", f"img_{number}.png"))
    return Feedback(task_id=f"t{number}", fields=fields, output=f"cat-{number}.png", expected=f"grey-cat-{number}.png")
