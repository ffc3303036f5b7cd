"""Quotas: adjustments carry end and policy too, series, members' limits, standings.

Revision: 0006, after 0005
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)
AMOUNT = sa.Numeric(precision=38, scale=0)


def upgrade() -> None:
    op.create_table(
        "allocation_series",
        sa.Column("series_id", sa.Integer(), sa.Identity(always=False), nullable=False),
        sa.Column("group", sa.String(length=20), nullable=False),
        sa.Column("resource", sa.String(length=30), nullable=False),
        sa.Column("amount", AMOUNT, nullable=False),
        sa.Column("every", sa.String(length=20), nullable=False),
        sa.Column("first", TIME, nullable=False),
        sa.Column("until", TIME, nullable=True),
        sa.Column("carry_over_percent", sa.Integer(), nullable=True),
        sa.Column("policy", postgresql.JSONB(), nullable=False),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("ended_by", sa.String(), nullable=True),
        sa.Column("end_reason", sa.String(), nullable=True),
        sa.ForeignKeyConstraint(
            ["group"], ["research_group.slug"], name=op.f("fk_allocation_series_group")
        ),
        sa.PrimaryKeyConstraint("series_id", name=op.f("pk_allocation_series")),
    )
    op.create_index(op.f("ix_allocation_series_group"), "allocation_series", ["group"])
    op.create_table(
        "member_limit",
        sa.Column("limit_id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("group", sa.String(length=20), nullable=False),
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("resource", sa.String(length=30), nullable=False),
        sa.Column("amount", AMOUNT, nullable=True),
        sa.Column("reason", sa.String(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.ForeignKeyConstraint(
            ["group"], ["research_group.slug"], name=op.f("fk_member_limit_group")
        ),
        sa.PrimaryKeyConstraint("limit_id", name=op.f("pk_member_limit")),
    )
    op.create_index(
        op.f("ix_member_limit_group_username_resource_limit_id"),
        "member_limit",
        ["group", "username", "resource", "limit_id"],
    )
    op.create_table(
        "quota_standing",
        sa.Column("group", sa.String(length=20), nullable=False),
        sa.Column("resource", sa.String(length=30), nullable=False),
        sa.Column("username", sa.String(length=32), nullable=False),
        sa.Column("state", sa.String(length=10), nullable=False),
        sa.Column("state_since", TIME, nullable=False),
        sa.Column("period_since", TIME, nullable=True),
        sa.Column("told_percent", sa.Integer(), nullable=False),
        sa.Column("spent_at", TIME, nullable=True),
        sa.PrimaryKeyConstraint("group", "resource", "username", name=op.f("pk_quota_standing")),
    )
    op.create_table(
        "enforcement",
        sa.Column("row", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("run_at", TIME, nullable=False),
        sa.Column("doubt", sa.String(), nullable=False),
        sa.Column("doubt_since", TIME, nullable=True),
        sa.Column("needs_a_person", sa.Boolean(), nullable=False),
        sa.Column("reconciliations", sa.Integer(), nullable=False),
        sa.Column("reconciled_at", TIME, nullable=True),
        sa.CheckConstraint("row = 1", name=op.f("ck_enforcement_row")),
        sa.PrimaryKeyConstraint("row", name=op.f("pk_enforcement")),
    )
    op.add_column(
        "worker_run",
        sa.Column("is_clean", sa.Boolean(), nullable=False, server_default=sa.true()),
    )
    op.alter_column("worker_run", "is_clean", server_default=None)
    _let_adjustments_carry_everything()


def _let_adjustments_carry_everything() -> None:
    """What an allocation's row said of its end and policy becomes part of its first adjustment."""
    op.add_column("allocation", sa.Column("series_id", sa.Integer(), nullable=True))
    op.create_foreign_key(
        op.f("fk_allocation_series_id"),
        "allocation",
        "allocation_series",
        ["series_id"],
        ["series_id"],
    )
    op.create_index(
        op.f("ix_allocation_series_id_starts_at"),
        "allocation",
        ["series_id", "starts_at"],
        unique=True,
    )
    op.alter_column("allocation_adjustment", "amount", type_=AMOUNT, existing_type=sa.BigInteger())
    op.add_column("allocation_adjustment", sa.Column("ends_at", TIME, nullable=True))
    op.add_column("allocation_adjustment", sa.Column("policy", postgresql.JSONB(), nullable=True))
    op.add_column("allocation_adjustment", sa.Column("key", sa.String(length=40), nullable=True))
    op.create_index(
        op.f("ix_allocation_adjustment_allocation_id_key"),
        "allocation_adjustment",
        ["allocation_id", "key"],
        unique=True,
    )
    op.execute(
        "update allocation_adjustment j"
        " set ends_at = a.ends_at, policy = jsonb_build_object('when_spent', a.policy)"
        " from allocation a where a.allocation_id = j.allocation_id and j.adjustment_id ="
        " (select min(adjustment_id) from allocation_adjustment f"
        "  where f.allocation_id = a.allocation_id)"
    )
    op.drop_constraint(op.f("ck_allocation_policy"), "allocation")
    op.drop_constraint(op.f("ck_allocation_period"), "allocation")
    op.drop_column("allocation", "ends_at")
    op.drop_column("allocation", "policy")
