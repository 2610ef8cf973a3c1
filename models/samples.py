"""Samples: choosing them for each purpose. Which part of the pipeline may see a sample is fixed by its split."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice
from typing import Any

from sqlalchemy import Select, func, or_, select
from sqlalchemy.orm import Session

from models import contents
from models.base import streamed
from models.tables import SampleRow
from pipeline.algorithms.splits import fraction
from pipeline.domain import Label, LabelSource, SampleId, Split
from pipeline.fitness import Item
from pipeline.meta_prompt import Failure, Success, shown_input
from pipeline.rules import Rules

AUDIT_AGE = timedelta(days=30)  # older answers say nothing of now; ours
AUDIT_ANSWERS = 50  # newest answers that are counted; ours


def reference(row: SampleRow) -> str | None:
    """Return the known right answer: a correction, or an output that a person accepted."""
    if row.expected is not None:
        return row.expected
    accepted = row.label == Label.OK and row.label_source == LabelSource.PERSON
    return row.output if accepted else None


def fields_of(row: SampleRow) -> tuple[tuple[str, str], ...]:
    """Return the input's named texts."""
    return tuple((str(k), str(v)) for k, v in json.loads(row.fields).items())


def items(
    session: Session,
    skill: str,
    split: Split,
    *,
    horizon: int | None,
    limit: int,
    seed: int,
    without: Collection[str] = (),
) -> tuple[Item, ...]:
    """Draw at most *limit* labelled contents of *split*, none of *without*, at random, the same ones for the same seed."""
    there = contents.labelled(session, skill, split=split, horizon=horizon)
    drawn = sorted(
        (fraction(f"{seed}:{content}"), number) for content, number in there.items() if content not in without
    )
    drawn = drawn[:limit]
    rows = {row.id: row for row in session.scalars(select(SampleRow).where(SampleRow.id.in_([i for _, i in drawn])))}
    return tuple(_item(rows[number]) for _, number in drawn)


def kept(items_: Sequence[Item]) -> list[list[object]]:
    """Return what has to be remembered of items so that `frozen` gives them again."""
    return [[item.sample, item.expected] for item in items_]


def frozen(session: Session, remembered: Sequence[Sequence[Any]]) -> tuple[Item, ...]:
    """Return items as they were when they were kept: their right answers of then; those that were removed are left out."""
    rows = {
        row.id: row for row in session.scalars(select(SampleRow).where(SampleRow.id.in_([i for i, _ in remembered])))
    }
    return tuple(
        Item(sample=SampleId(i), fields=fields_of(rows[i]), expected=str(expected))
        for i, expected in remembered
        if i in rows
    )


def usable(session: Session, skill: str, *, most: int | None = None) -> int:
    """Count the contents of the search split whose right answer is known, up to *most*."""
    return known(session, skill, Split.SEARCH, most=most)


def known(
    session: Session, skill: str, split: Split | None = None, *, horizon: int | None = None, most: int | None = None
) -> int:
    """Count the contents, of *split* or of all, whose right answer is known; see `contents.labelled`."""
    return len(contents.labelled(session, skill, split=split, horizon=horizon, most=most))


def newest_known(session: Session, skill: str, limit: int) -> tuple[Item, ...]:
    """Return the newest contents whose right answer is known, newest first."""
    query = (
        select(SampleRow).where(SampleRow.skill_name == skill, SampleRow.known.is_(True)).order_by(SampleRow.id.desc())
    )
    return tuple(_item(row) for row in islice(_distinct(session, skill, query), limit))


def failures(session: Session, skill: str, *, horizon: int, limit: int) -> tuple[Failure, ...]:
    """Return the newest failures of the search split, each content once, for the generator to read."""
    query = _judged(skill, Label.BAD).where(SampleRow.id <= horizon)
    rows = _distinct(session, skill, query.order_by(SampleRow.judged_at.desc(), SampleRow.id.desc()))
    return tuple(
        Failure(
            shown=shown_input(fields_of(row)),
            output=row.output or "",
            expected=row.expected or "",
            lost=tuple(word for word in row.lost.split(",") if word),
        )
        for row in islice(rows, limit)
    )


def successes(session: Session, skill: str, *, horizon: int, limit: int) -> tuple[Success, ...]:
    """Return accepted samples of the search split, spread over the history rather than only the newest."""
    query = _judged(skill, Label.OK).where(SampleRow.id <= horizon).order_by(SampleRow.id)
    rows = list(_distinct(session, skill, query))
    step = max(1, len(rows) // limit) if limit else 1
    return tuple(Success(shown=shown_input(fields_of(row)), output=row.output or "") for row in rows[::step][:limit])


def judged(
    session: Session, rules: Rules, version: int, limit: int | None, *, since: datetime | None = None
) -> tuple[tuple[bool, LabelSource], ...]:
    """Return the newest judged outputs of a version as (right, who judged): what accuracy rests on, wherever it is told.

    Args:
        session: open transaction.
        rules: the skill, and whose labels count for it.
        version: prompt version that wrote the outputs.
        limit: most samples; None for all.
        since: leave out what was judged before.
    """
    query = select(SampleRow.label, SampleRow.label_source).where(
        SampleRow.skill_name == rules.skill.name,
        SampleRow.label_source.in_(rules.skill.labels),
        SampleRow.label.is_not(None),
        SampleRow.judged_at.is_not(None),
        SampleRow.output.is_not(None),
        SampleRow.variant_id.is_(None),
        SampleRow.version == version,
    )
    if since is not None:
        query = query.where(SampleRow.judged_at >= since)
    rows = session.execute(query.order_by(SampleRow.judged_at.desc(), SampleRow.id.desc()).limit(limit))
    return tuple((label == Label.OK, LabelSource(source or LabelSource.IMPLICIT)) for label, source in rows)


def audited(session: Session, skill: str, version: int, now: datetime) -> tuple[int, int]:
    """Count the newest answers to the random audit of a version: (right, wrong)."""
    labels = session.scalars(
        select(SampleRow.label)
        .where(
            SampleRow.skill_name == skill, SampleRow.audit.is_(True), SampleRow.created_at >= now - AUDIT_AGE,
            SampleRow.version == version, SampleRow.label_source == LabelSource.PERSON,
        )
        .order_by(SampleRow.created_at.desc())
        .limit(AUDIT_ANSWERS)
    ).all()  # fmt: skip
    return labels.count(Label.OK), labels.count(Label.BAD)


def audit_open(session: Session, skill: str, now: datetime, limit: int) -> list[SampleRow]:
    """Return tasks that were drawn for the audit and that nobody has judged, newest first."""
    query = select(SampleRow).where(
        SampleRow.skill_name == skill, SampleRow.audit.is_(True), SampleRow.created_at >= now - AUDIT_AGE,
        SampleRow.output.is_not(None), SampleRow.variant_id.is_(None), SampleRow.expected.is_(None),
        or_(SampleRow.label.is_(None), SampleRow.label_source == LabelSource.IMPLICIT),
    )  # fmt: skip
    return list(session.scalars(query.order_by(SampleRow.created_at.desc(), SampleRow.id.desc()).limit(limit)))


def horizon(session: Session, skill: str) -> int:
    """Return the newest sample's id; later ones are not looked at by a search that has begun."""
    return session.scalar(select(func.max(SampleRow.id)).where(SampleRow.skill_name == skill)) or 0


def _item(row: SampleRow) -> Item:
    return Item(sample=SampleId(row.id), fields=fields_of(row), expected=reference(row) or "")


def _distinct(session: Session, skill: str, query: Select[SampleRow]) -> Iterator[SampleRow]:
    """Yield the first row of each content, in the order of *query*."""
    content, met = contents.reader(session, skill), set[str]()
    with streamed(session, query) as rows:
        for row in rows.scalars():
            if (one := content(row.fields)) not in met:
                met.add(one)
                yield row


def _judged(skill: str, label: Label) -> Select[SampleRow]:
    return select(SampleRow).where(
        SampleRow.skill_name == skill,
        SampleRow.split == Split.SEARCH,
        SampleRow.label == label,
        SampleRow.variant_id.is_(None),
    )
