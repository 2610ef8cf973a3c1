"""Loads of models that evolution caused, kept in the ledger beside the calls: one row each, with the role `Load`."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from models import steps
from models.journal import MODEL_ROLES
from models.steps import Claim
from models.work_tables import ModelCallRow, RunRow

LOAD = "Load"  # the role of such a row; it is no call, and counts in no budget
HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadsLine:
    """How often a run had a model loaded."""

    tag: str
    loads: int


def record_load(session: Session, mine: Claim, tag: str, now: datetime) -> None:
    """Enter a load that the next call causes, before it is asked: a call that is cut off has loaded all the same.

    Raises:
        Fenced: the claim is no longer the newest.
    """
    steps.fence(session, mine)
    sha = hashlib.sha256(f"load {tag}".encode()).hexdigest()
    before = session.scalar(
        select(func.max(ModelCallRow.occurrence)).where(
            ModelCallRow.run_id == mine.run, ModelCallRow.stage == mine.stage, ModelCallRow.visit == mine.visit,
            ModelCallRow.request_sha == sha,
        )
    )  # fmt: skip
    session.add(
        ModelCallRow(
            run_id=mine.run, stage=mine.stage, visit=mine.visit, request_sha=sha,
            occurrence=0 if before is None else before + 1, role=LOAD, tag=tag, outcome="answered", at=now,
        )
    )  # fmt: skip


def last_hour(session: Session, now: datetime) -> tuple[datetime, ...]:
    """Return when models were loaded in the last hour, the oldest first; only runs that were open then are looked at."""
    since = now - HOUR
    recent = select(RunRow.id).where(or_(RunRow.ended_at.is_(None), RunRow.ended_at > since))
    query = select(ModelCallRow.at).where(
        ModelCallRow.run_id.in_(recent), ModelCallRow.role == LOAD, ModelCallRow.at > since, ModelCallRow.at <= now
    )
    return tuple(session.scalars(query.order_by(ModelCallRow.at)))


def prompts_since_load(session: Session, run: int, tag: str) -> int:
    """Count the distinct requests that *run* has made to *tag* since it last had it loaded."""
    mine = (ModelCallRow.run_id == run, ModelCallRow.tag == tag)
    loaded = select(func.max(ModelCallRow.at)).where(*mine, ModelCallRow.role == LOAD).scalar_subquery()
    query = select(func.count(ModelCallRow.request_sha.distinct())).where(
        *mine, ModelCallRow.role.in_(MODEL_ROLES), or_(loaded.is_(None), ModelCallRow.at >= loaded)
    )
    return session.scalar(query) or 0


def of_run(session: Session, run: int) -> tuple[LoadsLine, ...]:
    """Return how often *run* had each model loaded."""
    query = select(ModelCallRow.tag, func.count()).where(ModelCallRow.run_id == run, ModelCallRow.role == LOAD)
    found = session.execute(query.group_by(ModelCallRow.tag).order_by(ModelCallRow.tag))
    return tuple(LoadsLine(tag=tag, loads=count) for tag, count in found)
