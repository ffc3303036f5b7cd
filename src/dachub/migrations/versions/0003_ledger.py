"""Usage by size and environment; corrections of sessions.

Revision: 0003, after 0002
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

KEY = ["day", "username", "group", "kind", "size", "environment"]

# Days were summed over sizes and environments; what was charged to each, the segments tell.
REBUILD = """
    insert into usage_day
        (day, username, "group", kind, size, environment,
         milli_core_seconds, memory_byte_seconds, gpu_seconds)
    select d::date, s.username, s."group", s.kind, s.size, s.environment,
           sum(t.seconds * g.milli_cores)::bigint,
           sum(t.seconds::numeric * g.memory_bytes),
           sum(t.seconds * g.gpus)::bigint
    from segment g
    join session s using (session_id)
    cross join lateral generate_series(
        date_trunc('day', g.started_at at time zone 'UTC'),
        g.counted_to at time zone 'UTC', interval '1 day') d
    cross join lateral (select extract(epoch from
        least(g.counted_to at time zone 'UTC', d + interval '1 day')
        - greatest(g.started_at at time zone 'UTC', d))::bigint as seconds) t
    where t.seconds > 0
    group by 1, 2, 3, 4, 5, 6
"""


def upgrade() -> None:
    op.execute("delete from usage_day")
    op.drop_constraint("pk_usage_day", "usage_day", type_="primary")
    op.add_column("usage_day", sa.Column("size", sa.String(length=63), nullable=False))
    op.add_column("usage_day", sa.Column("environment", sa.String(length=63), nullable=False))
    op.create_primary_key("pk_usage_day", "usage_day", KEY)
    op.execute(REBUILD)
    op.create_table(
        "session_correction",
        sa.Column("correction_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("session_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.String(length=10), nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ended_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.CheckConstraint(
            "action in ('void', 'amend', 'restore')", name=op.f("ck_session_correction_action")
        ),
        sa.ForeignKeyConstraint(
            ["session_id"], ["session.session_id"], name=op.f("fk_session_correction_session_id")
        ),
        sa.PrimaryKeyConstraint("correction_id", name=op.f("pk_session_correction")),
    )
    op.create_index(
        op.f("ix_session_correction_session_id_correction_id"),
        "session_correction",
        ["session_id", "correction_id"],
    )
