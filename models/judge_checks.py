"""What judges were worth: the canaries, the checks that were made, and which of them still hold."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from importlib.resources import files

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.judge_tables import JudgeCheckRow
from models.steps import Claim
from models.work_tables import RunRow
from pipeline.domain import Role
from pipeline.judge_check import Canary, Checked, CheckReport, Kind, asked
from pipeline.judge_settings import Judging
from pipeline.judge_texts import Subject, prompt_sha
from pipeline.rules import Rules
from pipeline.setting import from_data, to_data

CANARIES = "data/judge-canaries.jsonl"


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckLine:
    """A check as people read it.

    Attributes:
        trusted: under today's settings its judge's verdicts may reject.
        stale: why it does not hold any more; empty while it does.
        simulated: the judge was a simulated one.
    """

    run: int
    role: str
    tag: str
    digest: str
    served_by: str
    protocol: str
    report: CheckReport
    trusted: bool
    stale: str
    calls: int
    simulated: bool
    at: datetime


@lru_cache(maxsize=1)
def canaries() -> tuple[Canary, ...]:
    """Return the canaries that every judge is measured on."""
    rows = [json.loads(line) for line in _text().splitlines()]
    return tuple(
        Canary(
            id=row["id"], skill=row["skill"], kind=row["kind"], good=row["good"],
            subject=Subject(instruction=row["prompt"], about=row["task"], failures=row["failures"]),
            twin=row["twin"] or "", relation=row["relation"] or "",
        )
        for row in rows
    )  # fmt: skip


@lru_cache(maxsize=1)
def canaries_sha() -> str:
    """Name the canaries: others make another check."""
    return hashlib.sha256(_text().encode()).hexdigest()


def known(session: Session, judging: Judging, now: datetime) -> dict[tuple[str, str], bool]:
    """Return by digest and protocol whether a judge's verdicts may reject, from the newest check that still holds."""
    found: dict[tuple[str, str], bool] = {}
    for row in session.scalars(select(JudgeCheckRow).order_by(JudgeCheckRow.id)):
        if not _stale(row, judging, now):
            found[row.digest, row.protocol] = _report(row).trusted(judging)
    return found


def keep(session: Session, mine: Claim, checked: Checked, now: datetime) -> None:
    """Write what a check found; one in which calls failed is none."""
    judging = mine.rules.settings.judging
    digest = checked.digest
    if not checked.whole:
        return
    session.add(
        JudgeCheckRow(
            run_id=mine.run, role=checked.role, judge_tag=mine.rules.tag(checked.role), served_by=checked.served_by[:400],
            digest=digest[:128], protocol=checked.protocol, prompt_sha=prompt_sha(checked.protocol, judging),
            canaries_sha=canaries_sha(), report=json.dumps(to_data(checked.report)),
            trusted=checked.report.trusted(judging), calls=checked.calls, at=now,
        )
    )  # fmt: skip


def lines(
    session: Session, judging: Judging, now: datetime, *, run: int | None = None, limit: int = 20
) -> tuple[CheckLine, ...]:
    """Return the newest checks, the newest first; of one run where it is given."""
    rows = session.execute(
        select(JudgeCheckRow, RunRow.simulated)
        .join(RunRow, RunRow.id == JudgeCheckRow.run_id)
        .where(*([JudgeCheckRow.run_id == run] if run is not None else []))
        .order_by(JudgeCheckRow.id.desc())
        .limit(limit)
    ).all()
    return tuple(
        CheckLine(
            run=row.run_id, role=row.role, tag=row.judge_tag, digest=row.digest, served_by=row.served_by,
            protocol=row.protocol, report=_report(row), trusted=_report(row).trusted(judging),
            stale=_stale(row, judging, now), calls=row.calls, simulated=simulated, at=row.at,
        )
        for row, simulated in rows
    )  # fmt: skip


def due(session: Session, rules: Rules, now: datetime) -> int:
    """Return how many verdicts on canaries the next judge step begins with; 0 while a check of its judge holds."""
    judging, tag = rules.settings.judging, rules.tag(Role.JUDGE)
    if not judging.check_every_d:
        return 0
    held = any(
        not one.stale and (one.role, one.tag, one.protocol) == (Role.JUDGE, tag, judging.protocol)
        for one in lines(session, judging, now)
    )
    return 0 if held else asked(len(canaries()))


def _stale(row: JudgeCheckRow, judging: Judging, now: datetime) -> str:
    if row.prompt_sha != prompt_sha(row.protocol, judging):
        return "the questions or the marks are other ones now"
    if row.canaries_sha != canaries_sha():
        return "the canaries are other ones now"
    if judging.check_every_d and now - row.at >= timedelta(days=judging.check_every_d):
        return f"it is older than {judging.check_every_d:g} days"
    return ""


def _report(row: JudgeCheckRow) -> CheckReport:
    data = json.loads(row.report)
    data["kinds"] = tuple(from_data(Kind, one) for one in data["kinds"])
    return from_data(CheckReport, data)


def _text() -> str:
    return files("models").joinpath(CANARIES).read_text(encoding="utf-8")
