"""Ballots: what waits to be voted on, and what a person may see of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import samples
from models.tables import BallotCardRow, BallotRow, SampleRow
from models.tallies import tally
from models.work_tables import RunRow
from pipeline.decision import cap, leader
from pipeline.domain import BallotId
from pipeline.explain import ahead
from pipeline.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A ballot as a person may see it: input and results, no arm, no prompt.

    Attributes:
        cards: texts in the order of their positions, counted from 1.
        votes, cap: how far the test is.
        outlook: further votes within which a quarter, and three quarters, of such tests are decided; None where unknown.
    """

    ballot: BallotId
    run: int
    skill: str
    fields: tuple[tuple[str, str], ...]
    cards: tuple[str, ...]
    votes: int
    cap: int
    outlook: tuple[int, int] | None = None


def next_ballot(session: Session, skill: str | None) -> Shown | None:
    """Return the oldest open ballot, of *skill* or of any; None when there is none."""
    query = (
        select(BallotRow, RunRow)
        .join(RunRow, RunRow.id == BallotRow.run_id)
        .where(BallotRow.outcome == "open", RunRow.ended_at.is_(None))
        .order_by(BallotRow.id)
        .limit(1)
    )
    if skill is not None:
        query = query.where(RunRow.skill_name == skill)
    found = session.execute(query).first()
    if found is None:
        return None
    ballot, run = found
    return shown(session, ballot, run)


def shown(session: Session, ballot: BallotRow, run: RunRow) -> Shown:
    """Return what a person may see of *ballot*."""
    sample, rules = session.get_one(SampleRow, ballot.sample_id), Rules.from_json(run.rules)
    counted = tally(session, run.id)
    first = leader(rules, counted)
    found = ahead(rules, counted, first) if first else None
    return Shown(
        ballot=BallotId(ballot.id),
        run=run.id,
        skill=run.skill_name,
        fields=samples.fields_of(sample),
        cards=tuple(card.output for card in cards(session, ballot.id)),
        votes=counted.votes,
        cap=cap(rules),
        outlook=(found.soonest, found.latest) if found else None,
    )


def count(session: Session, run: int, outcome: str = "") -> int:
    """Count the ballots of *run*, all or those of one outcome; a task on which all answers were equal is one too."""
    query = select(func.count()).where(BallotRow.run_id == run)
    return session.scalar(query.where(BallotRow.outcome == outcome) if outcome else query) or 0


def open_ballots(session: Session, run: int) -> int:
    """Count the ballots of *run* that wait for a vote."""
    return session.scalar(select(func.count()).where(BallotRow.run_id == run, BallotRow.outcome == "open")) or 0


def close_ballots(
    session: Session, run: int, now: datetime, *, outcome: str = "over", before: datetime | None = None
) -> None:
    """Take the ballots that nobody voted on away, all of them or those made *before* a time."""
    query = select(BallotRow).where(BallotRow.run_id == run, BallotRow.outcome == "open")
    for ballot in session.scalars(query if before is None else query.where(BallotRow.created_at <= before)):
        ballot.outcome, ballot.closed_at = outcome, now


def cards(session: Session, ballot: int) -> list[BallotCardRow]:
    """Return the cards of a ballot in the order they are shown."""
    return list(
        session.scalars(select(BallotCardRow).where(BallotCardRow.ballot_id == ballot).order_by(BallotCardRow.position))
    )
