"""Whether the file system itself holds a place to its limits.

Revision: 0008, after 0007
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "storage_place",
        sa.Column("enforced", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.alter_column("storage_place", "enforced", server_default=None)
