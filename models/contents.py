"""Samples by their content: each content once, however many ids it came under (see `pipeline.contents`).

Contents are computed when they are read. A sample's split is drawn from its content when it is written; samples of releases
before that have one drawn from their id, so that copies of one content may lie in several. Such a content belongs to the part
that is looked at first: what a search may have seen is held out no more.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection, Iterable

from sqlalchemy import select
from sqlalchemy.orm import Session

from models.base import streamed
from models.prompts import fields_read
from models.tables import SampleRow
from pipeline.contents import content_of
from pipeline.domain import Split
from pipeline.splits import SHARES, before

_COPIES = 20  # samples of one content, on average, that a bounded count reads; ours


def reader(session: Session, skill: str) -> Callable[[str], str]:
    """Return what names the content of a row's `fields`."""
    read = fields_read(session, skill)

    def content(fields: str) -> str:
        return content_of({str(name): str(text) for name, text in json.loads(fields).items()}, read)

    return content


def labelled(
    session: Session, skill: str, *, split: Split | None = None, horizon: int | None = None, most: int | None = None
) -> dict[str, int]:
    """Return every content whose right answer is known, with its newest sample.

    Args:
        session: open transaction.
        skill: its name.
        split: of this part only, without what has a copy in a part that is looked at before.
        horizon: leave later samples out.
        most: stop at so many contents, or after the newest twenty times as many samples; a check that needs to know whether there
            are a few must not read a million.
    """
    query = select(SampleRow.id, SampleRow.fields).where(SampleRow.skill_name == skill, SampleRow.known.is_(True))
    if horizon is not None:
        query = query.where(SampleRow.id <= horizon)
    if split is not None:
        query = query.where(SampleRow.split == split)
    query = query.order_by(SampleRow.id.desc()).limit(most * _COPIES if most is not None else None)
    content, found = reader(session, skill), dict[str, int]()
    with streamed(session, query) as rows:
        for number, fields in rows:
            found.setdefault(content(fields), number)
            if most is not None and len(found) >= most:
                break
    earlier = before(split) if split is not None and found else ()
    for one in _in_parts(session, skill, earlier, horizon):
        found.pop(one, None)
    return found


def by_part(session: Session, skill: str) -> Counter[Split]:
    """Count the contents of `labelled` for every part, in one reading of the history."""
    query = select(SampleRow.fields, SampleRow.split, SampleRow.known).where(SampleRow.skill_name == skill)
    content, order = reader(session, skill), {part: place for place, (part, _) in enumerate(SHARES)}
    first, known = dict[str, int](), set[tuple[str, int]]()
    with streamed(session, query) as rows:
        for fields, split, answered in rows:
            one, place = content(fields), order[Split(split)]
            first[one] = min(place, first.get(one, place))
            if answered:
                known.add((one, place))
    return Counter(SHARES[place][0] for one, place in known if first[one] == place)


def of_samples(session: Session, skill: str, numbers: Collection[int]) -> set[str]:
    """Return the contents of some samples."""
    content = reader(session, skill)
    return {content(text) for text in session.scalars(select(SampleRow.fields).where(SampleRow.id.in_(numbers)))}


def searched(session: Session, skill: str, horizon: int) -> set[str]:
    """Return the contents that a search may have bred or selected on, or shown to a model."""
    return set(_in_parts(session, skill, before(Split.CONFIRM), horizon))


def held_out(session: Session, skill: str) -> int:
    """Count the contents of the history that no search sees, with a known right answer or without: those for ballots."""
    found = set(_in_parts(session, skill, (Split.CONFIRM,), None))
    return len(found.difference(_in_parts(session, skill, before(Split.CONFIRM), None))) if found else 0


def copies(session: Session, skill: str, horizon: int) -> tuple[int, int]:
    """Count the samples whose right answer is known: all of them, and those that are copies of another."""
    content = reader(session, skill)
    query = select(SampleRow.fields).where(
        SampleRow.skill_name == skill, SampleRow.known.is_(True), SampleRow.id <= horizon
    )
    with streamed(session, query) as rows:
        every = [content(fields) for fields in rows.scalars()]
    return len(every), len(every) - len(set(every))


def _in_parts(session: Session, skill: str, parts: tuple[Split, ...], horizon: int | None) -> Iterable[str]:
    if not parts:
        return
    query = select(SampleRow.fields).where(SampleRow.skill_name == skill, SampleRow.split.in_(parts))
    if horizon is not None:
        query = query.where(SampleRow.id <= horizon)
    content = reader(session, skill)
    with streamed(session, query) as rows:
        for fields in rows.scalars():
            yield content(fields)
