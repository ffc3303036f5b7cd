"""What was exported.

Revision: 0008, after 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "export_run",
        sa.Column("run_id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("format", sa.String(length=20), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("destination", sa.String(), nullable=False),
        sa.Column("records", sa.BigInteger(), nullable=False),
        sa.Column("milli_core_seconds", sa.BigInteger(), nullable=False),
        sa.Column("exported_milli_core_seconds", sa.BigInteger(), nullable=False),
        sa.Column("prepared_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("prepared_by", sa.String(), nullable=False),
        sa.Column("done_at", sa.DateTime(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("run_id", name=op.f("pk_export_run")),
    )
    op.create_index(
        "uq_export_run_prepared",
        "export_run",
        ["format"],
        unique=True,
        postgresql_where=sa.text("state = 'prepared'"),
    )
    op.create_table(
        "export_file",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("size_bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=True),
        sa.ForeignKeyConstraint(
            ["run_id"], ["export_run.run_id"], name=op.f("fk_export_file_run_id_export_run")
        ),
        sa.PrimaryKeyConstraint("run_id", "name", name=op.f("pk_export_file")),
    )
    _items()


def _items() -> None:
    op.create_table(
        "export_item",
        sa.Column("item_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("format", sa.String(length=20), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("month", sa.Date(), nullable=False),
        sa.Column("status", sa.String(length=10), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("measured_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seconds", sa.BigInteger(), nullable=False),
        sa.Column("milli_core_seconds", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["export_run.run_id"], name=op.f("fk_export_item_run_id_export_run")
        ),
        sa.PrimaryKeyConstraint("item_id", name=op.f("pk_export_item")),
    )
    op.create_index(
        op.f("ix_export_item_session_id_format_month"),
        "export_item",
        ["session_id", "format", "month"],
    )
    op.create_index(op.f("ix_export_item_format_month"), "export_item", ["format", "month"])
    op.create_index(op.f("ix_export_item_run_id"), "export_item", ["run_id"])
    op.create_index(
        "uq_export_item_job",
        "export_item",
        ["session_id"],
        unique=True,
        postgresql_where=sa.text("format = 'xdmod-jobs'"),
    )
