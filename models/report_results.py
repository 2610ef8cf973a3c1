"""How a test stands: every prompt's wins and losses, the evidence, and what more votes may bring."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from models import ballot_inputs, ballots, contents
from models.replays import replay_of
from models.stages.bandit import report_of
from models.tables import BallotRow, SampleRow, VariantRow, VoteRow
from models.tallies import tally as count
from models.work_tables import EvolutionRow, RunRow, StepRow
from pipeline import explain
from pipeline.algorithms.beta import clopper_pearson, probability_best
from pipeline.decision import (
    INCUMBENT,
    LIVE,
    Arm,
    Tally,
    Verdict,
    cap,
    drop_chance,
    leader,
    mark,
    replay_evidence,
    vote_evidence,
)
from pipeline.domain import Choice, Ending, Fate, Label, RunKind, Stage
from pipeline.errors import NotFound
from pipeline.policies import SEEDS, decide
from pipeline.rules import Rules
from pipeline.seeds_policy import best_chances


@dataclass(frozen=True, slots=True, kw_only=True)
class ArmResult:
    """How one prompt of a test stands.

    Attributes:
        variant: 0 is the prompt in use.
        shown: votes on ballots that held its result; in the live mode tasks that it was used for.
        wins, losses: against the prompt in use; for that prompt itself, votes for it and votes for any other.
        ties: votes on its ballots that say nothing between it and the prompt in use.
        replay_wins, replay_losses: held-out tasks on which it did better than the prompt in use, and worse.
        e_value: evidence that it beats the prompt in use, `replay_e` times `votes_e`; None for that prompt.
        low, high: 95 % interval (Clopper-Pearson) of its win rate.
        p_best: chance that it is the best one; display only, it decides nothing.
        right, tested: on the samples that nothing was selected on; None where not measured.
        drop: chance that it is less accurate than the prompt in use by more than the set drop; None where not known.
    """

    variant: int
    name: str
    fate: str
    shown: int
    wins: int
    losses: int
    ties: int
    replay_wins: int
    replay_losses: int
    e_value: float | None
    replay_e: float | None
    votes_e: float | None
    low: float
    high: float
    p_best: float
    right: int | None
    tested: int | None
    drop: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Results:
    """A test and what its votes say.

    Attributes:
        policy, mode: by which rule it is decided, and from ballots or from tasks.
        mark: evidence that promotes.
        votes, cap: counted votes (in the live mode tasks), and how many end the test.
        skipped: votes that asks not to be counted; `undone`: votes that were taken back.
        equal: inputs on which all prompts gave the same result, so that there was nothing to vote on; `balloted`: all that were tried.
        expired: ballots that nobody voted on in time.
        selected, confirmed: logged tasks that chose the challengers, and held-out ones that the votes start from.
        behind: challengers that the replay left out.
        restarted: why the comparison began anew, the last time; empty when it did not.
        verdict: where it stands, in words; `notes`: what that means and does not mean, a sentence each.
        leader: the challenger with the most evidence; empty when there is none.
        leader_rate: its win rate, estimated as (wins + 1) / (wins + losses + 2).
        chance: that the leader is promoted within the votes left, if it keeps that rate; None when the test is over.
        more_votes: further votes within which a quarter, and three quarters, of such tests are decided.
    """

    run: int
    skill: str
    simulated: bool
    policy: str
    mode: str
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
    undone: int
    equal: int
    balloted: int
    expired: int
    open_ballots: int
    selected: int
    confirmed: int
    behind: tuple[str, ...]
    restarted: str
    mark: float
    arms: tuple[ArmResult, ...]
    verdict: str
    notes: tuple[str, ...]
    leader: str
    leader_rate: float | None
    chance: float | None
    more_votes: tuple[int, int] | None


def results(session: Session, skill: str, now: datetime, run: int | None = None) -> Results:
    """Return how the test of *run* stands, or of the skill's newest evolution.

    Raises:
        NotFound: there is no such evolution.
    """
    row = _evolution(session, skill, run)
    evolution, rules, tally = session.get(EvolutionRow, row.id), Rules.from_json(row.rules), count(session, row.id, now)
    verdict = decide(rules, tally, now)
    stage = session.scalar(select(StepRow.stage).where(StepRow.run_id == row.id).order_by(StepRow.id.desc()).limit(1))
    voting, open_ = rules.settings.voting, row.ended_at is None
    first = leader(rules, tally)
    found = explain.ahead(rules, tally, first) if first and open_ and stage == Stage.BANDIT else None
    selected, confirmed = _replayed(evolution)
    return Results(
        run=row.id, skill=row.skill_name, simulated=row.simulated, policy=voting.policy, mode=voting.mode,
        version=row.version, reason=row.reason, stage=stage or "", ending=row.ending, voting_since=tally.since,
        ended_at=row.ended_at, votes=tally.votes, cap=cap(rules), max_days=voting.max_days, mark=mark(rules, tally),
        skipped=_skipped(session, row.id), undone=_undone(session, row.id), equal=ballots.count(session, row.id, "equal"), balloted=ballots.count(session, row.id),
        expired=ballots.count(session, row.id, "expired"), open_ballots=ballots.open_ballots(session, row.id),
        selected=selected, confirmed=confirmed, behind=_behind(session, row.id),
        restarted=evolution.restarted if evolution else "",
        arms=_arms(session, row, rules, tally, verdict), verdict=_words(row, stage or "", verdict, tally),
        notes=_notes(session, rules, row, tally, confirmed, first, found) if tally.since is not None else (),
        leader=first.name if first else "", leader_rate=found.rate if found else None,
        chance=found.promote if found else None, more_votes=(found.soonest, found.latest) if found else None,
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


def _notes(
    session: Session, rules: Rules, run: RunRow, tally: Tally, confirmed: int, first: Arm | None,
    found: explain.Ahead | None,
) -> tuple[str, ...]:  # fmt: skip
    """Say what the figures mean, and what they cannot show."""
    starved = ballot_inputs.starved(session, run) if found else ""
    said = [
        starved or (explain.outlook_words(first.name, found) if first and found else ""),
        explain.alike_words(ballots.count(session, run.id, "equal"), ballots.count(session, run.id)),
        explain.cannot_show(rules, confirmed),
        explain.biased_words(rules, len(tally.arms)),
        explain.selected_words(*_selection(session, rules, run.version)),
        explain.copies_words(*contents.copies(session, rules.skill.name, run.horizon)) if confirmed else "",
    ]
    return tuple(sentence for sentence in said if sentence)


def _selection(session: Session, rules: Rules, version: int) -> tuple[int, int, int, int]:
    """Count judged tasks of a version: with a known right answer, of them wrong; all, of them wrong."""
    rows = session.execute(
        select(SampleRow.known, SampleRow.label, func.count())
        .where(
            SampleRow.skill_name == rules.skill.name, SampleRow.version == version, SampleRow.label.is_not(None),
            SampleRow.output.is_not(None), SampleRow.variant_id.is_(None),
        )
        .group_by(SampleRow.known, SampleRow.label)
    ).all()  # fmt: skip
    counts = {(known, label): n for known, label, n in rows}
    bad = counts.get((True, Label.BAD), 0)
    known = bad + counts.get((True, Label.OK), 0)
    return known, bad, sum(counts.values()), bad + counts.get((False, Label.BAD), 0)


def _replayed(evolution: EvolutionRow | None) -> tuple[int, int]:
    """Count the logged tasks that chose the challengers, and the held-out ones."""
    found = replay_of(evolution)
    base = next((one for one in found.prompts if one.variant == INCUMBENT), None) if found else None
    return (len(base.select), len(base.confirm)) if base else (0, 0)


def _arms(session: Session, run: RunRow, rules: Rules, tally: Tally, verdict: Verdict) -> tuple[ArmResult, ...]:
    """List the prompt in use first, then the challengers."""
    if not tally.arms:
        return ()
    evolution = session.get(EvolutionRow, run.id)
    tested = report_of(evolution) if evolution else {}
    counts = [(tally.picks, tally.losses), *((arm.wins, arm.losses) for arm in tally.arms)]
    seeds = rules.settings.voting.policy == SEEDS
    single = seeds or rules.settings.voting.mode == LIVE  # each prompt has successes and failures of its own
    best = best_chances(tally) if single else probability_best([(1 + wins, 1 + losses) for wins, losses in counts])
    found: list[ArmResult] = []
    for index, (wins, losses) in enumerate(counts):
        arm = tally.arms[index - 1] if index else None
        variant = int(arm.variant) if arm else 0
        shown, flags = arm.shown if arm else tally.shown, tested.get(variant)
        low, high = clopper_pearson(wins, wins + losses)
        found.append(
            ArmResult(
                variant=variant, name=arm.name if arm else f"current (v{run.version})", shown=shown, wins=wins,
                losses=losses, ties=max(0, shown - wins - losses), low=low, high=high, p_best=best[index],
                replay_wins=arm.replay_wins if arm else 0, replay_losses=arm.replay_losses if arm else 0,
                fate=_fate(session, arm, verdict) if arm else "incumbent", tested=len(flags) if flags else None,
                e_value=verdict.evidence[index - 1] if arm and not seeds else None,
                replay_e=replay_evidence(rules, arm) if arm and not seeds else None,
                votes_e=vote_evidence(rules, arm) if arm and not seeds else None,
                right=sum(flags) if flags else None, drop=drop_chance(rules, arm) if arm else None,
            )
        )  # fmt: skip
    return tuple(found)


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


def _skipped(session: Session, run: int) -> int:
    query = select(func.count()).select_from(VoteRow).join(BallotRow, BallotRow.id == VoteRow.ballot_id)
    return session.scalar(query.where(BallotRow.run_id == run, VoteRow.choice == Choice.SKIP)) or 0


def _undone(session: Session, run: int) -> int:
    return session.scalar(select(func.coalesce(func.sum(BallotRow.undone), 0)).where(BallotRow.run_id == run)) or 0


def _behind(session: Session, run: int) -> tuple[str, ...]:
    query = select(VariantRow.name).where(VariantRow.run_id == run, VariantRow.fate == Fate.BEHIND)
    return tuple(session.scalars(query.order_by(VariantRow.name)))
