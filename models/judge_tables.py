"""Tables of what judges said, and of what their word is worth."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Float, ForeignKey, Index, String, Text, UniqueConstraint, false, text, true
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, UtcDateTime
from models.tables import EMPTY, SHA, WORD


class JudgementRow(Base):
    """One verdict of a judge on one variant, with who judged, how it was asked and what it answered."""

    __tablename__ = "judgements"
    __table_args__ = (UniqueConstraint("variant_id", "judge_tag"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    variant_id: Mapped[int] = mapped_column(ForeignKey("prompt_variants.variant_id"))
    judge_tag: Mapped[str] = mapped_column(String(200))
    coherence: Mapped[float | None] = mapped_column(Float)
    actionability: Mapped[float | None] = mapped_column(Float)
    specificity: Mapped[float | None] = mapped_column(Float)
    overall: Mapped[float | None] = mapped_column(Float)
    passed: Mapped[bool]
    reason: Mapped[str] = mapped_column(Text, default="")
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    role: Mapped[str] = mapped_column(WORD, default="judge", server_default=text("'judge'"))
    served_by: Mapped[str] = mapped_column(String(400), default="", server_default=EMPTY)
    digest: Mapped[str] = mapped_column(String(128), default="", server_default=EMPTY)
    protocol: Mapped[str] = mapped_column(WORD, default="rubric", server_default=text("'rubric'"))
    prompt_sha: Mapped[str] = mapped_column(SHA, default="", server_default=EMPTY)  # of the protocol's texts and marks
    probabilities: Mapped[str] = mapped_column(Text, default="", server_default=EMPTY)  # JSON: of each good answer
    pairwise: Mapped[str] = mapped_column(WORD, default="", server_default=EMPTY)  # against the prompt in use
    counted: Mapped[bool] = mapped_column(
        default=True, server_default=true()
    )  # False: a second judge had the last word
    advisory: Mapped[bool] = mapped_column(default=False, server_default=false())  # it decided nothing
    void: Mapped[bool] = mapped_column(default=False, server_default=false())  # another digest or other words since


class JudgeCheckRow(Base):
    """What a judge was worth on the canaries."""

    __tablename__ = "judge_checks"
    __table_args__ = (Index(None, "digest", "protocol", "at"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    role: Mapped[str] = mapped_column(WORD)
    judge_tag: Mapped[str] = mapped_column(String(200))
    served_by: Mapped[str] = mapped_column(String(400))
    digest: Mapped[str] = mapped_column(String(128))
    protocol: Mapped[str] = mapped_column(WORD)
    prompt_sha: Mapped[str] = mapped_column(SHA)
    canaries_sha: Mapped[str] = mapped_column(SHA)
    report: Mapped[str] = mapped_column(Text)  # JSON: a CheckReport
    trusted: Mapped[bool]  # verdicts may reject; by the settings of then
    calls: Mapped[int]
    at: Mapped[datetime] = mapped_column(UtcDateTime)
