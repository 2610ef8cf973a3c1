"""Ballots and votes. A vote is counted, and the test decided, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import ballot_inputs, prompts, steps
from models.ballots import cards as cards_of
from models.ballots import close_ballots, open_ballots
from models.runs import Bell, add_step, end_run
from models.tables import BallotCardRow, BallotRow, VoteRow
from models.tallies import arm_rows, tally
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline.decision import LIVE, Verdict
from pipeline.domain import Choice, Ending, Fate, Stage, StepState, Waiting
from pipeline.errors import BadInput, NotFound, Refused
from pipeline.policies import decide
from pipeline.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What a vote did.

    Attributes:
        fresh: False when the ballot had been voted on already; nothing was changed then.
        verdict: where the test stands now.
    """

    fresh: bool
    verdict: Verdict
    bells: tuple[Bell, ...]


def record_vote(
    session: Session,
    ballot_id: int,
    choice: Choice,
    *,
    position: int | None,
    voter: str,
    took_ms: int | None,
    now: datetime,
) -> Counted:
    """Count one answer and decide the test; voting twice on a ballot counts once.

    Raises:
        NotFound: there is no such ballot.
        BadInput: a pick without a position of this ballot.
        Refused: the test is over.
    """
    run_id = session.scalar(select(BallotRow.run_id).where(BallotRow.id == ballot_id))
    if run_id is None:
        raise NotFound(f"There is no ballot {ballot_id}.", hint="evoctl vote")
    _bandit_step(session, run_id)  # votes of one test come one after the other, or none would see the sum of both
    ballot, run = session.get_one(BallotRow, ballot_id), session.get_one(RunRow, run_id)
    if session.get(VoteRow, ballot_id) is not None:
        return Counted(fresh=False, verdict=_verdict(session, run, now), bells=())
    if ballot.outcome != "open" or run.ended_at is not None:
        raise Refused(f"Ballot {ballot_id} is closed.", why="The test it belongs to is over.", hint="evoctl vote")
    picked = _picked(session, ballot_id, position) if choice is Choice.PICK else None
    session.add(
        VoteRow(
            ballot_id=ballot_id, choice=choice, position=picked.position if picked else None, voter=voter[:100],
            took_ms=took_ms, task_success=picked.correct if picked else None, at=now,
        )
    )  # fmt: skip
    ballot.outcome, ballot.closed_at = "voted", now
    session.flush()
    verdict = _verdict(session, run, now)
    return Counted(fresh=True, verdict=verdict, bells=tuple(settle(session, run, verdict, now)))


def _picked(session: Session, ballot_id: int, position: int | None) -> BallotCardRow:
    cards = cards_of(session, ballot_id)
    if position and 1 <= position <= len(cards):
        return cards[position - 1]
    raise BadInput(f"A pick needs a position from 1 to {len(cards)}.", hint="Use a tie or none when no result is best.")


def undo_vote(session: Session, ballot_id: int) -> bool:
    """Take the newest vote of a test back: its ballot is open again.

    Returns:
        False when the ballot has no vote; nothing was changed then.

    Raises:
        NotFound: there is no such ballot.
        Refused: the test is decided, its comparison has begun anew, or a later vote was cast.
    """
    run_id = session.scalar(select(BallotRow.run_id).where(BallotRow.id == ballot_id))
    if run_id is None:
        raise NotFound(f"There is no ballot {ballot_id}.", hint="evoctl vote")
    step = _bandit_step(session, run_id)
    ballot, run = session.get_one(BallotRow, ballot_id), session.get_one(RunRow, run_id)
    given = session.get(VoteRow, ballot_id)
    if given is None:
        return False
    if run.ended_at is not None or step is None or step.state in (StepState.DONE, StepState.FAILED):
        raise Refused(
            f"The vote on ballot {ballot_id} has decided its test.",
            why="What follows from it is under way.",
            hint=f"evoctl results {run.skill_name}, evoctl rollback {run.skill_name}",
        )
    newest = session.scalar(
        select(VoteRow.ballot_id)
        .join(BallotRow, BallotRow.id == VoteRow.ballot_id)
        .where(BallotRow.run_id == run_id)
        .order_by(VoteRow.at.desc(), VoteRow.ballot_id.desc())
        .limit(1)
    )
    if newest != ballot_id or ballot.comparison != session.get_one(EvolutionRow, run_id).comparison:
        raise Refused("Only the newest vote of a test can be taken back.", hint=f"evoctl results {run.skill_name}")
    session.delete(given)
    ballot.outcome, ballot.closed_at, ballot.undone = "open", None, ballot.undone + 1
    session.flush()
    return True


def news(session: Session, skill: str, now: datetime) -> list[Bell]:
    """See whether new tasks change the skill's open test: in the live mode they may decide it, else become ballots."""
    run_id = session.scalar(
        select(EvolutionRow.run_id)
        .join(RunRow, RunRow.id == EvolutionRow.run_id)
        .where(RunRow.skill_name == skill, RunRow.ended_at.is_(None), EvolutionRow.voting_since.is_not(None))
        .limit(1)
    )
    if run_id is None:
        return []  # there is none, or its replay comes first
    _bandit_step(session, run_id)
    run = session.get_one(RunRow, run_id)
    if run.ended_at is not None:
        return []
    session.flush()
    return settle(session, run, _verdict(session, run, now), now)


def _verdict(session: Session, run: RunRow, now: datetime) -> Verdict:
    """Decide by the rules of the launch; nothing is decided against a prompt that is no longer in use."""
    verdict = decide(Rules.from_json(run.rules), tally(session, run.id, now), now)
    evolution = session.get(EvolutionRow, run.id)
    changed = prompts.changed_since(session, run, evolution.incumbent_sha) if evolution and run.ended_at is None else ""
    return replace(verdict, next=Waiting.FOR_VOTES, winner=None, reason=changed, due=now) if changed else verdict


def settle(session: Session, run: RunRow, verdict: Verdict, now: datetime) -> list[Bell]:
    """Act on a verdict: end the test and hand over to promotion, or see to it that there are ballots to vote on."""
    step = _bandit_step(session, run.id)
    if step is None or step.state in (StepState.DONE, StepState.FAILED):
        return []  # somebody else settled it
    if verdict.next is Waiting.FOR_VOTES:
        if verdict.due is not None:
            _look_again(step, verdict.due)
        bell = steps.wake(session, run.id, Stage.BANDIT, now) if _wants_ballots(session, run) else None
        return [bell] if bell else []
    step.state, step.epoch, step.updated_at = StepState.DONE, step.epoch + 1, now  # a job at work is fenced off
    close_test(session, run, verdict, now)
    if isinstance(verdict.next, Stage):
        return [add_step(session, run, verdict.next, now)]
    assert isinstance(verdict.next, Ending)
    end_run(run, verdict.next, verdict.reason, now)
    return []


def _look_again(step: StepRow, due: datetime) -> None:
    """Let the test be looked at when its verdict may change; a job at work looks again before it goes to sleep."""
    if step.state == StepState.RUNNING:
        step.dirty = True
    elif step.state == StepState.WAITING:
        step.due_at = due if step.due_at is None else min(step.due_at, due)


def close_test(session: Session, run: RunRow, verdict: Verdict, now: datetime) -> None:
    """Close open ballots and write what became of the arms."""
    close_ballots(session, run.id, now)
    for arm in arm_rows(session, run.id):
        arm.fate, arm.fate_reason = _fate(arm.variant_id, verdict), verdict.reason
    session.flush()


def _fate(variant: int, verdict: Verdict) -> Fate:
    if variant == verdict.winner:
        return Fate.WINNER
    return Fate.LOSER if variant in verdict.dropped else Fate.UNDECIDED


def _bandit_step(session: Session, run: int) -> StepRow | None:
    """Return the test's newest step, locked; everybody locks it before the run's ballots."""
    return session.scalar(
        select(StepRow)
        .where(StepRow.run_id == run, StepRow.stage == Stage.BANDIT)
        .order_by(StepRow.visit.desc())
        .limit(1)
        .with_for_update()
    )


def _wants_ballots(session: Session, run: RunRow) -> bool:
    voting = Rules.from_json(run.rules).settings.voting
    if voting.mode == LIVE or open_ballots(session, run.id) >= voting.open_ballots:
        return False
    # Under the write lock: a visit for nothing costs a second, a look at a long history as well.
    return ballot_inputs.any_left(session, run, from_history=voting.from_history, searched=False)
