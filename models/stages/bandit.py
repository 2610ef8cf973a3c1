"""Load and save for stage 5, bandit."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import prompts, samples, votes
from models.steps import Claim
from models.tables import BallotCardRow, BallotRow
from models.work_tables import EvolutionRow, RunRow
from pipeline.bandit import Ballot, BanditCase, BanditDecision, Task
from pipeline.domain import SampleId, Split, Waiting

_TASKS = 60  # inputs looked at in one visit; many of them may give equal results, which need no vote
_REPORT_ITEMS = 60  # samples that every arm is run on for the report


def load_bandit(session: Session, mine: Claim, now: datetime) -> BanditCase:
    """Read the votes so far, the inputs that may become ballots, and the samples for the report."""
    run, evolution = session.get_one(RunRow, mine.run), session.get_one(EvolutionRow, mine.run)
    tasks = samples.ballot_tasks(
        session, mine.skill, mine.run, from_history=mine.rules.settings.voting.from_history, limit=_TASKS
    )
    return BanditCase(
        rules=mine.rules,
        seed=mine.seed,
        now=now,
        template=prompts.template_of(session, mine.skill, run.version),
        tally=votes.tally(session, mine.run),
        tasks=tuple(Task(sample=SampleId(row.id), fields=samples.fields_of(row)) for row in tasks),
        open_ballots=votes.open_ballots(session, mine.run),
        report_items=samples.items(
            session, mine.skill, Split.REPORT, horizon=run.horizon, limit=_REPORT_ITEMS, seed=mine.seed
        ),
        reported=bool(evolution.report),
    )


def save_bandit(session: Session, mine: Claim, decision: BanditDecision, now: datetime) -> None:
    """Write ballots and the report; when the votes (or the calendar) have decided, close the test."""
    evolution = session.get_one(EvolutionRow, mine.run)
    evolution.voting_since = evolution.voting_since or now
    if decision.report:
        evolution.report = json.dumps({str(v): [int(ok) for ok in result.correct] for v, result in decision.report})
    for ballot in decision.ballots:
        _add_ballot(session, mine.run, ballot, now)
    if decision.next is not Waiting.FOR_VOTES:
        votes.close_test(session, session.get_one(RunRow, mine.run), decision.verdict, now)


def report_of(evolution: EvolutionRow) -> dict[int, tuple[int, ...]]:
    """Return, per variant id (0 is the incumbent), one flag per untouched sample: 1 right, 0 wrong."""
    data = json.loads(evolution.report) if evolution.report else {}
    return {int(variant): tuple(flags) for variant, flags in data.items()}


def _add_ballot(session: Session, run: int, ballot: Ballot, now: datetime) -> None:
    if session.scalar(select(BallotRow.id).where(BallotRow.run_id == run, BallotRow.sample_id == ballot.sample)):
        return
    equal = len(ballot.cards) == 1
    row = BallotRow(
        run_id=run, sample_id=ballot.sample, created_at=now, closed_at=now if equal else None,
        outcome="equal" if equal else "open",
    )  # fmt: skip
    session.add(row)
    session.flush()
    for position, card in enumerate(ballot.cards, start=1):
        arms = ",".join(str(int(arm)) for arm in card.arms)
        session.add(BallotCardRow(ballot_id=row.id, position=position, output=card.output, arms=arms))
    session.flush()
