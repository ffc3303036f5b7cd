"""Let requests ask for as much as can be granted: bytes times seconds exceed 64 bits.

Revision: 0012, after 0011
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    for column in ("amount", "granted"):
        op.alter_column(
            "allocation_request",
            column,
            type_=sa.Numeric(38, 0),
            existing_type=sa.BigInteger(),
        )
