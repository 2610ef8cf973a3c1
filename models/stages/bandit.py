"""Load and save for stage 5, bandit."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime, timedelta

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models import ballot_inputs, ballots, contents, prompts, replays, samples, votes
from models.steps import Claim
from models.tables import BallotCardRow, BallotRow, VariantRow
from models.tallies import arm_rows, tally
from models.work_tables import EvolutionRow, RunRow
from pipeline.ballots import Ballot, Task
from pipeline.bandit import BanditCase, BanditDecision
from pipeline.domain import Fate, SampleId, Split, VariantId, Waiting
from pipeline.fitness import Item
from pipeline.replay import Replay

_TASKS = 60  # inputs looked at in one visit; many of them may give equal results, which need no vote
_REPORT_ITEMS = 60  # samples that the prompts are run on for the report


def load_bandit(session: Session, mine: Claim, now: datetime) -> BanditCase:
    """Read the votes so far, the inputs that may become ballots, and the logged tasks of the replay."""
    run, evolution = session.get_one(RunRow, mine.run), session.get_one(EvolutionRow, mine.run)
    voting = mine.rules.settings.voting
    replayed = replays.replayed_samples(evolution)
    held = () if evolution.replay else _held(session, mine, run, Split.CONFIRM, voting.replay_confirm)
    report = () if evolution.replay else _held(session, mine, run, Split.REPORT, _REPORT_ITEMS)
    using = replayed | {int(item.sample) for item in (*held, *report)}
    tasks = ballot_inputs.ballot_tasks(session, run, using, from_history=voting.from_history, limit=_TASKS)
    fresh = now - timedelta(hours=voting.ballot_expiry_h)
    waiting, oldest = session.execute(
        select(func.count(), func.min(BallotRow.created_at)).where(
            BallotRow.run_id == mine.run, BallotRow.outcome == "open", BallotRow.created_at > fresh
        )
    ).one()
    return BanditCase(
        rules=mine.rules,
        seed=mine.seed,
        now=now,
        template=prompts.template_of(session, mine.skill, run.version),
        tally=tally(session, mine.run, now),
        tasks=tuple(
            Task(sample=SampleId(row.id), fields=samples.fields_of(row), expected=samples.reference(row))
            for row in tasks
        ),
        open_ballots=waiting,
        expiring=oldest + timedelta(hours=voting.ballot_expiry_h) if oldest is not None else None,
        made=_made(session, mine.run),
        select_items=() if evolution.replay else _select_items(session, mine, run, evolution),
        confirm_items=held,
        report_items=report,
        known=replays.known(session, mine.run) if not evolution.comparison else {},
        replayed=bool(evolution.replay),
        more=len(tasks) == _TASKS,
        unseen=not evolution.samples,  # a search confirms its best on the select part, and so has chosen by it
        served_by=evolution.served_by,
        changed=prompts.changed_since(session, run, evolution.incumbent_sha),
    )


def save_bandit(session: Session, mine: Claim, decision: BanditDecision, now: datetime) -> None:
    """Write ballots and the replay; when replay, votes or the calendar have decided, close the test."""
    run, evolution = session.get_one(RunRow, mine.run), session.get_one(EvolutionRow, mine.run)
    if decision.restart:
        _begin_anew(session, run, evolution, decision.restart, now)
        return
    evolution.voting_since = evolution.voting_since or now
    evolution.incumbent_sha = evolution.incumbent_sha or prompts.version(session, mine.skill, run.version).sha
    evolution.served_by = decision.served_by or evolution.served_by
    if decision.replay is not None:
        _save_replay(session, evolution, decision.replay)
    expired = now - timedelta(hours=mine.rules.settings.voting.ballot_expiry_h)
    ballots.close_ballots(session, mine.run, now, outcome="expired", before=expired)
    for ballot in decision.ballots:
        _add_ballot(session, evolution, ballot, now)
    if decision.next is not Waiting.FOR_VOTES:
        votes.close_test(session, run, decision.verdict, now)


def report_of(evolution: EvolutionRow) -> dict[int, tuple[int, ...]]:
    """Return, per variant id (0 is the incumbent), one flag per untouched sample: 1 right, 0 wrong."""
    data = json.loads(evolution.report) if evolution.report else {}
    return {int(variant): tuple(flags) for variant, flags in data.items()}


def _begin_anew(session: Session, run: RunRow, evolution: EvolutionRow, why: str, now: datetime) -> None:
    """Forget replay and votes of a comparison that is no longer the question; the rows stay as history."""
    ballots.close_ballots(session, run.id, now, outcome="void")
    in_use = prompts.active(session, run.skill_name)
    run.version = in_use.version if in_use else run.version
    evolution.comparison += 1
    evolution.replay = evolution.report = evolution.served_by = evolution.incumbent_sha = ""
    evolution.voting_since, evolution.restarted = None, why
    session.execute(
        update(VariantRow)
        .where(VariantRow.run_id == run.id, VariantRow.fate.in_((Fate.ARM, Fate.BEHIND)), VariantRow.name != "")
        .values(fate=Fate.ARM, fate_reason=why, replay_start=1.0, replay_wins=0, replay_losses=0)
    )
    session.expire_all()


def _save_replay(session: Session, evolution: EvolutionRow, found: Replay) -> None:
    """Write what the replay found, and who goes on."""
    evolution.replay = replays.to_json(found)
    evolution.report = json.dumps(
        {str(int(p.variant)): [int(o.correct) for o in p.report] for p in found.prompts if p.report}
    )
    for row in arm_rows(session, evolution.run_id):
        if row.variant_id in found.kept:
            row.replay_start = found.start(VariantId(row.variant_id))
            row.replay_wins, row.replay_losses = found.wins_losses(VariantId(row.variant_id))
        elif found.kept:
            row.fate, row.fate_reason = Fate.BEHIND, "another did better on the logged tasks that chose"
        else:
            row.fate_reason = found.reason


def _held(session: Session, mine: Claim, run: RunRow, split: Split, limit: int) -> tuple[Item, ...]:
    """Draw held-out samples, none of a content that the run's search was measured on, whatever became of that sample."""
    evolution = session.get_one(EvolutionRow, run.id)
    kept = json.loads(evolution.samples) if evolution.samples else {}
    used = contents.of_samples(session, mine.skill, {int(number) for part in kept.values() for number, _ in part})
    return samples.items(session, mine.skill, split, horizon=run.horizon, limit=limit, seed=mine.seed, without=used)


def _select_items(session: Session, mine: Claim, run: RunRow, evolution: EvolutionRow) -> tuple[Item, ...]:
    """Return the tasks that choose the challengers: those that the search confirmed its best on, where there was one."""
    limit = mine.rules.settings.voting.replay_select
    if evolution.samples:
        return samples.frozen(session, json.loads(evolution.samples)["select"])[:limit]
    return samples.items(session, mine.skill, Split.SELECT, horizon=run.horizon, limit=limit, seed=mine.seed)


def _made(session: Session, run: int) -> dict[int, int]:
    """Count the ballots of a run by their number of cards."""
    sizes = (
        select(func.count().label("cards"))
        .select_from(BallotCardRow)
        .join(BallotRow, BallotRow.id == BallotCardRow.ballot_id)
        .where(BallotRow.run_id == run)
        .group_by(BallotRow.id)
    )
    return dict(Counter(session.scalars(sizes)))


def _add_ballot(session: Session, evolution: EvolutionRow, ballot: Ballot, now: datetime) -> None:
    run = evolution.run_id
    if session.scalar(select(BallotRow.id).where(BallotRow.run_id == run, BallotRow.sample_id == ballot.sample)):
        return
    equal = len(ballot.cards) == 1
    row = BallotRow(
        run_id=run, sample_id=ballot.sample, created_at=now, closed_at=now if equal else None,
        outcome="equal" if equal else "open", comparison=evolution.comparison,
    )  # fmt: skip
    session.add(row)
    session.flush()
    for position, card in enumerate(ballot.cards, start=1):
        arms = ",".join(str(int(arm)) for arm in card.arms)
        session.add(
            BallotCardRow(
                ballot_id=row.id, position=position, output=card.output, arms=arms, correct=card.correct
            )
        )  # fmt: skip
    session.flush()
