"""What open steps wait for: one light question, for a page that loads none of what the reports need."""

from __future__ import annotations

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.steps import MADE_ROOM
from models.work_tables import StepRow
from pipeline.domain import StepState

OPEN = (StepState.READY, StepState.RUNNING, StepState.WAITING)


def waits(session: Session) -> tuple[tuple[int, str, str], ...]:
    """Return run, stage and words of each step that waits, oldest first."""
    found = select(StepRow.run_id, StepRow.stage, StepRow.waiting_for).where(
        StepRow.state.in_(OPEN), StepRow.waiting_for.not_in(("", *MADE_ROOM))
    )
    return tuple((run, stage, words) for run, stage, words in session.execute(found.order_by(StepRow.id)))
