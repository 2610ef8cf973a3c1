"""Tables of prompts, samples and what people say of them."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import (
    CheckConstraint,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
    false,
    text,
)
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, UtcDateTime

NAME = String(64)
WORD = String(40)
SHA = String(64)
SILENT = "label IS NULL AND output IS NOT NULL AND expected IS NULL"  # may still count as an implicit ok
EMPTY, ZERO = text("''"), text("0")  # server defaults, so that a column can be added to a table with rows


class SkillRow(Base):
    """A skill the pipeline has met, and what is remembered of it beyond the configuration."""

    __tablename__ = "skills"

    name: Mapped[str] = mapped_column(NAME, primary_key=True)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    check_reason: Mapped[str] = mapped_column(Text, default="")  # the last drift check's finding, in words


class PromptVersionRow(Base):
    """One version of a skill's prompt, immutable; the configuration points at one of them."""

    __tablename__ = "prompt_versions"
    __table_args__ = (UniqueConstraint("skill_name", "version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    skill_name: Mapped[str] = mapped_column(ForeignKey("skills.name"))
    version: Mapped[int]
    template: Mapped[str] = mapped_column(Text)  # path, relative to the configuration's folder
    text: Mapped[str] = mapped_column(Text)  # the whole file, so that a lost file can be written again
    sha: Mapped[str] = mapped_column(SHA)
    variant_id: Mapped[int | None] = mapped_column(ForeignKey("prompt_variants.variant_id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    active: Mapped[bool] = mapped_column(default=False)
    activated_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class SampleRow(Base):
    """One task of the history: what went in, what came out, what was said of it."""

    __tablename__ = "samples"
    __table_args__ = (
        UniqueConstraint("skill_name", "task_id"),
        CheckConstraint("label IN ('ok', 'bad')", name="label"),
        Index(None, "skill_name", "judged_at"),
        Index(None, "skill_name", "version", "judged_at"),
        # What may still count as an implicit ok: few of many.
        Index(
            "ix_samples_silent",
            "skill_name",
            "created_at",
            sqlite_where=text(SILENT),
            postgresql_where=text(SILENT),
        ),
        # Labels that wait to enter their version's stream: few of many.
        Index(
            "ix_samples_entering",
            "skill_name",
            "version",
            "created_at",
            sqlite_where=text("entered IS NULL AND label IS NOT NULL"),
            postgresql_where=text("entered IS NULL AND label IS NOT NULL"),
        ),
        Index(None, "skill_name", "audit", "created_at"),
        # Answers to the audit: a check counts the newest ones.
        Index(
            "ix_samples_audited",
            "skill_name",
            "version",
            "label_source",
            "created_at",
            sqlite_where=text("audit IS 1"),
            postgresql_where=text("audit IS TRUE"),
        ),
        Index(None, "skill_name", "known", "split"),
        Index(None, "skill_name", "known", "id"),
        Index(None, "skill_name", "id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    skill_name: Mapped[str] = mapped_column(ForeignKey("skills.name"))
    task_id: Mapped[str] = mapped_column(String(200))
    fields: Mapped[str] = mapped_column(Text)  # JSON object of the input's named texts
    output: Mapped[str | None] = mapped_column(Text)
    expected: Mapped[str | None] = mapped_column(Text)  # a corrected or accepted answer
    label: Mapped[str | None] = mapped_column(WORD)
    label_source: Mapped[str | None] = mapped_column(WORD)
    lost: Mapped[str] = mapped_column(Text, default="")  # what was lost, words separated by commas
    version: Mapped[int | None]  # prompt version that wrote the output
    variant_id: Mapped[int | None] = mapped_column(ForeignKey("prompt_variants.variant_id"))
    split: Mapped[str] = mapped_column(WORD)
    ballot_wanted: Mapped[bool] = mapped_column(default=False)  # drawn with show_probability when the task came in
    batch: Mapped[str] = mapped_column(String(40), default="")  # one feedback command; the unit of undo
    entered: Mapped[int | None]  # its place in the label stream of its version; None while it waits, 0 never to enter
    audit: Mapped[bool] = mapped_column(default=False, server_default=false())  # drawn to be asked about
    known: Mapped[bool] = mapped_column(
        default=False, server_default=false()
    )  # its right answer is: see samples.reference
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    judged_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class LabelEventRow(Base):
    """A change of a sample's label, kept so that it can be undone."""

    __tablename__ = "label_events"
    __table_args__ = (Index(None, "batch"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    sample_id: Mapped[int]  # no foreign key: undoing an import removes the sample and keeps the event
    batch: Mapped[str] = mapped_column(String(40))
    before: Mapped[str] = mapped_column(Text)  # JSON of the fields replaced; empty when the sample was new
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    undone: Mapped[bool] = mapped_column(default=False)


class VariantRow(Base):
    """A proposed prompt: the plan's `prompt_variants`, with how it came about and what became of it."""

    __tablename__ = "prompt_variants"
    __table_args__ = (UniqueConstraint("run_id", "ordinal"), Index(None, "skill_name", "text_sha"))

    variant_id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    ordinal: Mapped[int]  # counts within the run; with run_id it makes writing a generation twice harmless
    skill_name: Mapped[str] = mapped_column(ForeignKey("skills.name"))
    name: Mapped[str] = mapped_column(WORD, default="")  # variant_a, variant_b ... once on the ballots
    prompt_text: Mapped[str] = mapped_column(Text)  # the instruction; the frame is the incumbent's
    text_sha: Mapped[str] = mapped_column(SHA)
    generation: Mapped[int]
    slot: Mapped[int] = mapped_column(default=0)  # place in the population
    parent_id: Mapped[int | None] = mapped_column(ForeignKey("prompt_variants.variant_id"))
    second_parent_id: Mapped[int | None] = mapped_column(ForeignKey("prompt_variants.variant_id"))
    mutation_type: Mapped[str] = mapped_column(WORD)
    mutation_ordinal: Mapped[int | None]  # the mutation prompt of this run that it carries
    reasoning: Mapped[str] = mapped_column(Text, default="")
    fitness_score: Mapped[float | None] = mapped_column(Float)
    fitness_correct: Mapped[int] = mapped_column(default=0)
    fitness_n: Mapped[int] = mapped_column(default=0)
    confirm_correct: Mapped[int] = mapped_column(
        default=0, server_default=ZERO
    )  # on samples that nothing was bred or selected on
    confirm_n: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    finalist_rank: Mapped[int | None]  # place among the finalists, 1 is best
    replay_start: Mapped[float] = mapped_column(
        Float, default=1.0, server_default=text("1.0")
    )  # evidence of the choice
    replay_wins: Mapped[int] = mapped_column(default=0, server_default=ZERO)  # on held-out tasks, against the incumbent
    replay_losses: Mapped[int] = mapped_column(default=0, server_default=ZERO)
    improved: Mapped[bool] = mapped_column(
        default=False, server_default=false()
    )  # better than its parent on the samples both were run on
    fate: Mapped[str] = mapped_column(WORD)
    fate_reason: Mapped[str] = mapped_column(Text, default="")
    mean_logprob: Mapped[float | None] = mapped_column(Float)  # of the tokens that the generator wrote; None: not told
    min_logprob: Mapped[float | None] = mapped_column(Float)
    flags: Mapped[str] = mapped_column(Text, default="", server_default=EMPTY)  # what made it suspect, one a line
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class EmbeddingRow(Base):
    """A vector and the profile (model digest, prefix, dimensions) that it may be compared within."""

    __tablename__ = "embeddings"

    text_sha: Mapped[str] = mapped_column(SHA, primary_key=True)
    profile: Mapped[str] = mapped_column(String(300), primary_key=True)
    vector: Mapped[bytes] = mapped_column(LargeBinary)  # float32, little-endian
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class BallotRow(Base):
    """Results of one task, to be compared blind."""

    __tablename__ = "ballots"
    __table_args__ = (UniqueConstraint("run_id", "sample_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    sample_id: Mapped[int] = mapped_column(ForeignKey("samples.id"))
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    closed_at: Mapped[datetime | None] = mapped_column(UtcDateTime)  # voted on, or void because all results were equal
    outcome: Mapped[str] = mapped_column(WORD, default="open")  # open, voted, equal, over, expired, void
    comparison: Mapped[int] = mapped_column(
        default=0, server_default=ZERO
    )  # which of the run's; only the newest counts
    undone: Mapped[int] = mapped_column(default=0, server_default=ZERO)  # votes taken back


class BallotCardRow(Base):
    """One distinct result on a ballot; identical results share a card."""

    __tablename__ = "ballot_cards"
    __table_args__ = (UniqueConstraint("ballot_id", "position"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    ballot_id: Mapped[int] = mapped_column(ForeignKey("ballots.id"))
    position: Mapped[int]  # as shown, counted from 1
    output: Mapped[str] = mapped_column(Text)
    arms: Mapped[str] = mapped_column(Text)  # variant ids separated by commas; 0 is the incumbent
    correct: Mapped[bool | None]  # by the scorer; None where the right answer is not known


class VoteRow(Base):
    """A person's answer to one ballot; there is at most one, so a double press is one vote."""

    __tablename__ = "votes"

    ballot_id: Mapped[int] = mapped_column(ForeignKey("ballots.id"), primary_key=True, autoincrement=False)
    choice: Mapped[str] = mapped_column(WORD)
    position: Mapped[int | None]
    voter: Mapped[str] = mapped_column(String(100), default="")
    took_ms: Mapped[int | None]
    task_success: Mapped[bool | None]  # of the picked card, by the scorer; None where nobody knows
    at: Mapped[datetime] = mapped_column(UtcDateTime)


class PromotionRow(Base):
    """History of what the configuration was made to point at, and why; written before the file is touched."""

    __tablename__ = "promotions"
    __table_args__ = (UniqueConstraint("run_id", "to_version"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    skill_name: Mapped[str] = mapped_column(ForeignKey("skills.name"))
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    kind: Mapped[str] = mapped_column(WORD)  # promote, rollback
    from_version: Mapped[int]
    to_version: Mapped[int]
    text: Mapped[str] = mapped_column(Text, default="")  # whole template about to be written; empty on a rollback
    state: Mapped[str] = mapped_column(WORD)  # intended, applied, refused
    e_value: Mapped[float | None] = mapped_column(Float)
    votes: Mapped[int] = mapped_column(Integer, default=0)
    evidence: Mapped[str] = mapped_column(Text, default="", server_default=EMPTY)  # JSON: the counts behind it
    actor: Mapped[str] = mapped_column(WORD, default="", server_default=EMPTY)  # pipeline or person
    accuracy_before: Mapped[float | None] = mapped_column(Float)
    accuracy_after: Mapped[float | None] = mapped_column(Float)
    reason: Mapped[str] = mapped_column(Text, default="")
    config_before: Mapped[str] = mapped_column(Text, default="")  # sha of the file; its text is the host's own
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    applied_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class AssignmentRow(Base):
    """Which prompt a host was told to use for one task; asking again gives the same answer."""

    __tablename__ = "assignments"

    skill_name: Mapped[str] = mapped_column(ForeignKey("skills.name"), primary_key=True)
    task_id: Mapped[str] = mapped_column(String(200), primary_key=True)
    run_id: Mapped[int | None] = mapped_column(ForeignKey("runs.id"))
    variant_id: Mapped[int | None] = mapped_column(ForeignKey("prompt_variants.variant_id"))  # None: the incumbent
    version: Mapped[int]
    ballot: Mapped[bool] = mapped_column(default=False)
    outcome: Mapped[str | None] = mapped_column(WORD)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    outcome_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
