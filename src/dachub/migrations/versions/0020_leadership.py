"""Note which of several processes leads a kind of background work.

Revision: 0020, after 0019
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "leadership",
        sa.Column("kind", sa.String(20), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=False),
        sa.Column("replica", sa.String(255), nullable=False),
        sa.Column("since", sa.DateTime(timezone=True), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("workers", postgresql.JSONB(), nullable=False),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_leadership")),
    )
