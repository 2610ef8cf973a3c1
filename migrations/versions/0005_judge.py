"""Remember who judged, how it was asked and what it answered, and what each judge was worth on the canaries."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from models.base import UtcDateTime

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

INDEX = ("digest", "protocol", "at")


def added() -> list[sa.Column[Any]]:
    """Return the new columns of the judgements; earlier verdicts were by the rubric, and nobody knows of which digest."""
    empty = sa.text("''")
    return [
        sa.Column("role", sa.String(length=40), nullable=False, server_default=sa.text("'judge'")),
        sa.Column("served_by", sa.String(length=400), nullable=False, server_default=empty),
        sa.Column("digest", sa.String(length=128), nullable=False, server_default=empty),
        sa.Column("protocol", sa.String(length=40), nullable=False, server_default=sa.text("'rubric'")),
        sa.Column("prompt_sha", sa.String(length=64), nullable=False, server_default=empty),
        sa.Column("probabilities", sa.Text(), nullable=False, server_default=empty),
        sa.Column("pairwise", sa.String(length=40), nullable=False, server_default=empty),
        sa.Column("counted", sa.Boolean(), nullable=False, server_default=sa.true()),
        sa.Column("advisory", sa.Boolean(), nullable=False, server_default=sa.false()),
        sa.Column("void", sa.Boolean(), nullable=False, server_default=sa.false()),
    ]


def upgrade() -> None:
    for column in added():
        op.add_column("judgements", column)
    op.create_table(
        "judge_checks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("judge_tag", sa.String(length=200), nullable=False),
        sa.Column("served_by", sa.String(length=400), nullable=False),
        sa.Column("digest", sa.String(length=128), nullable=False),
        sa.Column("protocol", sa.String(length=40), nullable=False),
        sa.Column("prompt_sha", sa.String(length=64), nullable=False),
        sa.Column("canaries_sha", sa.String(length=64), nullable=False),
        sa.Column("report", sa.Text(), nullable=False),
        sa.Column("trusted", sa.Boolean(), nullable=False),
        sa.Column("calls", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_judge_checks_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judge_checks")),
    )
    op.create_index(_index(), "judge_checks", list(INDEX))


def downgrade() -> None:
    op.drop_index(_index(), table_name="judge_checks")
    op.drop_table("judge_checks")
    for column in reversed(added()):
        op.drop_column("judgements", column.name)


def _index() -> str:
    return str(op.f("ix_judge_checks_" + "_judge_checks_".join(INDEX)))
