"""Keep files of exports in parts, so that no export is ever in memory as a whole.

Revision: 0016, after 0015
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "export_part",
        sa.Column("run_id", sa.Integer(), nullable=False),
        sa.Column("file", sa.Integer(), nullable=False),
        sa.Column("part", sa.Integer(), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.ForeignKeyConstraint(
            ["run_id"], ["export_run.run_id"], name=op.f("fk_export_part_run_id_export_run")
        ),
        sa.PrimaryKeyConstraint("run_id", "file", "part", name=op.f("pk_export_part")),
    )
    op.add_column("export_file", sa.Column("number", sa.Integer(), nullable=True))
    op.execute(
        "update export_file f set number = counted.number from (select run_id, name,"
        " row_number() over (partition by run_id order by name) as number from export_file) counted"
        " where (f.run_id, f.name) = (counted.run_id, counted.name)"
    )
    op.alter_column("export_file", "number", nullable=False)
    op.execute(
        "insert into export_part (run_id, file, part, content)"
        " select run_id, number, 1, content from export_file where content is not null"
    )
    op.drop_column("export_file", "content")
