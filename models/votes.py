"""Ballots and votes. A vote is counted, and the test decided, in one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import samples, steps
from models.runs import Bell, add_step, end_run
from models.tables import BallotCardRow, BallotRow, SampleRow, VariantRow, VoteRow
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline.bandit import Arm, Tally, Verdict, decide
from pipeline.domain import BallotId, Choice, Ending, Fate, Stage, StepState, VariantId, Waiting
from pipeline.errors import BadInput, NotFound, Refused
from pipeline.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A ballot as a person may see it: input and results, no arm, no prompt.

    Attributes:
        cards: texts in the order of their positions, counted from 1.
        votes, cap: how far the test is.
    """

    ballot: BallotId
    run: int
    skill: str
    fields: tuple[tuple[str, str], ...]
    cards: tuple[str, ...]
    votes: int
    cap: int


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
    sample = session.get_one(SampleRow, ballot.sample_id)
    return Shown(
        ballot=BallotId(ballot.id),
        run=run.id,
        skill=run.skill_name,
        fields=samples.fields_of(sample),
        cards=tuple(card.output for card in _cards(session, ballot.id)),
        votes=tally(session, run.id).votes,
        cap=Rules.from_json(run.rules).settings.voting.max_votes,
    )


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
    rules = Rules.from_json(run.rules)
    if session.get(VoteRow, ballot_id) is not None:
        return Counted(fresh=False, verdict=decide(rules, tally(session, run.id), now), bells=())
    if ballot.outcome != "open" or run.ended_at is not None:
        raise Refused(f"Ballot {ballot_id} is closed.", why="The test it belongs to is over.", hint="evoctl vote")
    cards = len(_cards(session, ballot_id))
    if choice is Choice.PICK and not (position and 1 <= position <= cards):
        raise BadInput(f"A pick needs a position from 1 to {cards}.", hint="Use a tie or none when no result is best.")
    session.add(
        VoteRow(
            ballot_id=ballot_id, choice=choice, position=position if choice is Choice.PICK else None, voter=voter[:100],
            took_ms=took_ms, at=now,
        )
    )  # fmt: skip
    ballot.outcome, ballot.closed_at = "voted", now
    session.flush()
    verdict = decide(rules, tally(session, run.id), now)
    return Counted(fresh=True, verdict=verdict, bells=tuple(settle(session, run, verdict, now)))


def settle(session: Session, run: RunRow, verdict: Verdict, now: datetime) -> list[Bell]:
    """Act on a verdict: end the test and hand over to promotion, or see to it that there are ballots to vote on."""
    step = _bandit_step(session, run.id)
    if step is None or step.state in (StepState.DONE, StepState.FAILED):
        return []  # somebody else settled it
    if verdict.next is Waiting.FOR_VOTES:
        bell = steps.wake(session, run.id, Stage.BANDIT, now) if _wants_ballots(session, run) else None
        return [bell] if bell else []
    step.state, step.epoch, step.updated_at = StepState.DONE, step.epoch + 1, now  # a job at work is fenced off
    close_test(session, run, verdict, now)
    if isinstance(verdict.next, Stage):
        return [add_step(session, run, verdict.next, now)]
    assert isinstance(verdict.next, Ending)
    end_run(run, verdict.next, verdict.reason, now)
    return []


def close_test(session: Session, run: RunRow, verdict: Verdict, now: datetime) -> None:
    """Close open ballots and write what became of the arms."""
    close_ballots(session, run.id, now)
    for arm in _arm_rows(session, run.id):
        arm.fate, arm.fate_reason = _fate(arm.variant_id, verdict), verdict.reason
    session.flush()


def close_ballots(session: Session, run: int, now: datetime) -> None:
    """Take the ballots that nobody voted on away."""
    for ballot in session.scalars(select(BallotRow).where(BallotRow.run_id == run, BallotRow.outcome == "open")):
        ballot.outcome, ballot.closed_at = "over", now


def _fate(variant: int, verdict: Verdict) -> Fate:
    if variant == verdict.winner:
        return Fate.WINNER
    return Fate.LOSER if variant in verdict.dropped else Fate.UNDECIDED


def tally(session: Session, run: int) -> Tally:
    """Count the votes of *run*, conditionally on the incumbent, from the votes themselves."""
    counts = {row.variant_id: [0, 0] for row in _arm_rows(session, run)}
    votes = 0
    rows = session.execute(
        select(VoteRow, BallotRow.id).join(BallotRow, BallotRow.id == VoteRow.ballot_id).where(BallotRow.run_id == run)
    ).all()
    cards = _cards_of_run(session, run)
    for vote, ballot_id in rows:
        votes += vote.choice != Choice.SKIP
        if vote.choice == Choice.PICK:
            _count_pick(counts, cards[ballot_id], vote.position)
    arms = tuple(
        Arm(
            variant=VariantId(row.variant_id), name=row.name, instruction=row.prompt_text,
            wins=counts[row.variant_id][0], losses=counts[row.variant_id][1],
        )
        for row in _arm_rows(session, run)
    )  # fmt: skip
    evolution = session.get(EvolutionRow, run)
    return Tally(arms=arms, votes=votes, since=evolution.voting_since if evolution else None)


def open_ballots(session: Session, run: int) -> int:
    """Count the ballots of *run* that wait for a vote."""
    return session.scalar(select(func.count()).where(BallotRow.run_id == run, BallotRow.outcome == "open")) or 0


def _bandit_step(session: Session, run: int) -> StepRow | None:
    """Return the test's newest step, locked; everybody locks it before the run's ballots."""
    return session.scalar(
        select(StepRow)
        .where(StepRow.run_id == run, StepRow.stage == Stage.BANDIT)
        .order_by(StepRow.visit.desc())
        .limit(1)
        .with_for_update()
    )


def _count_pick(counts: dict[int, list[int]], cards: dict[int, frozenset[int]], position: int | None) -> None:
    """A pick of a card with the incumbent is a loss for the arms on other cards; any other pick wins for its arms."""
    picked = cards.get(position or 0, frozenset())
    if 0 in picked:
        for arm in frozenset().union(*cards.values()) - picked:
            counts[arm][1] += 1
    else:
        for arm in picked:
            counts[arm][0] += 1


def _wants_ballots(session: Session, run: RunRow) -> bool:
    voting = Rules.from_json(run.rules).settings.voting
    if open_ballots(session, run.id) >= voting.open_ballots:
        return False
    return bool(samples.ballot_tasks(session, run.skill_name, run.id, from_history=voting.from_history, limit=1))


def _cards(session: Session, ballot: int) -> list[BallotCardRow]:
    return list(
        session.scalars(select(BallotCardRow).where(BallotCardRow.ballot_id == ballot).order_by(BallotCardRow.position))
    )


def _cards_of_run(session: Session, run: int) -> dict[int, dict[int, frozenset[int]]]:
    found: dict[int, dict[int, frozenset[int]]] = {}
    rows = session.scalars(
        select(BallotCardRow).join(BallotRow, BallotRow.id == BallotCardRow.ballot_id).where(BallotRow.run_id == run)
    )
    for card in rows:
        found.setdefault(card.ballot_id, {})[card.position] = frozenset(int(arm) for arm in card.arms.split(","))
    return found


def _arm_rows(session: Session, run: int) -> list[VariantRow]:
    query = select(VariantRow).where(
        VariantRow.run_id == run,
        VariantRow.fate.in_((Fate.ARM, Fate.WINNER, Fate.LOSER, Fate.UNDECIDED)),
        VariantRow.name != "",
    )
    return list(session.scalars(query.order_by(VariantRow.name)))
