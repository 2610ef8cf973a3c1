"""Keep with each variant how sure its writer was and what is odd about it, and with each call what its prompt was guessed to measure."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def added() -> list[tuple[str, sa.Column[Any]]]:
    """Return the new columns; their server defaults let them be added to tables with rows without copying those."""
    none, empty = sa.text("0"), sa.text("''")
    return [
        ("prompt_variants", sa.Column("mean_logprob", sa.Float(), nullable=True)),
        ("prompt_variants", sa.Column("min_logprob", sa.Float(), nullable=True)),
        ("prompt_variants", sa.Column("flags", sa.Text(), nullable=False, server_default=empty)),
        ("model_calls", sa.Column("digest", sa.String(length=128), nullable=False, server_default=empty)),
        ("model_calls", sa.Column("estimate", sa.Float(), nullable=False, server_default=none)),
    ]


def upgrade() -> None:
    for table, column in added():
        op.add_column(table, column)


def downgrade() -> None:
    for table, column in reversed(added()):
        op.drop_column(table, column.name)
