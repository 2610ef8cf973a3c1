"""The inputs of a test's ballots: which tasks may become some, and why none is left."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from datetime import timedelta

from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy.orm import Session

from models import contents
from models.ballots import open_ballots
from models.base import streamed
from models.replays import replayed_samples
from models.tables import BallotRow, SampleRow
from models.waits import OPEN
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline.decision import LIVE
from pipeline.domain import Split, Stage
from pipeline.explain import no_inputs_words
from pipeline.rules import Rules


def ballot_tasks(
    session: Session,
    run: RunRow,
    replayed: Collection[int],
    *,
    from_history: bool,
    limit: int,
    searched: bool = True,
) -> list[SampleRow]:
    """Return inputs that may become ballots of *run*: new tasks that were drawn first, then the history's held-out part.

    Each content once, and none that the search, the judge or the selection saw, that was *replayed* or that was on a
    ballot of this test: a vote on it would count the same answers a second time.
    """
    allowed: ColumnElement[bool] = SampleRow.ballot_wanted.is_(True) & (SampleRow.id > run.horizon)
    if from_history:
        allowed = or_(allowed, (SampleRow.split == Split.CONFIRM) & (SampleRow.id <= run.horizon))
    query = (
        select(SampleRow)
        .where(SampleRow.skill_name == run.skill_name, allowed, SampleRow.id.not_in(_on_ballots(run)))
        .order_by(SampleRow.id.desc())  # new ones first
    )
    found: list[SampleRow] = []
    with streamed(session, query) as rows:
        for row in _unused(session, run, replayed, rows.scalars(), searched=searched):
            found.append(row)
            if len(found) == limit:
                break
    return found


def any_left(session: Session, run: RunRow, *, from_history: bool, searched: bool = True) -> bool:
    """Tell whether a test whose replay is over has an input for another ballot.

    Args:
        session: open transaction.
        run: the test.
        from_history: also of the history.
        searched: leave out what the search saw, which reads the whole history; without it, the answer may be a yes too many.
    """
    used = replayed_samples(session.get(EvolutionRow, run.id))
    return bool(ballot_tasks(session, run, used, from_history=from_history, limit=1, searched=searched))


def starved(session: Session, run: RunRow) -> str:
    """Say why an open test waits for votes that cannot come; empty while they can."""
    rules, evolution = Rules.from_json(run.rules), session.get(EvolutionRow, run.id)
    voting = rules.settings.voting
    if run.ended_at is not None or evolution is None or evolution.voting_since is None or voting.mode == LIVE:
        return ""
    if (
        not evolution.replay
        or open_ballots(session, run.id)
        or any_left(session, run, from_history=voting.from_history)
    ):
        return ""
    balloted = session.scalar(select(func.count()).where(BallotRow.run_id == run.id)) or 0
    ends = evolution.voting_since + timedelta(days=voting.max_days)
    return no_inputs_words(run.skill_name, len(replayed_samples(evolution)), balloted, ends)


def all_starved(session: Session, skill: str | None) -> tuple[str, ...]:
    """Say of every open test, of *skill* or of any, why it waits for votes that cannot come."""
    query = (
        select(RunRow)
        .join(StepRow, StepRow.run_id == RunRow.id)
        .where(RunRow.ended_at.is_(None), StepRow.stage == Stage.BANDIT, StepRow.state.in_(OPEN))
        .order_by(RunRow.id)
    )
    if skill is not None:
        query = query.where(RunRow.skill_name == skill)
    return tuple(words for run in session.scalars(query).all() if (words := starved(session, run)))


def _unused(
    session: Session, run: RunRow, replayed: Collection[int], rows: Iterable[SampleRow], *, searched: bool
) -> Iterator[SampleRow]:
    """Yield rows whose content this test has not used; what it has used is read only when there is a row."""
    content, used = contents.reader(session, run.skill_name), None
    for row in rows:
        if used is None:
            balloted = session.scalars(_on_ballots(run)).all()
            used = contents.of_samples(session, run.skill_name, {*replayed, *balloted})
            if searched:
                used |= contents.searched(session, run.skill_name, run.horizon)
        if (one := content(row.fields)) not in used:
            used.add(one)
            yield row


def _on_ballots(run: RunRow) -> Select[int]:
    return select(BallotRow.sample_id).where(BallotRow.run_id == run.id)
