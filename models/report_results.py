"""How a test stands: every prompt's wins and losses, the evidence, and what more votes may bring."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import votes
from models.stages.bandit import report_of
from models.tables import BallotCardRow, BallotRow, VariantRow, VoteRow
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline.algorithms.beta import clopper_pearson, probability_best
from pipeline.algorithms.duel import chance_to_promote
from pipeline.bandit import Arm, Tally, Verdict, decide
from pipeline.domain import Choice, Ending, Fate, RunKind, Stage
from pipeline.errors import NotFound
from pipeline.rules import Rules


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """How one prompt of a test stands.

    Attributes:
        variant: 0 is the prompt in use.
        shown: votes on ballots that held its result.
        wins, losses: against the prompt in use; for that prompt itself, votes for it and votes for any other.
        ties: votes on its ballots that say nothing between it and the prompt in use.
        e_value: evidence that it beats the prompt in use; None for that prompt.
        low, high: 95 % interval (Clopper-Pearson) of its win rate.
        p_best: chance that it is the best one; display only, it decides nothing.
        right, tested: on the samples that nothing was selected on; None where not measured.
    """

    variant: int
    name: str
    fate: str
    shown: int
    wins: int
    losses: int
    ties: int
    e_value: float | None
    low: float
    high: float
    p_best: float
    right: int | None
    tested: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A test and what its votes say.

    Attributes:
        mark: evidence that promotes.
        votes, cap: counted votes, and how many end the test.
        skipped: votes that asks not to be counted.
        equal: inputs on which all prompts gave the same result, so that there was nothing to vote on.
        verdict: where it stands, in words.
        leader: the challenger with the most evidence; empty when there is none.
        leader_rate: its win rate, estimated as (wins + 1) / (wins + losses + 2).
        chance: that the leader is promoted within the votes left, if it keeps that rate; None when the test is over.
    """

    run: int
    skill: str
    simulated: bool
    version: int
    reason: str
    stage: str
    ending: str
    voting_since: datetime | None
    ended_at: datetime | None
    votes: int
    cap: int
    max_days: float
    skipped: int
    equal: int
    open_ballots: int
    mark: float
    arms: tuple[ArmResult, ...]
    verdict: str
    leader: str
    leader_rate: float | None
    chance: float | None


def results(session: Session, skill: str, now: datetime, run: int | None = None) -> Results:
    """Return how the test of *run* stands, or of the skill's newest evolution.

    Raises:
        NotFound: there is no such evolution.
    """
    row = _evolution(session, skill, run)
    rules = Rules.from_json(row.rules)
    tally = votes.tally(session, row.id)
    verdict = decide(rules, tally, now)
    stage = session.scalar(select(StepRow.stage).where(StepRow.run_id == row.id).order_by(StepRow.id.desc()).limit(1))
    voting, over = rules.settings.voting, row.ended_at is not None
    leader = _leader(tally, verdict)
    rate = (leader.wins + 1) / (leader.wins + leader.losses + 2) if leader else None
    mark = voting.promote_e * max(1, len(tally.arms))
    return Results(
        run=row.id, skill=row.skill_name, simulated=row.simulated, version=row.version, reason=row.reason,
        stage=stage or "", ending=row.ending, voting_since=tally.since, ended_at=row.ended_at, votes=tally.votes,
        cap=voting.max_votes, max_days=voting.max_days, skipped=_skipped(session, row.id), mark=mark,
        equal=_ballots(session, row.id, "equal"), open_ballots=votes.open_ballots(session, row.id),
        arms=_arms(session, row, tally, verdict), verdict=_words(row, stage or "", verdict, tally),
        leader=leader.name if leader else "", leader_rate=rate,
        chance=_chance(rules, tally, leader, rate, mark) if leader and rate and not over else None,
    )  # fmt: skip


def _evolution(session: Session, skill: str, run: int | None) -> RunRow:
    query = select(RunRow).where(RunRow.skill_name == skill, RunRow.kind == RunKind.EVOLUTION)
    if run is not None:
        query = query.where(RunRow.id == run)
    row = session.scalar(query.order_by(RunRow.id.desc()).limit(1))
    if row is None:
        what = f"{skill} has not evolved yet." if run is None else f"Run r{run} is no evolution of {skill}."
        raise NotFound(what, hint=f"evoctl enqueue {skill}" if run is None else "evoctl runs")
    return row


def _leader(tally: Tally, verdict: Verdict) -> Arm | None:
    """Return the challenger with the most evidence; the first of equals."""
    if not tally.arms:
        return None
    return max(zip(verdict.evidence, tally.arms, strict=True), key=lambda pair: pair[0])[1]


def _arms(session: Session, run: RunRow, tally: Tally, verdict: Verdict) -> tuple[ArmResult, ...]:
    """List the prompt in use first, then the challengers."""
    if not tally.arms:
        return ()
    picked = _picked(session, run.id)
    evolution = session.get(EvolutionRow, run.id)
    tested = report_of(evolution) if evolution else {}
    won = sum(0 in pick for pick, _ in picked)
    lost = sum(bool(pick) and 0 not in pick for pick, _ in picked)
    counts = [(won, lost), *((arm.wins, arm.losses) for arm in tally.arms)]
    best = probability_best([(1 + wins, 1 + losses) for wins, losses in counts])
    found: list[ArmResult] = []
    for index, (wins, losses) in enumerate(counts):
        arm = tally.arms[index - 1] if index else None
        variant = int(arm.variant) if arm else 0
        shown, flags = sum(variant in all_arms for _, all_arms in picked), tested.get(variant)
        low, high = clopper_pearson(wins, wins + losses)
        found.append(
            ArmResult(
                variant=variant, name=arm.name if arm else f"current (v{run.version})", shown=shown, wins=wins,
                losses=losses, ties=shown - wins - losses, low=low, high=high, p_best=best[index],
                fate=_fate(session, arm, verdict) if arm else "incumbent", tested=len(flags) if flags else None,
                e_value=verdict.evidence[index - 1] if arm else None, right=sum(flags) if flags else None,
            )
        )  # fmt: skip
    return tuple(found)


def _picked(session: Session, run: int) -> list[tuple[frozenset[int], frozenset[int]]]:
    """Return, per counted vote, the arms on the picked card (none for a tie) and all arms of the ballot."""
    cards: dict[int, dict[int, frozenset[int]]] = {}
    rows = session.execute(
        select(BallotCardRow.ballot_id, BallotCardRow.position, BallotCardRow.arms)
        .join(BallotRow, BallotRow.id == BallotCardRow.ballot_id)
        .where(BallotRow.run_id == run)
    )
    for ballot, position, arms in rows:
        cards.setdefault(ballot, {})[position] = frozenset(int(arm) for arm in arms.split(","))
    found: list[tuple[frozenset[int], frozenset[int]]] = []
    given = session.execute(
        select(VoteRow.ballot_id, VoteRow.choice, VoteRow.position)
        .join(BallotRow, BallotRow.id == VoteRow.ballot_id)
        .where(BallotRow.run_id == run, VoteRow.choice != Choice.SKIP)
    )
    for ballot, choice, place in given:
        on_it = cards.get(ballot, {})
        picked = on_it.get(place or 0, frozenset()) if choice == Choice.PICK else frozenset[int]()
        found.append((picked, frozenset[int]().union(*on_it.values())))
    return found


def _fate(session: Session, arm: Arm, verdict: Verdict) -> str:
    fate = session.get_one(VariantRow, arm.variant).fate
    return "dropped" if fate == Fate.ARM and arm.variant in verdict.dropped else fate


def _words(row: RunRow, stage: str, verdict: Verdict, tally: Tally) -> str:
    """Say in words where the test stands."""
    if row.ended_at is not None:
        reason = verdict.reason if row.ending == Ending.PROMOTED and verdict.winner else row.ending_reason
        return f"Ended, {row.ending}: {reason}." if reason else f"Ended, {row.ending}."
    if not tally.arms:
        return f"The run is at {stage or 'its start'}; there is nothing to vote on yet."
    if stage == Stage.PROMOTE:
        return f"Decided: {verdict.reason}. The configuration is about to be changed."
    return f"Not decided: {verdict.reason}."


def _chance(rules: Rules, tally: Tally, leader: Arm, rate: float, mark: float) -> float:
    """Return the chance of a promotion within the votes left, if each of them compares the leader."""
    voting = rules.settings.voting
    cap = leader.wins + leader.losses + max(0, voting.max_votes - tally.votes)
    return chance_to_promote(
        rate,
        cap,
        mark,
        voting.futility_e,
        voting.prior_wins,
        voting.prior_losses,
        wins=leader.wins,
        losses=leader.losses,
    )


def _ballots(session: Session, run: int, outcome: str) -> int:
    return session.scalar(select(func.count()).where(BallotRow.run_id == run, BallotRow.outcome == outcome)) or 0


def _skipped(session: Session, run: int) -> int:
    query = select(func.count()).select_from(VoteRow).join(BallotRow, BallotRow.id == VoteRow.ballot_id)
    return session.scalar(query.where(BallotRow.run_id == run, VoteRow.choice == Choice.SKIP)) or 0
