"""Golden sets: frozen tasks of a prompt version, and how it did on them then and now."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy.orm import Session

from models import samples
from models.watch_tables import GoldenSetRow
from pipeline.algorithms.splits import fraction
from pipeline.canary import LEAST, Canary, GoldenSet
from pipeline.fitness import Item

_NEWEST = 1000  # labelled samples that a golden set is drawn from


def load_golden(session: Session, skill: str, version: int) -> GoldenSet | None:
    """Return the golden set of a version with its right answers of then; None where none, or too little of it, is left."""
    row = session.get(GoldenSetRow, (skill, version))
    if row is None:
        return None
    kept, flags = json.loads(row.items), json.loads(row.reference)
    there = {int(item.sample): item for item in samples.frozen(session, kept)}
    pairs = [(there[i], bool(flag)) for (i, _), flag in zip(kept, flags, strict=True) if i in there]
    if len(pairs) < LEAST:
        return None
    return GoldenSet(
        items=tuple(item for item, _ in pairs), reference=tuple(flag for _, flag in pairs), served_by=row.served_by
    )


def candidates(session: Session, skill: str, limit: int, seed: int) -> tuple[Item, ...]:
    """Draw labelled samples for a golden set, at random from the newest, whatever part of the history they are in."""
    rows = samples.newest_known(session, skill, _NEWEST)
    return tuple(sorted(rows, key=lambda item: fraction(f"{seed}:golden:{item.sample}"))[:limit])


def keep(session: Session, skill: str, version: int, golden: GoldenSet, now: datetime) -> None:
    """Write a golden set; an older one of the version is replaced."""
    row = session.get(GoldenSetRow, (skill, version))
    if row is None:
        row = GoldenSetRow(skill_name=skill, version=version)
        session.add(row)
    row.items = json.dumps(samples.kept(golden.items))
    row.reference = json.dumps([int(flag) for flag in golden.reference])
    row.served_by, row.made_at = golden.served_by[:400], now
    row.checked, row.checked_by, row.checked_at = "", "", None


def note_check(session: Session, skill: str, version: int, canary: Canary, now: datetime) -> None:
    """Write what the last run on the golden set found."""
    row = session.get_one(GoldenSetRow, (skill, version))
    row.checked = json.dumps([int(flag) for flag in canary.flags])
    row.checked_by, row.checked_at = canary.served_by[:400], now


def forget(session: Session, skill: str, version: int) -> None:
    """Drop a version's golden set, so that the next healthy check records another: its tasks are no longer the user's."""
    row = session.get(GoldenSetRow, (skill, version))
    if row is not None:
        session.delete(row)
