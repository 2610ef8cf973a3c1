"""Create all tables."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

from models.base import UtcDateTime

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "embeddings",
        sa.Column("text_sha", sa.String(length=64), nullable=False),
        sa.Column("profile", sa.String(length=300), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("text_sha", "profile", name=op.f("pk_embeddings")),
    )
    op.create_table(
        "label_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sample_id", sa.Integer(), nullable=False),
        sa.Column("batch", sa.String(length=40), nullable=False),
        sa.Column("before", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("undone", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_label_events")),
    )
    with op.batch_alter_table("label_events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_label_events_batch"), ["batch"], unique=False)

    op.create_table(
        "skills",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("checked_at", UtcDateTime(), nullable=True),
        sa.Column("check_reason", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_skills")),
    )
    op.create_table(
        "runs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("skill_name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("trigger", sa.String(length=40), nullable=False),
        sa.Column("forced", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("seed", sa.BigInteger(), nullable=False),
        sa.Column("rules", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("horizon", sa.Integer(), nullable=False),
        sa.Column("target_variant_id", sa.Integer(), nullable=True),
        sa.Column("target_version", sa.Integer(), nullable=True),
        sa.Column("simulated", sa.Boolean(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("ending", sa.String(length=40), nullable=False),
        sa.Column("ending_reason", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["skill_name"], ["skills.name"], name=op.f("fk_runs_skill_name_skills")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_runs")),
    )
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_runs_skill_name_runs_kind_runs_created_at"),
            ["skill_name", "kind", "created_at"],
            unique=False,
        )
        batch_op.create_index(
            "ux_runs_open_evolution",
            ["skill_name"],
            unique=True,
            sqlite_where=sa.text("kind = 'evolution' AND ended_at IS NULL"),
            postgresql_where=sa.text("kind = 'evolution' AND ended_at IS NULL"),
        )

    op.create_table(
        "cancelled_calls",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=40), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("tag", sa.String(length=200), nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_cancelled_calls_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_cancelled_calls")),
    )
    with op.batch_alter_table("cancelled_calls", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_cancelled_calls_run_id"), ["run_id"], unique=False)

    op.create_table(
        "evolutions",
        sa.Column("run_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("accuracy_before", sa.Float(), nullable=True),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("stale_generations", sa.Integer(), nullable=False),
        sa.Column("best_fitness", sa.Float(), nullable=True),
        sa.Column("voting_since", UtcDateTime(), nullable=True),
        sa.Column("report", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_evolutions_run_id_runs")),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_evolutions")),
    )
    op.create_table(
        "model_calls",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=40), nullable=False),
        sa.Column("visit", sa.Integer(), nullable=False),
        sa.Column("request_sha", sa.String(length=64), nullable=False),
        sa.Column("occurrence", sa.Integer(), nullable=False),
        sa.Column("role", sa.String(length=40), nullable=False),
        sa.Column("tag", sa.String(length=200), nullable=False),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.Column("reply", sa.Text(), nullable=True),
        sa.Column("prompt_tokens", sa.Integer(), nullable=False),
        sa.Column("tokens", sa.Integer(), nullable=False),
        sa.Column("duration_ms", sa.Float(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_model_calls_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_calls")),
        sa.UniqueConstraint(
            "run_id",
            "stage",
            "visit",
            "request_sha",
            "occurrence",
            name=op.f("uq_model_calls_run_id_stage_visit_request_sha_occurrence"),
        ),
    )
    with op.batch_alter_table("model_calls", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_model_calls_run_id_model_calls_role"), ["run_id", "role"], unique=False)

    op.create_table(
        "mutation_prompts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("parent_ordinal", sa.Integer(), nullable=True),
        sa.Column("applied", sa.Integer(), nullable=False),
        sa.Column("improved", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_mutation_prompts_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_mutation_prompts")),
        sa.UniqueConstraint("run_id", "ordinal", name=op.f("uq_mutation_prompts_run_id_ordinal")),
    )
    op.create_table(
        "promotions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("skill_name", sa.String(length=64), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("kind", sa.String(length=40), nullable=False),
        sa.Column("from_version", sa.Integer(), nullable=False),
        sa.Column("to_version", sa.Integer(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("e_value", sa.Float(), nullable=True),
        sa.Column("votes", sa.Integer(), nullable=False),
        sa.Column("accuracy_before", sa.Float(), nullable=True),
        sa.Column("accuracy_after", sa.Float(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("config_before", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("applied_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_promotions_run_id_runs")),
        sa.ForeignKeyConstraint(["skill_name"], ["skills.name"], name=op.f("fk_promotions_skill_name_skills")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_promotions")),
        sa.UniqueConstraint("run_id", "to_version", name=op.f("uq_promotions_run_id_to_version")),
    )
    op.create_table(
        "prompt_variants",
        sa.Column("variant_id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=False),
        sa.Column("skill_name", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=40), nullable=False),
        sa.Column("prompt_text", sa.Text(), nullable=False),
        sa.Column("text_sha", sa.String(length=64), nullable=False),
        sa.Column("generation", sa.Integer(), nullable=False),
        sa.Column("slot", sa.Integer(), nullable=False),
        sa.Column("parent_id", sa.Integer(), nullable=True),
        sa.Column("second_parent_id", sa.Integer(), nullable=True),
        sa.Column("mutation_type", sa.String(length=40), nullable=False),
        sa.Column("mutation_ordinal", sa.Integer(), nullable=True),
        sa.Column("reasoning", sa.Text(), nullable=False),
        sa.Column("fitness_score", sa.Float(), nullable=True),
        sa.Column("fitness_correct", sa.Integer(), nullable=False),
        sa.Column("fitness_n", sa.Integer(), nullable=False),
        sa.Column("fate", sa.String(length=40), nullable=False),
        sa.Column("fate_reason", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["parent_id"], ["prompt_variants.variant_id"], name=op.f("fk_prompt_variants_parent_id_prompt_variants")
        ),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_prompt_variants_run_id_runs")),
        sa.ForeignKeyConstraint(
            ["second_parent_id"],
            ["prompt_variants.variant_id"],
            name=op.f("fk_prompt_variants_second_parent_id_prompt_variants"),
        ),
        sa.ForeignKeyConstraint(["skill_name"], ["skills.name"], name=op.f("fk_prompt_variants_skill_name_skills")),
        sa.PrimaryKeyConstraint("variant_id", name=op.f("pk_prompt_variants")),
        sa.UniqueConstraint("run_id", "ordinal", name=op.f("uq_prompt_variants_run_id_ordinal")),
    )
    with op.batch_alter_table("prompt_variants", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_prompt_variants_skill_name_prompt_variants_text_sha"),
            ["skill_name", "text_sha"],
            unique=False,
        )

    op.create_table(
        "steps",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("stage", sa.String(length=40), nullable=False),
        sa.Column("visit", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.Integer(), nullable=False),
        sa.Column("state", sa.String(length=40), nullable=False),
        sa.Column("dirty", sa.Boolean(), nullable=False),
        sa.Column("crashes", sa.Integer(), nullable=False),
        sa.Column("slices", sa.Integer(), nullable=False),
        sa.Column("waiting_for", sa.String(length=200), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=True),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("updated_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_steps_run_id_runs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_steps")),
        sa.UniqueConstraint("run_id", "stage", "visit", name=op.f("uq_steps_run_id_stage_visit")),
    )
    with op.batch_alter_table("steps", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_steps_state_steps_due_at"), ["state", "due_at"], unique=False)

    op.create_table(
        "assignments",
        sa.Column("skill_name", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=200), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=True),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("ballot", sa.Boolean(), nullable=False),
        sa.Column("outcome", sa.String(length=40), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("outcome_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_assignments_run_id_runs")),
        sa.ForeignKeyConstraint(["skill_name"], ["skills.name"], name=op.f("fk_assignments_skill_name_skills")),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["prompt_variants.variant_id"], name=op.f("fk_assignments_variant_id_prompt_variants")
        ),
        sa.PrimaryKeyConstraint("skill_name", "task_id", name=op.f("pk_assignments")),
    )
    op.create_table(
        "gate_events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("step_id", sa.Integer(), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("waited_s", sa.Float(), nullable=False),
        sa.Column("preempted", sa.Boolean(), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_gate_events_run_id_runs")),
        sa.ForeignKeyConstraint(["step_id"], ["steps.id"], name=op.f("fk_gate_events_step_id_steps")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_gate_events")),
    )
    with op.batch_alter_table("gate_events", schema=None) as batch_op:
        batch_op.create_index(batch_op.f("ix_gate_events_run_id_gate_events_at"), ["run_id", "at"], unique=False)

    op.create_table(
        "judgements",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=False),
        sa.Column("judge_tag", sa.String(length=200), nullable=False),
        sa.Column("coherence", sa.Float(), nullable=True),
        sa.Column("actionability", sa.Float(), nullable=True),
        sa.Column("specificity", sa.Float(), nullable=True),
        sa.Column("overall", sa.Float(), nullable=True),
        sa.Column("passed", sa.Boolean(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["prompt_variants.variant_id"], name=op.f("fk_judgements_variant_id_prompt_variants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_judgements")),
        sa.UniqueConstraint("variant_id", "judge_tag", name=op.f("uq_judgements_variant_id_judge_tag")),
    )
    op.create_table(
        "prompt_versions",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("skill_name", sa.String(length=64), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("template", sa.Text(), nullable=False),
        sa.Column("text", sa.Text(), nullable=False),
        sa.Column("sha", sa.String(length=64), nullable=False),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("activated_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["skill_name"], ["skills.name"], name=op.f("fk_prompt_versions_skill_name_skills")),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["prompt_variants.variant_id"], name=op.f("fk_prompt_versions_variant_id_prompt_variants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_prompt_versions")),
        sa.UniqueConstraint("skill_name", "version", name=op.f("uq_prompt_versions_skill_name_version")),
    )
    op.create_table(
        "samples",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("skill_name", sa.String(length=64), nullable=False),
        sa.Column("task_id", sa.String(length=200), nullable=False),
        sa.Column("fields", sa.Text(), nullable=False),
        sa.Column("output", sa.Text(), nullable=True),
        sa.Column("expected", sa.Text(), nullable=True),
        sa.Column("label", sa.String(length=40), nullable=True),
        sa.Column("label_source", sa.String(length=40), nullable=True),
        sa.Column("lost", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("variant_id", sa.Integer(), nullable=True),
        sa.Column("split", sa.String(length=40), nullable=False),
        sa.Column("ballot_wanted", sa.Boolean(), nullable=False),
        sa.Column("batch", sa.String(length=40), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("judged_at", UtcDateTime(), nullable=True),
        sa.CheckConstraint("label IN ('ok', 'bad')", name=op.f("ck_samples_label")),
        sa.ForeignKeyConstraint(["skill_name"], ["skills.name"], name=op.f("fk_samples_skill_name_skills")),
        sa.ForeignKeyConstraint(
            ["variant_id"], ["prompt_variants.variant_id"], name=op.f("fk_samples_variant_id_prompt_variants")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_samples")),
        sa.UniqueConstraint("skill_name", "task_id", name=op.f("uq_samples_skill_name_task_id")),
    )
    with op.batch_alter_table("samples", schema=None) as batch_op:
        batch_op.create_index(
            batch_op.f("ix_samples_skill_name_samples_judged_at"), ["skill_name", "judged_at"], unique=False
        )

    op.create_table(
        "ballots",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("sample_id", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("closed_at", UtcDateTime(), nullable=True),
        sa.Column("outcome", sa.String(length=40), nullable=False),
        sa.ForeignKeyConstraint(["run_id"], ["runs.id"], name=op.f("fk_ballots_run_id_runs")),
        sa.ForeignKeyConstraint(["sample_id"], ["samples.id"], name=op.f("fk_ballots_sample_id_samples")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ballots")),
        sa.UniqueConstraint("run_id", "sample_id", name=op.f("uq_ballots_run_id_sample_id")),
    )
    op.create_table(
        "ballot_cards",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("ballot_id", sa.Integer(), nullable=False),
        sa.Column("position", sa.Integer(), nullable=False),
        sa.Column("output", sa.Text(), nullable=False),
        sa.Column("arms", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(["ballot_id"], ["ballots.id"], name=op.f("fk_ballot_cards_ballot_id_ballots")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ballot_cards")),
        sa.UniqueConstraint("ballot_id", "position", name=op.f("uq_ballot_cards_ballot_id_position")),
    )
    op.create_table(
        "votes",
        sa.Column("ballot_id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("choice", sa.String(length=40), nullable=False),
        sa.Column("position", sa.Integer(), nullable=True),
        sa.Column("voter", sa.String(length=100), nullable=False),
        sa.Column("took_ms", sa.Integer(), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["ballot_id"], ["ballots.id"], name=op.f("fk_votes_ballot_id_ballots")),
        sa.PrimaryKeyConstraint("ballot_id", name=op.f("pk_votes")),
    )


def downgrade() -> None:
    op.drop_table("votes")
    op.drop_table("ballot_cards")
    op.drop_table("ballots")
    with op.batch_alter_table("samples", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_samples_skill_name_samples_judged_at"))

    op.drop_table("samples")
    op.drop_table("prompt_versions")
    op.drop_table("judgements")
    with op.batch_alter_table("gate_events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_gate_events_run_id_gate_events_at"))

    op.drop_table("gate_events")
    op.drop_table("assignments")
    with op.batch_alter_table("steps", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_steps_state_steps_due_at"))

    op.drop_table("steps")
    with op.batch_alter_table("prompt_variants", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_prompt_variants_skill_name_prompt_variants_text_sha"))

    op.drop_table("prompt_variants")
    op.drop_table("promotions")
    op.drop_table("mutation_prompts")
    with op.batch_alter_table("model_calls", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_model_calls_run_id_model_calls_role"))

    op.drop_table("model_calls")
    op.drop_table("evolutions")
    with op.batch_alter_table("cancelled_calls", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_cancelled_calls_run_id"))

    op.drop_table("cancelled_calls")
    with op.batch_alter_table("runs", schema=None) as batch_op:
        batch_op.drop_index(
            "ux_runs_open_evolution",
            sqlite_where=sa.text("kind = 'evolution' AND ended_at IS NULL"),
            postgresql_where=sa.text("kind = 'evolution' AND ended_at IS NULL"),
        )
        batch_op.drop_index(batch_op.f("ix_runs_skill_name_runs_kind_runs_created_at"))

    op.drop_table("runs")
    op.drop_table("skills")
    with op.batch_alter_table("label_events", schema=None) as batch_op:
        batch_op.drop_index(batch_op.f("ix_label_events_batch"))

    op.drop_table("label_events")
    op.drop_table("embeddings")
