"""Tables of watching: the label stream of each prompt version, and the golden set a warning is checked with."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base, UtcDateTime


class MonitorRow(Base):
    """What is remembered of one prompt version's label stream: a few numbers, whatever the history's length."""

    __tablename__ = "monitors"

    skill_name: Mapped[str] = mapped_column(ForeignKey("skills.name"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    entered: Mapped[int] = mapped_column(default=0)  # labels so far, of all spells in use
    base: Mapped[int] = mapped_column(default=0)  # of them, those of earlier spells
    state: Mapped[str] = mapped_column(Text)  # JSON of pipeline.monitor.Monitor
    started_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


class GoldenSetRow(Base):
    """Frozen tasks of one prompt version, how it did on them when it was healthy, and how it did the last time."""

    __tablename__ = "golden_sets"

    skill_name: Mapped[str] = mapped_column(ForeignKey("skills.name"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    items: Mapped[str] = mapped_column(Text)  # JSON: ids and right answers of then
    reference: Mapped[str] = mapped_column(Text)  # JSON: one flag per item
    served_by: Mapped[str] = mapped_column(String(400))
    made_at: Mapped[datetime] = mapped_column(UtcDateTime)
    checked: Mapped[str] = mapped_column(Text, default="")  # JSON: one flag per item, of the last check
    checked_by: Mapped[str] = mapped_column(String(400), default="")
    checked_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
