"""Tables of allocations and quotas. Times are whole seconds in UTC; amounts are integers."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Identity,
    Index,
    Numeric,
    String,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from dachub.infra.database import Base
from dachub.infra.personal import Personal


class AllocationRow(Base):
    """What a group may use of a resource from ``starts_at`` on.

    The row says only which allocation it is; amount, end and policy are what its adjustments come
    to.
    """

    __tablename__ = "allocation"
    __table_args__ = (
        Index(None, "group", "resource", "starts_at"),
        Index(None, "series_id", "starts_at", unique=True),
    )
    personal = Personal(plain=("group", "resource"))

    allocation_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    group: Mapped[str] = mapped_column(ForeignKey("research_group.slug"))
    resource: Mapped[str] = mapped_column(String(30))
    starts_at: Mapped[datetime]
    series_id: Mapped[int | None] = mapped_column(ForeignKey("allocation_series.series_id"))


class AdjustmentRow(Base):
    """An appended change of an allocation; never updated or deleted.

    ``amount`` is added; the last ``ends_at`` and the last ``policy`` count. ``key`` says what an
    adjustment is for that must not be made twice.
    """

    __tablename__ = "allocation_adjustment"
    __table_args__ = (Index(None, "allocation_id", "key", unique=True),)
    personal = Personal(
        others=("author",), texts=("reason",), plain=("policy", "key"), term="audit", since="at"
    )

    adjustment_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    allocation_id: Mapped[int] = mapped_column(ForeignKey("allocation.allocation_id"), index=True)
    amount: Mapped[int] = mapped_column(Numeric(38, 0))
    ends_at: Mapped[datetime | None]
    policy: Mapped[dict[str, Any] | None] = mapped_column(JSONB(none_as_null=True))
    key: Mapped[str | None] = mapped_column(String(40))
    reason: Mapped[str]
    author: Mapped[str]
    at: Mapped[datetime]


class AllocationRequestRow(Base):
    """A request for more, for a group or of one member's limit, and the one decision on it."""

    __tablename__ = "allocation_request"
    __table_args__ = (
        CheckConstraint("state in ('open', 'granted', 'declined', 'withdrawn')", name="state"),
        CheckConstraint("amount > 0", name="amount"),
        Index(None, "group", "request_id"),
        Index("ix_allocation_request_open", "request_id", postgresql_where=text("state = 'open'")),
    )
    personal = Personal(
        person="username",
        others=("decided_by",),
        details=("reason",),
        texts=("decision_reason",),
        plain=("group", "resource", "state"),
        term="audit",
        since="decided_at",
    )

    request_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    group: Mapped[str] = mapped_column(ForeignKey("research_group.slug"))
    resource: Mapped[str] = mapped_column(String(30))
    amount: Mapped[int] = mapped_column(Numeric(38, 0))
    own_limit: Mapped[bool] = mapped_column(default=False)
    reason: Mapped[str]
    username: Mapped[str]
    created_at: Mapped[datetime]
    state: Mapped[str] = mapped_column(String(10), default="open")
    decided_by: Mapped[str | None]
    decided_at: Mapped[datetime | None]
    decision_reason: Mapped[str] = mapped_column(default="")
    granted: Mapped[int | None] = mapped_column(Numeric(38, 0))
    allocation_id: Mapped[int | None] = mapped_column(ForeignKey("allocation.allocation_id"))


class SeriesRow(Base):
    """An allocation that recurs; ``until`` and the end's author and reason are set once."""

    __tablename__ = "allocation_series"
    personal = Personal(
        others=("author", "ended_by"),
        texts=("reason", "end_reason"),
        plain=("group", "resource", "every", "policy"),
        term="audit",
        since="until",
    )

    series_id: Mapped[int] = mapped_column(Identity(), primary_key=True)
    group: Mapped[str] = mapped_column(ForeignKey("research_group.slug"), index=True)
    resource: Mapped[str] = mapped_column(String(30))
    amount: Mapped[int] = mapped_column(Numeric(38, 0))
    every: Mapped[str] = mapped_column(String(20))
    first: Mapped[datetime]
    until: Mapped[datetime | None]
    carry_over_percent: Mapped[int | None]
    policy: Mapped[dict[str, Any]] = mapped_column(JSONB)
    reason: Mapped[str]
    author: Mapped[str]
    at: Mapped[datetime]
    ended_by: Mapped[str | None]
    end_reason: Mapped[str | None]


class MemberLimitRow(Base):
    """An appended limit of a person in a group; the last counts, one without amount lifts it."""

    __tablename__ = "member_limit"
    __table_args__ = (Index(None, "group", "username", "resource", "limit_id"),)
    personal = Personal(
        person="username",
        others=("author",),
        details=("reason",),
        plain=("group", "resource"),
    )

    limit_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    group: Mapped[str] = mapped_column(ForeignKey("research_group.slug"))
    username: Mapped[str] = mapped_column(String(32))
    resource: Mapped[str] = mapped_column(String(30))
    amount: Mapped[int | None] = mapped_column(Numeric(38, 0))
    reason: Mapped[str]
    author: Mapped[str]
    at: Mapped[datetime]


class StandingRow(Base):
    """Where a group, or a person within it, was last seen to stand with a resource."""

    __tablename__ = "quota_standing"
    personal = Personal(person="username", plain=("group", "resource", "state"), goes=True)

    group: Mapped[str] = mapped_column(String(20), primary_key=True)
    resource: Mapped[str] = mapped_column(String(30), primary_key=True)
    username: Mapped[str] = mapped_column(String(32), primary_key=True)
    """Empty for the group itself."""
    state: Mapped[str] = mapped_column(String(10))
    state_since: Mapped[datetime]
    period_since: Mapped[datetime | None]
    told_percent: Mapped[int]
    spent_at: Mapped[datetime | None]


class EnforcementRow(Base):
    """The one row of what the last run of the enforcement saw of clocks and reconciliations."""

    __tablename__ = "enforcement"
    __table_args__ = (CheckConstraint("row = 1", name="row"),)
    personal = Personal(plain=("doubt",))

    row: Mapped[int] = mapped_column(primary_key=True, default=1)
    run_at: Mapped[datetime]
    doubt: Mapped[str]
    doubt_since: Mapped[datetime | None]
    needs_a_person: Mapped[bool]
    reconciliations: Mapped[int]
    """Clean ones since the doubt arose."""
    reconciled_at: Mapped[datetime | None]


class CoreLimitRow(Base):
    """An appended limit of how many cores of a group, or of the site, may run at once.

    The last counts; one without an amount is as configured again.
    """

    __tablename__ = "core_limit"
    __table_args__ = (
        CheckConstraint("milli_cores > 0", name="milli_cores"),
        Index(None, "group", "limit_id"),
    )
    personal = Personal(
        others=("author",), texts=("reason",), plain=("group",), term="audit", since="at"
    )

    limit_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    group: Mapped[str | None] = mapped_column(ForeignKey("research_group.slug"))
    """Null for the site."""
    milli_cores: Mapped[int | None]
    reason: Mapped[str]
    author: Mapped[str]
    at: Mapped[datetime]


class StartPermitRow(Base):
    """A server that waits for cores, or has got them and is not in the ledger yet.

    ``number`` is the order in which people asked: no clock can turn it round.
    """

    __tablename__ = "start_permit"
    __table_args__ = (
        CheckConstraint("milli_cores > 0", name="milli_cores"),
        Index(None, "username", "server_name", unique=True),
    )
    personal = Personal(
        person="username",
        plain=("server_name", "group"),
        goes=True,
        term="sessions",
        since="asked_at",
    )

    number: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(unique=True)
    username: Mapped[str] = mapped_column(String(32))
    server_name: Mapped[str] = mapped_column(String(255))
    group: Mapped[str] = mapped_column(String(20))
    milli_cores: Mapped[int]
    is_rescue: Mapped[bool]
    asked_at: Mapped[datetime]
    seen_at: Mapped[datetime]
    """When its hub last asked for it."""
    granted_at: Mapped[datetime | None]
