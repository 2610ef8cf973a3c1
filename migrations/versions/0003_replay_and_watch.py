"""Remember replays, which comparison a vote belongs to, and each prompt version's label stream and golden set."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op

from models.base import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

INDEXES = (
    ("skill_name", "version", "judged_at"),
    ("skill_name", "audit", "created_at"),
    ("skill_name", "known", "split"),
    ("skill_name", "known", "id"),
    ("skill_name", "id"),
)
SILENT = "label IS NULL AND output IS NOT NULL AND expected IS NULL"
ENTERING = "entered IS NULL AND label IS NOT NULL"
PARTIAL = (  # name, columns, and the condition on SQLite and on PostgreSQL
    ("ix_samples_silent", ("skill_name", "created_at"), SILENT, SILENT),
    ("ix_samples_entering", ("skill_name", "version", "created_at"), ENTERING, ENTERING),
    ("ix_samples_audited", ("skill_name", "version", "label_source", "created_at"), "audit IS 1", "audit IS TRUE"),
)
SKIPPED = '{"skipped": "the votes had begun before there was a replay"}'


def added() -> list[tuple[str, sa.Column[Any]]]:
    """Return the new columns; their server defaults let them be added to tables with rows without copying those."""
    none, empty = sa.text("0"), sa.text("''")
    return [
        ("samples", sa.Column("entered", sa.Integer(), nullable=True)),
        ("samples", sa.Column("audit", sa.Boolean(), nullable=False, server_default=sa.false())),
        ("samples", sa.Column("known", sa.Boolean(), nullable=False, server_default=sa.false())),
        ("prompt_variants", sa.Column("replay_start", sa.Float(), nullable=False, server_default=sa.text("1.0"))),
        ("prompt_variants", sa.Column("replay_wins", sa.Integer(), nullable=False, server_default=none)),
        ("prompt_variants", sa.Column("replay_losses", sa.Integer(), nullable=False, server_default=none)),
        ("ballots", sa.Column("comparison", sa.Integer(), nullable=False, server_default=none)),
        ("ballots", sa.Column("undone", sa.Integer(), nullable=False, server_default=none)),
        ("ballot_cards", sa.Column("correct", sa.Boolean(), nullable=True)),
        ("votes", sa.Column("task_success", sa.Boolean(), nullable=True)),
        ("promotions", sa.Column("evidence", sa.Text(), nullable=False, server_default=empty)),
        ("promotions", sa.Column("actor", sa.String(length=40), nullable=False, server_default=empty)),
        ("evolutions", sa.Column("comparison", sa.Integer(), nullable=False, server_default=none)),
        ("evolutions", sa.Column("served_by", sa.String(length=400), nullable=False, server_default=empty)),
        ("evolutions", sa.Column("incumbent_sha", sa.String(length=64), nullable=False, server_default=empty)),
        ("evolutions", sa.Column("replay", sa.Text(), nullable=False, server_default=empty)),
        ("evolutions", sa.Column("restarted", sa.Text(), nullable=False, server_default=empty)),
    ]


def upgrade() -> None:
    for table, column in added():
        op.add_column(table, column)
    for columns in INDEXES:
        op.create_index(_index(columns), "samples", list(columns))
    for name, on, sqlite, postgresql in PARTIAL:
        op.create_index(name, "samples", list(on), sqlite_where=sa.text(sqlite), postgresql_where=sa.text(postgresql))
    op.create_table(
        "monitors",
        *_skill_version("monitors"),
        sa.Column("entered", sa.Integer(), nullable=False),
        sa.Column("base", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
    )
    op.create_table(
        "golden_sets",
        *_skill_version("golden_sets"),
        sa.Column("items", sa.Text(), nullable=False),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("served_by", sa.String(length=400), nullable=False),
        sa.Column("made_at", UtcDateTime(), nullable=False),
        sa.Column("checked", sa.Text(), nullable=False),
        sa.Column("checked_by", sa.String(length=400), nullable=False),
        sa.Column("checked_at", UtcDateTime(), nullable=True),
    )
    accepted = "(label = 'ok' AND label_source = 'person' AND output IS NOT NULL)"
    op.execute(f"UPDATE samples SET known = TRUE WHERE expected IS NOT NULL OR {accepted}")  # noqa: S608 - our own words
    # A test whose votes have begun goes on without a replay: its marks and counts stand.
    evolutions = sa.table("evolutions", sa.column("replay"), sa.column("voting_since"))
    op.execute(evolutions.update().where(evolutions.c.voting_since.is_not(None)).values(replay=SKIPPED))


def _index(columns: tuple[str, ...]) -> str:
    return str(op.f("ix_samples_" + "_samples_".join(columns)))


def _skill_version(table: str) -> tuple[Any, ...]:
    return (
        sa.Column("skill_name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["skill_name"], ["skills.name"], name=op.f(f"fk_{table}_skill_name_skills")),
        sa.PrimaryKeyConstraint("skill_name", "version", name=op.f(f"pk_{table}")),
    )


def downgrade() -> None:
    op.drop_table("golden_sets")
    op.drop_table("monitors")
    for name, _, _, _ in PARTIAL:
        op.drop_index(name, table_name="samples")
    for columns in INDEXES:
        op.drop_index(_index(columns), table_name="samples")
    for table, column in reversed(added()):
        op.drop_column(table, column.name)
