"""Usage by month beside usage by day.

Revision: 0010, after 0009
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_month",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("group", sa.String(length=20), nullable=False),
        sa.Column("kind", sa.String(length=20), nullable=False),
        sa.Column("size", sa.String(length=63), nullable=False),
        sa.Column("environment", sa.String(length=63), nullable=False),
        sa.Column("milli_core_seconds", sa.BigInteger(), nullable=False),
        sa.Column("memory_byte_seconds", sa.Numeric(precision=38, scale=0), nullable=False),
        sa.Column("gpu_seconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint(
            "day",
            "username",
            "group",
            "kind",
            "size",
            "environment",
            name=op.f("pk_usage_month"),
        ),
    )
    amounts = ["username", "milli_core_seconds", "memory_byte_seconds", "gpu_seconds"]
    op.create_index(
        op.f("ix_usage_month_group_day"),
        "usage_month",
        ["group", "day"],
        postgresql_include=amounts,
    )
    op.drop_index(op.f("ix_usage_day_group_day"), table_name="usage_day")
    op.create_index(
        op.f("ix_usage_day_group_day"), "usage_day", ["group", "day"], postgresql_include=amounts
    )
    op.execute("""
        insert into usage_month
        select date_trunc('month', day)::date, username, "group", kind, size, environment,
               sum(milli_core_seconds), sum(memory_byte_seconds), sum(gpu_seconds)
        from usage_day
        group by 1, 2, 3, 4, 5, 6
        order by 1
    """)
