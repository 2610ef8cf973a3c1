"""How far the judge's scores agree with what people voted later: the votes are gold."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.judge_tables import JudgementRow
from models.tables import VariantRow
from models.tallies import TESTED, tally
from models.work_tables import RunRow
from pipeline.algorithms.agreement import Figure, auc, spearman
from pipeline.domain import Fate, RunId

NEWEST = 200  # tests of a skill that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgeAgreement:
    """Judge against votes, over the voted variants of a skill whose verdicts still hold.

    Attributes:
        rank: Spearman's correlation of score and share of the votes in which the variant was picked.
        winners: AUC of the score, those that were voted out against those that were promoted.
        simulated: the runs had simulated models.
    """

    skill: str
    rank: Figure
    winners: Figure
    simulated: bool


def agreement(session: Session, skill: str) -> tuple[JudgeAgreement, ...]:
    """Return the agreement on *skill*, real and simulated runs apart; nothing where no variant was voted on."""
    rows = session.execute(
        select(VariantRow.run_id, VariantRow.variant_id, VariantRow.fate, JudgementRow.overall, RunRow.simulated)
        .join(JudgementRow, JudgementRow.variant_id == VariantRow.variant_id)
        .join(RunRow, RunRow.id == VariantRow.run_id)
        .where(
            VariantRow.skill_name == skill, VariantRow.fate.in_(TESTED), VariantRow.name != "",
            JudgementRow.counted.is_(True), JudgementRow.void.is_(False), JudgementRow.overall.is_not(None),
        )
        .order_by(VariantRow.variant_id.desc())
        .limit(NEWEST)
    ).all()  # fmt: skip
    shares = _shares(session, {run for run, *_ in rows})
    found: list[JudgeAgreement] = []
    for simulated in (False, True):
        known = [
            (float(overall or 0.0), shares[variant], fate)
            for _, variant, fate, overall, was in rows
            if was is simulated and variant in shares
        ]
        if known:
            lost = [score for score, _, fate in known if fate == Fate.LOSER]
            won = [score for score, _, fate in known if fate == Fate.WINNER]
            rank = spearman([score for score, _, _ in known], [share for _, share, _ in known])
            found.append(JudgeAgreement(skill=skill, rank=rank, winners=auc(lost, won), simulated=simulated))
    return tuple(found)


def _shares(session: Session, runs: set[RunId] | set[int]) -> dict[int, float]:
    """Return of each voted variant the share of ballots that showed it on which it was picked."""
    return {int(arm.variant): arm.picks / arm.shown for run in runs for arm in tally(session, run).arms if arm.shown}
