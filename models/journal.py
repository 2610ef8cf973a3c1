"""The journal: every reply of the world, so that a killed or preempted step replays instead of asking again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, cast

from sqlalchemy import Table, func, insert, or_, select, update
from sqlalchemy.orm import Session

from models.steps import Claim, progressed
from models.work_tables import CancelledCallRow, ModelCallRow, RunRow
from pipeline.domain import Stage
from pipeline.flow import Embedded, Failed, Generated, Published, Reply, Request, Scored
from pipeline.setting import from_data, to_data

KINDS: Mapping[str, type[Reply]] = {kind.__name__: kind for kind in (Generated, Embedded, Scored, Published, Failed)}
MODEL_ROLES = ("generator", "judge", "second-judge", "embedder", "task")

_RECORDED = insert(cast("Table", ModelCallRow.__table__))  # built once: it runs at every model call

_LONGEST_DIGEST = 128  # characters

Key = tuple[str, int]
"""(sha of the request, how many times it was made before within the visit)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a run has cost so far.

    Attributes:
        calls: model calls, cancelled ones included.
        minutes: model time of those calls.
    """

    calls: int
    minutes: float

    def plus(self, reply: Reply) -> Spent:
        """Return the sum with one more call."""
        return Spent(calls=self.calls + 1, minutes=self.minutes + getattr(reply, "duration_s", 0.0) / 60)


def request_sha(request: Request, served_by: str) -> str:
    """Name a request by its content and by who answers it (tag, model digest, server version)."""
    body = json.dumps([type(request).__name__, to_data(request), served_by], sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(body.encode()).hexdigest()


def load_replies(session: Session, mine: Claim) -> dict[Key, Reply]:
    """Return every reply the journal holds for this visit."""
    rows = session.execute(
        select(ModelCallRow.request_sha, ModelCallRow.occurrence, ModelCallRow.reply).where(
            ModelCallRow.run_id == mine.run,
            ModelCallRow.stage == mine.stage,
            ModelCallRow.visit == mine.visit,
            ModelCallRow.reply.is_not(None),
        )
    )
    return {(sha, occurrence): _read(reply or "") for sha, occurrence, reply in rows}


def record(
    session: Session, mine: Claim, key: Key, reply: Reply, *, role: str, tag: str, simulated: bool, now: datetime,
    estimate: float = 0.0,
) -> None:  # fmt: skip
    """Write one reply under the claim's fence; a new reply is progress, so earlier crashes are forgiven.

    Args:
        session: open transaction.
        mine: the claim.
        key: of the request.
        reply: what was answered.
        role: who answered, of the model's roles.
        tag: the model.
        simulated: a simulated server answered, which is not known of the run yet.
        now: the time.
        estimate: of the prompt's tokens, before any calibration; 0 where none was made.

    Raises:
        Fenced: the claim is no longer the newest.
    """
    # Two statements and no object: this is done once per model call.
    progressed(session, mine, now)
    session.execute(
        _RECORDED,
        {
            "run_id": mine.run, "stage": mine.stage.value, "visit": mine.visit, "request_sha": key[0], "occurrence": key[1],
            "role": role, "tag": tag, "outcome": "failed" if isinstance(reply, Failed) else "answered",
            "reply": json.dumps([type(reply).__name__, to_data(reply)], ensure_ascii=True),
            "prompt_tokens": getattr(reply, "prompt_tokens", 0), "tokens": getattr(reply, "tokens", 0),
            "digest": served_digest(reply), "estimate": estimate, "duration_ms": getattr(reply, "duration_s", 0.0) * 1000, "at": now,
        },
    )  # fmt: skip
    if simulated:
        session.execute(update(RunRow).where(RunRow.id == mine.run, RunRow.simulated.is_(False)).values(simulated=True))


def served_digest(reply: Reply) -> str:
    """Return the digest of the model that wrote *reply*; empty where that is not known."""
    parts = getattr(reply, "served_by", "").split(" ")
    return parts[1][:_LONGEST_DIGEST] if len(parts) > 1 else ""


def record_cancelled(session: Session, mine: Claim, *, role: str, tag: str, duration_s: float, now: datetime) -> None:
    """Enter a call that was cut off: it has no reply, but it cost time."""
    session.add(
        CancelledCallRow(
            run_id=mine.run,
            stage=mine.stage,
            visit=mine.visit,
            role=role,
            tag=tag,
            duration_ms=duration_s * 1000,
            at=now,
        )
    )


def spent(session: Session, run: int, *, before_visit: tuple[str, int] | None = None) -> Spent:
    """Return what *run* has cost since it began to search, from the ledger; a drift check's canary comes before that.

    Args:
        session: open transaction.
        run: the run.
        before_visit: leave this (stage, visit) out, so that a replayed visit decides by the same figures.
    """
    query = select(func.count(), func.coalesce(func.sum(ModelCallRow.duration_ms), 0.0)).where(
        ModelCallRow.run_id == run, ModelCallRow.role.in_(MODEL_ROLES), ModelCallRow.stage != Stage.DETECT
    )
    cut_off = select(func.count(), func.coalesce(func.sum(CancelledCallRow.duration_ms), 0.0)).where(
        CancelledCallRow.run_id == run, CancelledCallRow.stage != Stage.DETECT
    )
    if before_visit is not None:
        stage, visit = before_visit
        query = query.where(or_(ModelCallRow.stage != stage, ModelCallRow.visit != visit))
        cut_off = cut_off.where(or_(CancelledCallRow.stage != stage, CancelledCallRow.visit != visit))
    calls, ms = session.execute(query).one()
    cut, cut_ms = session.execute(cut_off).one()
    return Spent(calls=calls + cut, minutes=(ms + cut_ms) / 60_000)


def prunable(session: Session, before: datetime) -> tuple[int, int]:
    """Return how many reply texts `prune` would drop, and their characters in all."""
    ended = select(RunRow.id).where(RunRow.ended_at < before)
    found = session.execute(
        select(func.count(), func.coalesce(func.sum(func.length(ModelCallRow.reply)), 0)).where(
            ModelCallRow.run_id.in_(ended), ModelCallRow.reply.is_not(None)
        )
    ).one()
    return int(found[0]), int(found[1])


def prune(session: Session, before: datetime) -> int:
    """Drop the reply texts of runs that ended before *before*; counts, tokens and durations stay. Returns how many."""
    ended = select(RunRow.id).where(RunRow.ended_at < before)
    pruned = session.scalars(
        update(ModelCallRow)
        .where(ModelCallRow.run_id.in_(ended), ModelCallRow.reply.is_not(None))
        .values(reply=None)
        .returning(ModelCallRow.id)
    )
    return len(pruned.all())


def _read(text: str) -> Reply:
    name, data = json.loads(text)
    kind: Any = KINDS[name]
    return from_data(kind, data)  # type: ignore[no-any-return]  # KINDS holds the union's members
