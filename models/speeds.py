"""How fast this machine's models answer, from the ledger of calls that were made on it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models.journal import MODEL_ROLES
from models.work_tables import ModelCallRow, RunRow
from pipeline.costs import ASSUMED_S, MIN_CALLS
from pipeline.domain import Role
from pipeline.rules import Rules

LOOKED_AT = 5000  # newest calls of the ledger, a range of its primary key; older ones are of another time
RECENT = 200  # newest calls of one role and tag whose mean is taken


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """How long a call of one role takes with the tag that plays it.

    Attributes:
        seconds: of one call, on average.
        calls: measured ones that this is the mean of; 0 when it is assumed.
    """

    role: str
    tag: str
    seconds: float
    calls: int

    @property
    def measured(self) -> bool:
        """Whether it was measured on this machine; else it is an assumption."""
        return self.calls > 0


def speeds(session: Session, rules: Rules) -> tuple[Speed, ...]:
    """Return the speed of every role under *rules*: measured on this machine, or assumed where too few calls were.

    What a simulated server had a part in is left out: it says nothing of a real model.
    """
    measured = _measured(session)
    found: list[Speed] = []
    for role in Role:
        if not rules.tag(role):
            continue  # nobody plays it
        calls, seconds = measured.get((role, rules.tag(role)), (0, 0.0))
        enough = calls >= MIN_CALLS
        found.append(
            Speed(
                role=role,
                tag=rules.tag(role),
                seconds=seconds if enough else ASSUMED_S[role],
                calls=calls if enough else 0,
            )
        )
    return tuple(found)


def _measured(session: Session) -> Mapping[tuple[str, str], tuple[int, float]]:
    """Return by role and tag how many calls there are lately, and the mean of their seconds."""
    newest = select(func.max(ModelCallRow.id)).scalar_subquery()
    numbered = (
        select(
            ModelCallRow.role,
            ModelCallRow.tag,
            ModelCallRow.duration_ms,
            func.row_number()
            .over(partition_by=(ModelCallRow.role, ModelCallRow.tag), order_by=ModelCallRow.id.desc())
            .label("age"),
        )
        .join(RunRow, RunRow.id == ModelCallRow.run_id)
        .where(
            ModelCallRow.id > newest - LOOKED_AT,
            ModelCallRow.role.in_(MODEL_ROLES),
            ModelCallRow.outcome == "answered",
            RunRow.simulated.is_(False),
        )
        .subquery()
    )
    rows = session.execute(
        select(numbered.c.role, numbered.c.tag, func.count(), func.avg(numbered.c.duration_ms))
        .where(numbered.c.age <= RECENT)
        .group_by(numbered.c.role, numbered.c.tag)
    )
    return {(role, tag): (calls, float(ms) / 1000) for role, tag, calls, ms in rows}
