"""Tables of a search: mutation prompts, what each variant did on each sample, and how often operators helped."""

from __future__ import annotations

from sqlalchemy import Float, ForeignKey, Text, UniqueConstraint
from sqlalchemy.orm import Mapped, mapped_column

from models.base import Base
from models.tables import WORD


class MutationPromptRow(Base):
    """An instruction for changing instructions; these evolve too (PromptBreeder)."""

    __tablename__ = "mutation_prompts"
    __table_args__ = (UniqueConstraint("run_id", "ordinal"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    ordinal: Mapped[int]
    text: Mapped[str] = mapped_column(Text)
    parent_ordinal: Mapped[int | None]
    applied: Mapped[int] = mapped_column(default=0)
    improved: Mapped[int] = mapped_column(default=0)  # children fitter than their parent


class EvaluationRow(Base):
    """What one variant did on one labelled sample; never run twice within a run."""

    __tablename__ = "evaluations"
    __table_args__ = (UniqueConstraint("variant_id", "sample_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    variant_id: Mapped[int] = mapped_column(ForeignKey("prompt_variants.variant_id"))
    sample_id: Mapped[int]  # no foreign key: undoing an import removes the sample and keeps what was measured
    split: Mapped[str] = mapped_column(WORD)  # search, or select for the confirmation
    value: Mapped[float] = mapped_column(Float)
    correct: Mapped[bool]
    lost: Mapped[str] = mapped_column(Text, default="")  # words separated by commas
    output: Mapped[str] = mapped_column(Text, default="")


class OperatorTallyRow(Base):
    """How often one operator was applied in a run, and how often the child was better than its parent."""

    __tablename__ = "operator_tallies"

    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"), primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(WORD, primary_key=True)
    applied: Mapped[int] = mapped_column(default=0)
    improved: Mapped[int] = mapped_column(default=0)
