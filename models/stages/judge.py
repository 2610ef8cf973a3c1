"""Load and save for stage 3, judge."""

from __future__ import annotations

import json
from collections import Counter
from datetime import datetime

from sqlalchemy import or_, select, update
from sqlalchemy.orm import Session

from models import judge_checks, prompts, samples
from models.judge_tables import JudgementRow
from models.steps import Claim
from models.tables import VariantRow
from models.work_tables import RunRow
from pipeline.domain import Fate, Role, RunKind, VariantId
from pipeline.judge import Candidate, JudgeCase, JudgeDecision, Verdict
from pipeline.judge_texts import DIMENSIONS, prompt_sha
from pipeline.meta_prompt import MAX_FAILURES, clip
from pipeline.rating import Rating

MOST_LOSSES = 5  # kinds of loss that the judge is told of


def load_judge(session: Session, mine: Claim, now: datetime) -> JudgeCase:
    """Read the finalists, fittest first, what goes wrong today, the prompt in use, and what is known of the judge."""
    run = session.get_one(RunRow, mine.run)
    rows = session.scalars(
        select(VariantRow)
        .where(VariantRow.run_id == mine.run, VariantRow.fate == Fate.FINALIST)
        .order_by(VariantRow.finalist_rank.nulls_last(), VariantRow.ordinal)
    ).all()
    return JudgeCase(
        rules=mine.rules,
        seed=mine.seed,
        candidates=tuple(Candidate(variant=VariantId(row.variant_id), instruction=row.prompt_text) for row in rows),
        failures=_failures(session, mine, run.horizon),
        incumbent=_incumbent(session, mine, run.version) if rows else "",
        canaries=judge_checks.canaries(),
        known=judge_checks.known(session, mine.rules.settings.judging, now),
        only_check=mine.kind is RunKind.JUDGE_CHECK,
    )


def save_judge(session: Session, mine: Claim, decision: JudgeDecision, now: datetime) -> None:
    """Write the judgements, what they mean for each finalist, and the checks; void what another judge has said."""
    for checked in decision.checked:
        judge_checks.keep(session, mine, checked, now)
    for verdict in decision.verdicts:
        row = session.get_one(VariantRow, verdict.variant)
        row.fate, row.fate_reason = _fate(verdict), verdict.reason
        for role, rating in verdict.ratings:
            _void_others(session, mine, role, rating)
            session.add(_judgement(mine, verdict, role, rating, now))


def _fate(verdict: Verdict) -> Fate:
    if verdict.goes_on:
        return Fate.PASSED
    return Fate.UNPARSABLE if verdict.score is None else Fate.REJECTED


def _judgement(mine: Claim, verdict: Verdict, role: Role, rating: Rating, now: datetime) -> JudgementRow:
    judging = mine.rules.settings.judging
    by_name = {one.name: one.good for one in rating.answers}
    shares = {name: by_name.get(name) for name in DIMENSIONS}
    last = role is verdict.ratings[-1][0]
    return JudgementRow(
        variant_id=verdict.variant,
        judge_tag=mine.rules.tag(role),
        **{name: None if share is None else 100 * share for name, share in shares.items()} | {"overall": rating.score},
        passed=rating.passes(judging),
        reason=verdict.reason if last else rating.words(judging),
        at=now,
        role=role,
        served_by=rating.served_by[:400],
        digest=rating.digest[:128],
        protocol=rating.protocol,
        prompt_sha=prompt_sha(rating.protocol, judging),
        probabilities=json.dumps([[one.name, one.good, one.forced] for one in rating.answers]),
        pairwise=verdict.pairwise if last else "",
        counted=last,
        advisory=verdict.advisory,
    )


def _void_others(session: Session, mine: Claim, role: Role, rating: Rating) -> None:
    """Mark what this role said as another model, by another protocol or asked in other words: it compares with nothing."""
    if not rating.digest:
        return
    session.execute(
        update(JudgementRow)
        .where(
            JudgementRow.role == role,
            JudgementRow.void.is_(False),
            or_(
                JudgementRow.digest != rating.digest[:128],
                JudgementRow.protocol != rating.protocol,
                JudgementRow.prompt_sha != prompt_sha(rating.protocol, mine.rules.settings.judging),
            ),
        )
        .values(void=True)
    )


def _failures(session: Session, mine: Claim, horizon: int) -> str:
    """Say what was lost lately, the most frequent first; without such words, what a wrong answer looked like."""
    failures = samples.failures(session, mine.skill, horizon=horizon, limit=MAX_FAILURES)
    lost = Counter(word for failure in failures for word in failure.lost)
    if lost:
        return "; ".join(f"{clip(word, 40)} in {n} of {len(failures)}" for word, n in lost.most_common(MOST_LOSSES))
    return f"answers like: {clip(failures[0].output, 120)}" if failures else ""


def _incumbent(session: Session, mine: Claim, version: int) -> str:
    return prompts.template_of(session, mine.skill, version).instruction
