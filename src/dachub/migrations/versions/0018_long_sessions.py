"""Let long sessions be found by their end, so that sessions of a period are found by their start.

Revision: 0018, after 0017
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_index(
        "ix_session_long",
        "session",
        ["ended_at", "requested_at"],
        postgresql_where=sa.text("ended_at - requested_at > interval '1 day'"),
    )
