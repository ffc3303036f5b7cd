"""Whether the file system itself holds a place to its limits.

Revision: 0009, after 0008
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "storage_place",
        sa.Column("enforced", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.alter_column("storage_place", "enforced", server_default=None)
