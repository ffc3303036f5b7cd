"""Notices by mail and as people choose; requests for more.

Revision: 0004, after 0003
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _notices()
    _requests()


def _notices() -> None:
    # Notices from before are in the portal, and nobody gets a mail about them.
    op.add_column(
        "notice",
        sa.Column("in_portal", sa.Boolean(), server_default=sa.true(), nullable=False),
    )
    op.add_column("notice", sa.Column("mail_state", sa.String(length=10), nullable=True))
    op.add_column("notice", sa.Column("mail_due_at", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "notice", sa.Column("mail_attempts", sa.Integer(), server_default="0", nullable=False)
    )
    op.add_column("notice", sa.Column("mail_error", sa.String(), server_default="", nullable=False))
    for column in ("in_portal", "mail_attempts", "mail_error"):
        op.alter_column("notice", column, server_default=None)
    op.create_check_constraint(
        op.f("ck_notice_mail"),
        "notice",
        "mail_state in ('pending', 'sent', 'failed', 'skipped')",
    )
    op.create_index(op.f("ix_notice_username_notice_id"), "notice", ["username", "notice_id"])
    op.drop_index("ix_notice_unread", "notice")
    op.create_index(
        "ix_notice_unread",
        "notice",
        ["username"],
        postgresql_where=sa.text("read_at is null and in_portal"),
    )
    op.create_index(
        "ix_notice_mail",
        "notice",
        ["mail_due_at"],
        postgresql_where=sa.text("mail_state = 'pending'"),
    )
    op.create_table(
        "notice_preference",
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("portal", sa.Boolean(), nullable=False),
        sa.Column("email", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("username", "kind", name=op.f("pk_notice_preference")),
    )


def _requests() -> None:
    op.create_table(
        "allocation_request",
        sa.Column("request_id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("group", sa.String(length=20), nullable=False),
        sa.Column("resource", sa.String(length=30), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("username", sa.String(), nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("decided_by", sa.String(), nullable=True),
        sa.Column("decided_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("decision_reason", sa.String(), nullable=False),
        sa.Column("granted", sa.BigInteger(), nullable=True),
        sa.Column("allocation_id", sa.Integer(), nullable=True),
        sa.CheckConstraint("amount > 0", name=op.f("ck_allocation_request_amount")),
        sa.CheckConstraint(
            "state in ('open', 'granted', 'declined', 'withdrawn')",
            name=op.f("ck_allocation_request_state"),
        ),
        sa.ForeignKeyConstraint(
            ["allocation_id"],
            ["allocation.allocation_id"],
            name=op.f("fk_allocation_request_allocation_id"),
        ),
        sa.ForeignKeyConstraint(
            ["group"], ["research_group.slug"], name=op.f("fk_allocation_request_group")
        ),
        sa.PrimaryKeyConstraint("request_id", name=op.f("pk_allocation_request")),
    )
    op.create_index(
        op.f("ix_allocation_request_group_request_id"),
        "allocation_request",
        ["group", "request_id"],
    )
    op.create_index(
        "ix_allocation_request_open",
        "allocation_request",
        ["request_id"],
        postgresql_where=sa.text("state = 'open'"),
    )
