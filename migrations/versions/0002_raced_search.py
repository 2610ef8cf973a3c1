"""Remember what each prompt did on each sample, how often operators helped, and what a search goes by."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def added() -> list[tuple[str, sa.Column[Any]]]:
    """Return the new columns; their server defaults let them be added to tables with rows without copying those."""
    none = sa.text("0")
    return [
        ("cancelled_calls", sa.Column("visit", sa.Integer(), nullable=False, server_default=none)),
        ("evolutions", sa.Column("samples", sa.Text(), nullable=False, server_default=sa.text("''"))),
        ("prompt_variants", sa.Column("confirm_correct", sa.Integer(), nullable=False, server_default=none)),
        ("prompt_variants", sa.Column("confirm_n", sa.Integer(), nullable=False, server_default=none)),
        ("prompt_variants", sa.Column("finalist_rank", sa.Integer(), nullable=True)),
        ("prompt_variants", sa.Column("improved", sa.Boolean(), nullable=False, server_default=sa.false())),
    ]


def upgrade() -> None:
    for table, column in added():
        op.add_column(table, column)
    op.create_table(
        "operator_tallies",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("applied", sa.Integer(), nullable=False),
        sa.Column("improved", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_operator_tallies_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_operator_tallies")),
    )
    op.create_table(
        "evaluations",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=False),
        sa.Column("sample_id", sa.Integer(), nullable=False),
        sa.Column("split", sa.String(length=40), nullable=False),
        sa.Column("value", sa.Float(), nullable=False),
        sa.Column("correct", sa.Boolean(), nullable=False),
        sa.Column("lost", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["prompt_variants.variant_id"], name=op.f("fk_evaluations_variant_id_prompt_variants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_evaluations")),
        sa.UniqueConstraint("variant_id", "sample_id", name=op.f("uq_evaluations_variant_id_sample_id")),
    )
    _keep_the_paper_mode()


def _keep_the_paper_mode() -> None:
    """A search that is under way began with the paper's loop, before there was a choice, and goes on with it."""
    runs = sa.table("runs", sa.column("id"), sa.column("rules"), sa.column("ended_at"))
    bind = op.get_bind()
    for run, text in bind.execute(sa.select(runs.c.id, runs.c.rules).where(runs.c.ended_at.is_(None))).all():
        rules = json.loads(text)
        search = rules.get("settings", {}).get("search")
        if isinstance(search, dict) and search.setdefault("mode", "promptbreeder") == "promptbreeder":
            bind.execute(runs.update().where(runs.c.id == run).values(rules=json.dumps(rules, sort_keys=True)))


def downgrade() -> None:
    op.drop_table("evaluations")
    op.drop_table("operator_tallies")
    for table, column in reversed(added()):
        op.drop_column(table, column.name)
