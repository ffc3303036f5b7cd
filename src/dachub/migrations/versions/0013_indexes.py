"""Let names whose term is over, and what a group runs, be found without reading the rest.

Revision: 0013, after 0012
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None

NOTHING = "milli_core_seconds = 0 and memory_byte_seconds = 0 and gpu_seconds = 0"


def upgrade() -> None:
    op.create_index(
        "ix_session_named",
        "session",
        ["ended_at"],
        postgresql_where=sa.text("username not like 'gone-%'"),
    )
    for table, column in (("session", "group"), ("segment", "session_id")):
        name = f"ix_{table}_open"
        op.drop_index(name, table)
        op.create_index(name, table, [column], postgresql_where=sa.text("ended_at is null"))
    for table in ("usage_day", "usage_month"):
        op.create_index(
            f"ix_{table}_nothing", table, ["username"], postgresql_where=sa.text(NOTHING)
        )
