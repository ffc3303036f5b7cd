"""Storage.

Revision: 0005, after 0004
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "storage_sample",
        sa.Column("area", sa.String(length=20), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("sampled_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("allocated_bytes", sa.BigInteger(), nullable=False),
        sa.Column("files", sa.BigInteger(), nullable=False),
        sa.Column("unreadable", sa.BigInteger(), nullable=False),
        sa.Column("method", sa.String(length=20), nullable=False),
        sa.PrimaryKeyConstraint("area", "owner", "sampled_at", name=op.f("pk_storage_sample")),
    )
    op.create_index(op.f("ix_storage_sample_sampled_at"), "storage_sample", ["sampled_at"])
    op.create_table(
        "storage_place",
        sa.Column("area", sa.String(length=20), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("known", sa.Boolean(), nullable=False),
        sa.Column("present", sa.Boolean(), nullable=False),
        sa.Column("sampled_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tried_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("requested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("largest", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("told_percent", sa.Integer(), nullable=False),
        sa.Column("told_count", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("area", "owner", name=op.f("pk_storage_place")),
    )
    op.create_table(
        "storage_limit",
        sa.Column("limit_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("area", sa.String(length=20), nullable=False),
        sa.Column("owner", sa.String(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=True),
        sa.Column("files", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint("bytes >= 0 and files >= 0", name=op.f("ck_storage_limit_amount")),
        sa.PrimaryKeyConstraint("limit_id", name=op.f("pk_storage_limit")),
    )
    op.create_index(
        op.f("ix_storage_limit_area_owner_limit_id"),
        "storage_limit",
        ["area", "owner", "limit_id"],
    )
