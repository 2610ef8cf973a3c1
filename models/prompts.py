"""Prompt versions: what was in use when, whole, so that a lost file can be written again."""

from __future__ import annotations

import hashlib
from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from models import steps
from models.base import insert_first
from models.runs import ensure_skill
from models.tables import PromotionRow, PromptVersionRow
from models.work_tables import RunRow, StepRow
from pipeline.domain import Stage
from pipeline.errors import BadInput, NotFound
from pipeline.skills import PromptTemplate, SkillSpec, parse_template


def text_sha(text: str) -> str:
    """Name a text by its content."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


def note_version(session: Session, spec: SkillSpec, text: str, now: datetime) -> PromptVersionRow:
    """Remember the version the configuration names as the one in use; a person may have edited or switched it."""
    skill = ensure_skill(session, spec.name, now)
    row = session.scalar(
        select(PromptVersionRow).where(PromptVersionRow.skill_name == skill, PromptVersionRow.version == spec.version)
    )
    if row is None:
        row = PromptVersionRow(
            skill_name=skill,
            version=spec.version,
            template=spec.template,
            text=text,
            sha=text_sha(text),
            created_at=now,
        )
        if not insert_first(session, row):
            row = version(session, skill, spec.version)
    elif (row.sha != text_sha(text) or row.template != spec.template) and not _searching(session, skill):
        row.text, row.sha, row.template = text, text_sha(text), spec.template
        _wake_test(session, skill, now)
    if not row.active:
        activate(session, row, now)
        _wake_test(session, skill, now)
    return row


def changed_since(session: Session, run: RunRow, sha: str) -> str:
    """Say what a test's challengers are no longer compared with; empty while the prompt in use is the same.

    Args:
        session: open transaction.
        run: the test; its version is the prompt that it compares with.
        sha: of that prompt when the comparison began; empty before.
    """
    in_use = active(session, run.skill_name)
    if in_use is None or (in_use.version, in_use.sha) == (run.version, sha or in_use.sha):
        return ""
    return f"the prompt in use was changed (v{in_use.version})"


def _searching(session: Session, skill: str) -> bool:
    """Tell whether an evolution of *skill* has not come to its votes yet: it goes by the text it started with."""
    run = _evolution(session, skill)
    if run is None:
        return False
    stage = session.scalar(select(StepRow.stage).where(StepRow.run_id == run).order_by(StepRow.id.desc()).limit(1))
    return stage not in (Stage.BANDIT, None)


def _wake_test(session: Session, skill: str, now: datetime) -> None:
    """Let an open test see at once that it compares with another prompt than the one in use."""
    run = _evolution(session, skill)
    if run is not None:
        session.flush()
        steps.wake(session, run, Stage.BANDIT, now)


def _evolution(session: Session, skill: str) -> int | None:
    return session.scalar(
        select(RunRow.id)
        .where(RunRow.skill_name == skill, RunRow.kind == "evolution", RunRow.ended_at.is_(None))
        .limit(1)
    )


def activate(session: Session, row: PromptVersionRow, now: datetime) -> None:
    """Make *row* its skill's version in use."""
    session.execute(
        update(PromptVersionRow)
        .where(PromptVersionRow.skill_name == row.skill_name, PromptVersionRow.active)
        .values(active=False)
    )
    row.active, row.activated_at = True, now
    session.flush()


def active(session: Session, skill: str) -> PromptVersionRow | None:
    """Return the version in use, None for a skill never seen."""
    return session.scalar(select(PromptVersionRow).where(PromptVersionRow.skill_name == skill, PromptVersionRow.active))


def version(session: Session, skill: str, number: int) -> PromptVersionRow:
    """Return one version.

    Raises:
        NotFound: there is none of that number.
    """
    row = session.scalar(
        select(PromptVersionRow).where(PromptVersionRow.skill_name == skill, PromptVersionRow.version == number)
    )
    if row is None:
        raise NotFound(f"{skill} has no prompt version {number}.", hint=f"evoctl show {skill}")
    return row


def every_text(session: Session) -> list[tuple[str, int, str]]:
    """Return skill, number and text of every version; works on the tables of earlier releases too."""
    rows = session.execute(
        select(PromptVersionRow.skill_name, PromptVersionRow.version, PromptVersionRow.text).order_by(
            PromptVersionRow.skill_name, PromptVersionRow.version
        )
    )
    return [(skill, number, text) for skill, number, text in rows]


def versions_in_use(session: Session) -> dict[str, tuple[int, str]]:
    """Return number and template path of the version in use, by skill."""
    rows = session.scalars(select(PromptVersionRow).where(PromptVersionRow.active))
    return {row.skill_name: (row.version, row.template) for row in rows}


def fields_read(session: Session, skill: str) -> frozenset[str]:
    """Return the fields of an input that the prompt in use reads; none where no usable prompt was noted yet."""
    row = active(session, skill)
    try:
        return frozenset(parse_template(row.text).reads) if row is not None else frozenset()
    except BadInput:  # whoever uses the prompt says so
        return frozenset()


def template_of(session: Session, skill: str, number: int) -> PromptTemplate:
    """Return a version's template in its two parts."""
    return parse_template(version(session, skill, number).text)


def next_number(session: Session, skill: str) -> int:
    """Return the number a new version gets; numbers are never used twice."""
    highest = session.scalar(select(func.max(PromptVersionRow.version)).where(PromptVersionRow.skill_name == skill))
    return (highest or 0) + 1


def version_at(session: Session, spec: SkillSpec, at: datetime | None, *, live: bool) -> int | None:
    """Tell which version was in use at a time.

    Args:
        session: open transaction.
        spec: the skill, for the version that the configuration names when none was noted yet.
        at: the time; None means now when *live*, and an unknown time in the past otherwise.
        live: whether a missing time means now.

    Returns:
        The version's number; None when it cannot be known.
    """
    in_use = active(session, spec.name)
    changes = session.execute(
        select(PromotionRow.applied_at, PromotionRow.from_version, PromotionRow.to_version)
        .where(PromotionRow.skill_name == spec.name, PromotionRow.state == "applied")
        .order_by(PromotionRow.id)
    ).all()
    if not changes or (at is None and live):
        return in_use.version if in_use else spec.version
    if at is None:
        return None
    before = [to for applied, _, to in changes if applied is not None and applied <= at]
    return int(before[-1] if before else changes[0][1])


def previous(session: Session, skill: str, number: int) -> PromptVersionRow | None:
    """Return the version that *number* replaced when it was promoted; None when nothing was promoted to it."""
    promotion = session.scalar(
        select(PromotionRow)
        .where(
            PromotionRow.skill_name == skill,
            PromotionRow.to_version == number,
            PromotionRow.kind == "promote",
            PromotionRow.state == "applied",
        )
        .order_by(PromotionRow.id.desc())
        .limit(1)
    )
    return version(session, skill, promotion.from_version) if promotion else None
