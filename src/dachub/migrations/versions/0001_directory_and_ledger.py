"""The directory and the ledger.

Revision: 0001, the first
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "audit",
        sa.Column("audit_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("actor", sa.String(), nullable=False),
        sa.Column("action", sa.String(length=63), nullable=False),
        sa.Column("username", sa.String(length=200), nullable=True),
        sa.Column("group", sa.String(length=200), nullable=True),
        sa.Column("details", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("request_id", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("audit_id", name=op.f("pk_audit")),
    )
    op.create_index(op.f("ix_audit_at"), "audit", ["at"], unique=False)
    op.create_index(op.f("ix_audit_group_at"), "audit", ["group", "at"], unique=False)
    op.create_index(op.f("ix_audit_username_at"), "audit", ["username", "at"], unique=False)
    op.create_table(
        "person",
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("issuer", sa.String(), nullable=False),
        sa.Column("subject", sa.String(), nullable=False),
        sa.Column("full_name", sa.String(), nullable=False),
        sa.Column("email", sa.String(), nullable=False),
        sa.Column("is_administrator", sa.Boolean(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_login_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("claims_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("disabled_reason", sa.String(), nullable=True),
        sa.Column("disable_enforced_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_person")),
    )
    op.create_index(op.f("ix_person_issuer_subject"), "person", ["issuer", "subject"], unique=True)
    op.create_table(
        "research_group",
        sa.Column("slug", sa.String(length=20), nullable=False),
        sa.Column("title", sa.String(), nullable=False),
        sa.Column("description", sa.String(), nullable=False),
        sa.Column("provider_name", sa.String(), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("slug", name=op.f("pk_research_group")),
        sa.UniqueConstraint("provider_name", name=op.f("uq_research_group_provider_name")),
    )
    op.create_table(
        "session",
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("export_id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("group", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("server_name", sa.String(), nullable=False),
        sa.Column("size", sa.String(length=63), nullable=False),
        sa.Column("environment", sa.String(length=63), nullable=False),
        sa.Column("milli_cores", sa.Integer(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("start_is_estimate", sa.Boolean(), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("end_reason", sa.String(length=20), nullable=True),
        sa.Column("end_is_estimate", sa.Boolean(), nullable=False),
        sa.Column("last_seen_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stop_due_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("stop_due_reason", sa.String(), nullable=True),
        sa.PrimaryKeyConstraint("session_id", name=op.f("pk_session")),
        sa.UniqueConstraint("export_id", name=op.f("uq_session_export_id")),
    )
    op.create_index(
        op.f("ix_session_group_requested_at"), "session", ["group", "requested_at"], unique=False
    )
    op.create_index(
        "ix_session_open",
        "session",
        ["session_id"],
        unique=False,
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_index(op.f("ix_session_requested_at"), "session", ["requested_at"], unique=False)
    op.create_index(
        op.f("ix_session_username_requested_at"),
        "session",
        ["username", "requested_at"],
        unique=False,
    )
    op.create_table(
        "usage_day",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("group", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("milli_core_seconds", sa.BigInteger(), nullable=False),
        sa.Column("memory_byte_seconds", sa.Numeric(precision=38, scale=0), nullable=False),
        sa.Column("gpu_seconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("day", "username", "group", "kind", name=op.f("pk_usage_day")),
    )
    op.create_index(op.f("ix_usage_day_group_day"), "usage_day", ["group", "day"], unique=False)
    op.create_table(
        "worker_run",
        sa.Column("name", sa.String(length=63), nullable=False),
        sa.Column("succeeded_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("outcome", sa.String(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_worker_run")),
    )
    op.create_table(
        "affiliation",
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("value", sa.String(length=500), nullable=False),
        sa.Column("asserted_by", sa.String(length=2000), nullable=False),
        sa.Column("first_asserted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("last_asserted_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("withdrawn_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(
            ["username"], ["person.username"], name=op.f("fk_affiliation_username")
        ),
        sa.PrimaryKeyConstraint("username", "value", "asserted_by", name=op.f("pk_affiliation")),
    )
    op.create_table(
        "allocation",
        sa.Column("allocation_id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("group", sa.String(length=20), nullable=False),
        sa.Column("resource", sa.String(length=30), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("policy", sa.String(length=10), nullable=False),
        sa.CheckConstraint(
            "policy in ('allow', 'warn', 'deny')", name=op.f("ck_allocation_policy")
        ),
        sa.CheckConstraint("ends_at > starts_at", name=op.f("ck_allocation_period")),
        sa.ForeignKeyConstraint(
            ["group"], ["research_group.slug"], name=op.f("fk_allocation_group")
        ),
        sa.PrimaryKeyConstraint("allocation_id", name=op.f("pk_allocation")),
    )
    op.create_index(
        op.f("ix_allocation_group_resource_starts_at"),
        "allocation",
        ["group", "resource", "starts_at"],
        unique=False,
    )
    op.create_table(
        "local_account",
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("password_hash", sa.String(), nullable=False),
        sa.Column("changed_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["username"], ["person.username"], name=op.f("fk_local_account_username")
        ),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_local_account")),
    )
    op.create_table(
        "membership",
        sa.Column("membership_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("group", sa.String(length=20), nullable=False),
        sa.Column("role", sa.String(length=10), nullable=False),
        sa.Column("source", sa.String(length=10), nullable=False),
        sa.Column("valid_from", sa.DateTime(timezone=True), nullable=False),
        sa.Column("valid_to", sa.DateTime(timezone=True), nullable=True),
        sa.CheckConstraint("role in ('member', 'manager', 'pi')", name=op.f("ck_membership_role")),
        sa.CheckConstraint("source in ('provider', 'local')", name=op.f("ck_membership_source")),
        sa.CheckConstraint(
            "valid_to is null or valid_to >= valid_from", name=op.f("ck_membership_interval")
        ),
        sa.ForeignKeyConstraint(
            ["group"], ["research_group.slug"], name=op.f("fk_membership_group")
        ),
        sa.ForeignKeyConstraint(
            ["username"], ["person.username"], name=op.f("fk_membership_username")
        ),
        sa.PrimaryKeyConstraint("membership_id", name=op.f("pk_membership")),
    )
    op.create_index(
        op.f("ix_membership_group_valid_from"), "membership", ["group", "valid_from"], unique=False
    )
    op.create_index(
        "uq_membership_current",
        "membership",
        ["username", "group", "source"],
        unique=True,
        postgresql_where=sa.text("valid_to is null"),
    )
    op.create_table(
        "segment",
        sa.Column("segment_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("counted_to", sa.DateTime(timezone=True), nullable=False),
        sa.Column("milli_cores", sa.Integer(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("gpus", sa.Integer(), nullable=False),
        sa.CheckConstraint("counted_to >= started_at", name=op.f("ck_segment_counted")),
        sa.CheckConstraint(
            "ended_at is null or ended_at >= started_at", name=op.f("ck_segment_interval")
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["session.session_id"], name=op.f("fk_segment_session_id")
        ),
        sa.PrimaryKeyConstraint("segment_id", name=op.f("pk_segment")),
    )
    op.create_index(
        "ix_segment_open",
        "segment",
        ["segment_id"],
        unique=False,
        postgresql_where=sa.text("ended_at is null"),
    )
    op.create_index(op.f("ix_segment_session_id"), "segment", ["session_id"], unique=False)
    op.create_index(
        "ix_segment_span",
        "segment",
        [sa.literal_column("tstzrange(started_at, ended_at)")],
        unique=False,
        postgresql_using="gist",
    )
    op.create_table(
        "allocation_adjustment",
        sa.Column("adjustment_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("allocation_id", sa.Integer(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["allocation_id"],
            ["allocation.allocation_id"],
            name=op.f("fk_allocation_adjustment_allocation_id"),
        ),
        sa.PrimaryKeyConstraint("adjustment_id", name=op.f("pk_allocation_adjustment")),
    )
    op.create_index(
        op.f("ix_allocation_adjustment_allocation_id"),
        "allocation_adjustment",
        ["allocation_id"],
        unique=False,
    )


def downgrade() -> None:
    op.drop_index(
        op.f("ix_allocation_adjustment_allocation_id"), table_name="allocation_adjustment"
    )
    op.drop_table("allocation_adjustment")
    op.drop_index("ix_segment_span", table_name="segment", postgresql_using="gist")
    op.drop_index(op.f("ix_segment_session_id"), table_name="segment")
    op.drop_index(
        "ix_segment_open", table_name="segment", postgresql_where=sa.text("ended_at is null")
    )
    op.drop_table("segment")
    op.drop_index(
        "uq_membership_current",
        table_name="membership",
        postgresql_where=sa.text("valid_to is null"),
    )
    op.drop_index(op.f("ix_membership_group_valid_from"), table_name="membership")
    op.drop_table("membership")
    op.drop_table("local_account")
    op.drop_index(op.f("ix_allocation_group_resource_starts_at"), table_name="allocation")
    op.drop_table("allocation")
    op.drop_table("affiliation")
    op.drop_table("worker_run")
    op.drop_index(op.f("ix_usage_day_group_day"), table_name="usage_day")
    op.drop_table("usage_day")
    op.drop_index(op.f("ix_session_username_requested_at"), table_name="session")
    op.drop_index(op.f("ix_session_requested_at"), table_name="session")
    op.drop_index(
        "ix_session_open", table_name="session", postgresql_where=sa.text("ended_at is null")
    )
    op.drop_index(op.f("ix_session_group_requested_at"), table_name="session")
    op.drop_table("session")
    op.drop_table("research_group")
    op.drop_index(op.f("ix_person_issuer_subject"), table_name="person")
    op.drop_table("person")
    op.drop_index(op.f("ix_audit_username_at"), table_name="audit")
    op.drop_index(op.f("ix_audit_group_at"), table_name="audit")
    op.drop_index(op.f("ix_audit_at"), table_name="audit")
    op.drop_table("audit")
