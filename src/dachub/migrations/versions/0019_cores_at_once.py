"""How many cores may run at once, and the queue of servers that wait for them.

Revision: 0019, after 0018
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    moment = sa.DateTime(timezone=True)
    op.create_table(
        "core_limit",
        sa.Column("limit_id", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("group", sa.String(length=20), nullable=True),
        sa.Column("milli_cores", sa.Integer(), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.CheckConstraint("milli_cores > 0", name=op.f("ck_core_limit_milli_cores")),
        sa.ForeignKeyConstraint(
            ["group"], ["research_group.slug"], name=op.f("fk_core_limit_group_research_group")
        ),
        sa.PrimaryKeyConstraint("limit_id", name=op.f("pk_core_limit")),
    )
    op.create_index(op.f("ix_core_limit_group_limit_id"), "core_limit", ["group", "limit_id"])
    op.create_table(
        "start_permit",
        sa.Column("number", sa.BigInteger(), sa.Identity(), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("server_name", sa.String(length=255), nullable=False),
        sa.Column("group", sa.String(length=20), nullable=False),
        sa.Column("milli_cores", sa.Integer(), nullable=False),
        sa.Column("is_rescue", sa.Boolean(), nullable=False),
        sa.Column("asked_at", moment, nullable=False),
        sa.Column("seen_at", moment, nullable=False),
        sa.Column("granted_at", moment, nullable=True),
        sa.CheckConstraint("milli_cores > 0", name=op.f("ck_start_permit_milli_cores")),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_start_permit")),
        sa.UniqueConstraint("session_id", name=op.f("uq_start_permit_session_id")),
    )
    op.create_index(
        op.f("ix_start_permit_username_server_name"),
        "start_permit",
        ["username", "server_name"],
        unique=True,
    )
