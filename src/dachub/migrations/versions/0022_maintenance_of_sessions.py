"""Keep when a session's machine is taken out of service, whatever else its stop is due for.

Revision: 0022, after 0021
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("session", sa.Column("maintenance_at", sa.DateTime(timezone=True), nullable=True))
    op.execute(
        "update session set maintenance_at = stop_due_at"
        " where stop_due_reason = 'maintenance' and ended_at is null"
    )
