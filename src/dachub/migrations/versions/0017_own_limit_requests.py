"""Let members ask for a higher limit of their own, which their PI decides on.

Revision: 0017, after 0016
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column(
        "allocation_request",
        sa.Column("own_limit", sa.Boolean(), nullable=False, server_default=sa.false()),
    )
    op.alter_column("allocation_request", "own_limit", server_default=None)
