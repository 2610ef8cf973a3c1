"""Counting a test from its votes, its tasks and its replay: nothing is kept that could be counted wrongly twice."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Container, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from models import contents
from models.replays import flags_of
from models.tables import AssignmentRow, BallotCardRow, BallotRow, SampleRow, VariantRow, VoteRow
from models.work_tables import EvolutionRow, RunRow
from pipeline.decision import INCUMBENT, LIVE, Arm, Paired, Tally
from pipeline.domain import Choice, Fate, Label, VariantId
from pipeline.rules import Rules

TESTED = (Fate.ARM, Fate.WINNER, Fate.LOSER, Fate.UNDECIDED)


@dataclass(slots=True)
class _Counts:
    """What is counted of one prompt."""

    wins: int = 0
    losses: int = 0
    picks: int = 0
    shown: int = 0
    flags: Paired = field(default_factory=Paired)


@dataclass(frozen=True, slots=True)
class Card:
    """One card as it was shown.

    Attributes:
        arms: variant ids; 0 is the prompt in use.
    """

    arms: frozenset[int]
    correct: bool | None


def tally(session: Session, run_id: int, now: datetime | None = None) -> Tally:
    """Count the newest comparison of a run: its replay, and its votes or, in the live mode, its tasks.

    Args:
        session: open transaction.
        run_id: the run.
        now: after which tasks without an outcome are given up in the live mode; None waits for every one of them.
    """
    run, evolution = session.get_one(RunRow, run_id), session.get(EvolutionRow, run_id)
    rows = arm_rows(session, run_id)
    variants = tuple(row.variant_id for row in rows)
    counts = {INCUMBENT: _Counts(), **{variant: _Counts() for variant in variants}}
    everyone = frozenset(counts)
    replayed = flags_of(evolution, variants)
    for variant in variants:
        counts[variant].flags = replayed[variant]
    if json.loads(run.rules).get("settings", {}).get("voting", {}).get("mode") == LIVE:
        patience = timedelta(hours=Rules.from_json(run.rules).settings.triggers.implicit_ok_h)
        votes = _count_tasks(session, run_id, evolution, counts, now - patience if now else None)
        cards = {}
    else:
        cards = cards_of(session, run_id, evolution.comparison if evolution else 0)
        votes = _count_votes(session, run_id, evolution, counts, cards)
    return Tally(
        arms=tuple(_arm(row, counts[row.variant_id]) for row in rows),
        votes=votes,
        since=evolution.voting_since if evolution else None,
        picks=counts[INCUMBENT].picks,
        losses=counts[INCUMBENT].losses,
        shown=counts[INCUMBENT].shown,
        equal=sum(len(one) == 1 and all(card.arms >= everyone for card in one.values()) for one in cards.values()),
        differing=sum(len(one) > 1 for one in cards.values()),
    )


def arm_rows(session: Session, run: int) -> list[VariantRow]:
    """Return the challengers of a run's test, in the order of their names."""
    query = select(VariantRow).where(VariantRow.run_id == run, VariantRow.fate.in_(TESTED), VariantRow.name != "")
    return list(session.scalars(query.order_by(VariantRow.name)))


def cards_of(session: Session, run: int, comparison: int) -> dict[int, dict[int, Card]]:
    """Return every ballot of a comparison with its cards by position."""
    found: dict[int, dict[int, Card]] = {}
    rows = session.scalars(
        select(BallotCardRow)
        .join(BallotRow, BallotRow.id == BallotCardRow.ballot_id)
        .where(BallotRow.run_id == run, BallotRow.comparison == comparison)
    )
    for row in rows:
        arms = frozenset(int(arm) for arm in row.arms.split(","))
        found.setdefault(row.ballot_id, {})[row.position] = Card(arms, row.correct)
    return found


def _arm(row: VariantRow, counts: _Counts) -> Arm:
    return Arm(
        variant=VariantId(row.variant_id), name=row.name, instruction=row.prompt_text, wins=counts.wins,
        losses=counts.losses, start=row.replay_start, replay_wins=row.replay_wins, replay_losses=row.replay_losses, flags=counts.flags,
        picks=counts.picks, shown=counts.shown,
    )  # fmt: skip


def _count_votes(
    session: Session,
    run: int,
    evolution: EvolutionRow | None,
    counts: dict[int, _Counts],
    cards: dict[int, dict[int, Card]],
) -> int:
    """Count the votes of the newest comparison; returns how many use up the cap."""
    comparison = evolution.comparison if evolution else 0
    for ballot in cards.values():
        _count_answers(ballot, counts)
    rows = session.execute(
        select(VoteRow.choice, VoteRow.position, BallotRow.id)
        .join(BallotRow, BallotRow.id == VoteRow.ballot_id)
        .where(BallotRow.run_id == run, BallotRow.comparison == comparison, VoteRow.choice != Choice.SKIP)
    ).all()
    for choice, position, ballot_id in rows:
        on_it = cards[ballot_id]
        picked = on_it[position].arms if choice == Choice.PICK and position in on_it else frozenset[int]()
        _count_vote(on_it, picked, counts)
    return len(rows)


def _count_vote(cards: dict[int, Card], picked: frozenset[int], counts: dict[int, _Counts]) -> None:
    """A pick of a card with the incumbent is a loss for the arms on other cards; any other pick wins for its arms.

    Without the incumbent on the ballot nothing is said against it. A tie, or none, is no pick.
    """
    everybody = frozenset[int]().union(*(card.arms for card in cards.values()))
    for arm in everybody & counts.keys():
        counts[arm].shown += 1
        counts[arm].picks += arm in picked
    if not picked or INCUMBENT not in everybody:
        return
    if INCUMBENT in picked:
        for arm in (everybody - picked) & counts.keys():
            counts[arm].losses += 1
    else:
        counts[INCUMBENT].losses += 1
        for arm in picked & counts.keys():
            counts[arm].wins += 1


def _count_answers(cards: dict[int, Card], counts: dict[int, _Counts]) -> None:
    """Add right and wrong answers of a ballot's prompts, whatever was voted, where the right answer is known."""
    right = {arm: card.correct for card in cards.values() for arm in card.arms}
    base = right.get(INCUMBENT)
    for arm, correct in right.items():
        if arm != INCUMBENT and arm in counts and base is not None and correct is not None:
            counts[arm].flags = counts[arm].flags.plus(incumbent=base, challenger=correct)


def _count_tasks(
    session: Session, run: int, evolution: EvolutionRow | None, counts: dict[int, _Counts], given_up: datetime | None
) -> int:
    """Pair each challenger's k-th outcome with the incumbent's k-th, in the order of the tasks; returns how many have one.

    Whichever prompt is used for how many tasks, the k-th outcomes of two prompts are a fair pair; so drawing the better one
    more often cannot make evidence. In the order of arrival it could: failures are told before successes, and the prompt
    that was used less has fewer of the early ones. So a prompt's outcomes count up to its first task that may still have
    one, and a task that has none after the time of silence is passed over. A content counts once per prompt.
    """
    if evolution is None or evolution.voting_since is None:
        return 0  # its replay comes first
    settled: dict[int, list[bool]] = {arm: [] for arm in counts}
    open_ended: set[int] = set()
    told = 0
    for arm, outcome, given in _tasks(session, run, evolution.voting_since, counts):
        if outcome is None:
            if given_up is None or given > given_up:
                open_ended.add(arm)
            continue
        told += 1
        counts[arm].shown += 1
        counts[arm].picks += outcome == Label.OK
        if arm not in open_ended:
            settled[arm].append(outcome == Label.OK)
    counts[INCUMBENT].losses = counts[INCUMBENT].shown - counts[INCUMBENT].picks
    for arm, flags in settled.items():
        if arm != INCUMBENT:
            pairs = Counter(zip(flags, settled[INCUMBENT], strict=False))
            counts[arm].wins, counts[arm].losses = pairs[True, False], pairs[False, True]
    return told


def _tasks(
    session: Session, run: int, since: datetime, arms: Container[int]
) -> Iterator[tuple[int, str | None, datetime]]:
    """Yield prompt, outcome and time of a live test's tasks, in their order, without further copies of a prompt's inputs."""
    rows = session.execute(
        select(AssignmentRow.variant_id, AssignmentRow.outcome, AssignmentRow.created_at, SampleRow.fields)
        .outerjoin(
            SampleRow,
            (SampleRow.skill_name == AssignmentRow.skill_name) & (SampleRow.task_id == AssignmentRow.task_id),
        )
        .where(AssignmentRow.run_id == run, AssignmentRow.created_at >= since)
        .order_by(AssignmentRow.created_at, AssignmentRow.task_id)
    )
    content, met = contents.reader(session, session.get_one(RunRow, run).skill_name), set[tuple[int, str]]()
    for variant, outcome, given, fields in rows:
        arm = variant or INCUMBENT
        one = (arm, content(fields) if fields is not None else "")
        if arm in arms and (outcome is None or one not in met):
            met |= {one} if fields is not None and outcome is not None else set()
            yield arm, outcome, given
