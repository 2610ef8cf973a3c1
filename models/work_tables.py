"""Tables of work: runs, their steps (the outbox), the journal of model calls, and what the gate did."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Float, ForeignKey, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, UtcDateTime
from models.tables import EMPTY, SHA, WORD, ZERO


class RunRow(Base):
    """A drift check, an evolution, a promotion or a rollback; steps belong to it."""

    __tablename__ = "runs"
    __table_args__ = (
        # One open evolution per skill, whoever asks for a second one.
        Index(
            "ux_runs_open_evolution",
            "skill_name",
            unique=True,
            sqlite_where=text("kind = 'evolution' AND ended_at IS NULL"),
            postgresql_where=text("kind = 'evolution' AND ended_at IS NULL"),
        ),
        Index(None, "skill_name", "kind", "created_at"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    skill_name: Mapped[str] = mapped_column(ForeignKey("skills.name"))
    kind: Mapped[str] = mapped_column(WORD)
    trigger: Mapped[str] = mapped_column(WORD)  # timer, drift, feedback, person
    forced: Mapped[bool] = mapped_column(default=False)  # a person overrode threshold and cooldown
    reason: Mapped[str] = mapped_column(Text, default="")
    seed: Mapped[int] = mapped_column(BigInteger)
    rules: Mapped[str] = mapped_column(Text)  # JSON, frozen at the start
    version: Mapped[int]  # the prompt version that was in use
    horizon: Mapped[int] = mapped_column(default=0)  # samples with a larger id are not looked at while breeding
    target_variant_id: Mapped[int | None]  # a person's promotion: which variant
    target_version: Mapped[int | None]  # a person's rollback: which version
    simulated: Mapped[bool] = mapped_column(default=False)  # a simulated server answered at least once
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    ended_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    ending: Mapped[str] = mapped_column(WORD, default="")
    ending_reason: Mapped[str] = mapped_column(Text, default="")


class EvolutionRow(Base):
    """What only an evolution has: its search's state and its test's bookkeeping."""

    __tablename__ = "evolutions"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True, autoincrement=False)
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    accuracy_before: Mapped[float | None] = mapped_column(Float)  # of the judged window that started it
    generation: Mapped[int] = mapped_column(default=0)
    stale_generations: Mapped[int] = mapped_column(default=0)  # since the best member last improved
    best_fitness: Mapped[float | None] = mapped_column(Float)
    samples: Mapped[str] = mapped_column(
        Text, default="", server_default=text("''")
    )  # JSON: ids and right answers that the search goes by
    voting_since: Mapped[datetime | None] = mapped_column(UtcDateTime)
    report: Mapped[str] = mapped_column(Text, default="")  # JSON: accuracies on samples nothing was selected on
    comparison: Mapped[int] = mapped_column(default=0, server_default=text("0"))  # raised when it begins anew
    served_by: Mapped[str] = mapped_column(String(400), default="", server_default=text("''"))  # digest and version
    incumbent_sha: Mapped[str] = mapped_column(
        SHA, default="", server_default=text("''")
    )  # of the prompt compared with
    replay: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))  # JSON: outcomes on logged tasks
    restarted: Mapped[str] = mapped_column(Text, default="", server_default=text("''"))  # why, the last time


class StepRow(Base):
    """One visit of a run to a stage. A ready row is the outbox: Redis may forget it, the table does not."""

    __tablename__ = "steps"
    __table_args__ = (UniqueConstraint("run_id", "stage", "visit"), Index(None, "state", "due_at"))

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    stage: Mapped[str] = mapped_column(WORD)
    visit: Mapped[int]
    attempt: Mapped[int] = mapped_column(default=1)  # a new slice or retry is a new attempt, and a new job id
    epoch: Mapped[int] = mapped_column(default=0)  # raised by each claim; writes of an older one are refused
    state: Mapped[str] = mapped_column(WORD)
    dirty: Mapped[bool] = mapped_column(default=False)  # a ring came while it ran
    crashes: Mapped[int] = mapped_column(default=0)  # deaths since the last new model reply
    slices: Mapped[int] = mapped_column(default=0)
    waiting_for: Mapped[str] = mapped_column(String(200), default="")
    due_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # not before; for a waiting step, its timer
    error: Mapped[str] = mapped_column(Text, default="")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class ModelCallRow(Base):
    """The journal and ledger of model calls. Replies are pruned some days after a run's end, counts never."""

    __tablename__ = "model_calls"
    __table_args__ = (
        UniqueConstraint("run_id", "stage", "visit", "request_sha", "occurrence"),
        Index(None, "run_id", "role"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    stage: Mapped[str] = mapped_column(WORD)
    visit: Mapped[int]
    request_sha: Mapped[str] = mapped_column(SHA)  # of the request, the model's digest and the server's version
    occurrence: Mapped[int]  # the same request may be made more than once within a visit
    role: Mapped[str] = mapped_column(WORD)
    tag: Mapped[str] = mapped_column(String(200), default="")
    outcome: Mapped[str] = mapped_column(WORD)  # answered, failed
    reply: Mapped[str | None] = mapped_column(Text)  # JSON; None once pruned
    prompt_tokens: Mapped[int] = mapped_column(default=0)
    tokens: Mapped[int] = mapped_column(default=0)
    digest: Mapped[str] = mapped_column(String(128), default="", server_default=EMPTY)  # of the model; empty: not known
    estimate: Mapped[float] = mapped_column(Float, default=0.0, server_default=ZERO)  # of prompt_tokens; 0: none
    duration_ms: Mapped[float] = mapped_column(Float, default=0.0)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class CancelledCallRow(Base):
    """A call that was cut off by the user's own work; it cost time and counts in the budget."""

    __tablename__ = "cancelled_calls"

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), index=True)
    stage: Mapped[str] = mapped_column(WORD)
    visit: Mapped[int] = mapped_column(server_default=text("0"))
    role: Mapped[str] = mapped_column(WORD)
    tag: Mapped[str] = mapped_column(String(200), default="")
    duration_ms: Mapped[float] = mapped_column(Float)
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class GateEventRow(Base):
    """A time during which a step waited, and for what."""

    __tablename__ = "gate_events"
    __table_args__ = (Index(None, "run_id", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    step_id: Mapped[int] = mapped_column(ForeignKey("steps.id"))
    reason: Mapped[str] = mapped_column(WORD)
    detail: Mapped[str] = mapped_column(Text, default="")
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    waited_s: Mapped[float] = mapped_column(Float)
    preempted: Mapped[bool] = mapped_column(default=False)  # a running call was cut off
