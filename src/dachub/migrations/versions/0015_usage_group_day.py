"""Usage of groups by day without the person: what a decision on a start adds up.

Revision: 0015, after 0014
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "usage_group_day",
        sa.Column("group", sa.String(length=20), nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("milli_core_seconds", sa.BigInteger(), nullable=False),
        sa.Column("memory_byte_seconds", sa.Numeric(precision=38, scale=0), nullable=False),
        sa.Column("gpu_seconds", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("group", "day", name=op.f("pk_usage_group_day")),
    )
    op.execute("""
        insert into usage_group_day
        select "group", day,
               sum(milli_core_seconds), sum(memory_byte_seconds), sum(gpu_seconds)
        from usage_day
        group by 1, 2
        order by 1, 2
    """)
