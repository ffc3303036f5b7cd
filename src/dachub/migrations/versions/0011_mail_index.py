"""Let mails that were given up be counted without reading all notices.

Revision: 0011, after 0010
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_index("ix_notice_mail", "notice")
    op.create_index(
        "ix_notice_mail",
        "notice",
        ["mail_state", "mail_due_at"],
        postgresql_where=sa.text("mail_state in ('pending', 'failed')"),
    )
