"""Tables of the ledger. Times are whole seconds in UTC; amounts are integers."""

from __future__ import annotations

from datetime import date, datetime, timedelta
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
from sqlalchemy.orm import Mapped, mapped_column

from dachub.infra.database import Base
from dachub.infra.personal import Personal
from dachub.model.names import PSEUDONYM_PREFIX

NAMED = text(f"username not like '{PSEUDONYM_PREFIX}%'")
"""Of a session: it still has a person's name. Said as in its index, or the index is of no use."""
LONG_FROM = timedelta(days=1)
LONG = text("ended_at - requested_at > interval '1 day'")
"""Of a session: it took longer than :data:`LONG_FROM`; likewise."""
NOTHING = text("milli_core_seconds = 0 and memory_byte_seconds = 0 and gpu_seconds = 0")
"""Of a sum: nothing is left in it; likewise."""


class SessionRow(Base):
    """A session; the group it charges is fixed when it starts.

    Times are as they were reported: where the hub's clock ran backwards, the end may lie before the
    start. What is charged are the segments.
    """

    __tablename__ = "session"
    __table_args__ = (
        Index(None, "username", "requested_at"),
        Index(None, "group", "requested_at"),
        Index(None, "requested_at"),
        Index("ix_session_open", "group", postgresql_where=text("ended_at is null")),
        Index("ix_session_named", "ended_at", postgresql_where=NAMED),
        Index("ix_session_long", "ended_at", "requested_at", postgresql_where=LONG),
    )
    personal = Personal(
        person="username",
        details=("server_name", "image", "image_digest"),
        plain=("group", "kind", "size", "environment", "end_reason", "stop_due_reason"),
    )  # After its term the ledger renames it, so that usage_day moves along.

    session_id: Mapped[UUID] = mapped_column(primary_key=True)
    export_id: Mapped[int] = mapped_column(Identity(), unique=True)
    username: Mapped[str] = mapped_column(String(32))
    group: Mapped[str] = mapped_column(String(20))
    kind: Mapped[str] = mapped_column(String(20))
    server_name: Mapped[str]
    size: Mapped[str] = mapped_column(String(63))
    environment: Mapped[str] = mapped_column(String(63))
    image: Mapped[str | None]
    image_digest: Mapped[str | None] = mapped_column(String(71))
    milli_cores: Mapped[int]
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    gpus: Mapped[int]
    requested_at: Mapped[datetime]
    started_at: Mapped[datetime | None]
    start_is_estimate: Mapped[bool] = mapped_column(default=False)
    ended_at: Mapped[datetime | None]
    end_reason: Mapped[str | None] = mapped_column(String(20))
    end_is_estimate: Mapped[bool] = mapped_column(default=False)
    last_seen_at: Mapped[datetime | None]
    stop_due_at: Mapped[datetime | None]
    stop_due_reason: Mapped[str | None]
    maintenance_at: Mapped[datetime | None]


class SegmentRow(Base):
    """A stretch [started_at, ended_at) of a session with constant resources, as it is charged.

    ``usage_day`` holds its usage up to ``counted_to``; once it is closed, that is its end.
    """

    __tablename__ = "segment"
    __table_args__ = (
        CheckConstraint("ended_at is null or ended_at >= started_at", name="interval"),
        CheckConstraint("counted_to >= started_at", name="counted"),
        Index(None, "session_id"),
        Index("ix_segment_span", text("tstzrange(started_at, ended_at)"), postgresql_using="gist"),
        Index("ix_segment_open", "session_id", postgresql_where=text("ended_at is null")),
    )
    personal = Personal(through=("session_id", "session"))

    segment_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("session.session_id"))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    counted_to: Mapped[datetime]
    milli_cores: Mapped[int]
    memory_bytes: Mapped[int] = mapped_column(BigInteger)
    gpus: Mapped[int]


class CorrectionRow(Base):
    """An appended correction of what a session is charged; never updated or deleted."""

    __tablename__ = "session_correction"
    __table_args__ = (
        CheckConstraint("action in ('void', 'amend', 'restore')", name="action"),
        Index(None, "session_id", "correction_id"),
    )
    personal = Personal(
        through=("session_id", "session"),
        others=("author",),
        texts=("reason",),
        plain=("action",),
        term="audit",
        since="at",
    )

    correction_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    session_id: Mapped[UUID] = mapped_column(ForeignKey("session.session_id"))
    action: Mapped[str] = mapped_column(String(10))
    started_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
    reason: Mapped[str]
    author: Mapped[str]
    at: Mapped[datetime]


class UsageSums(Base):
    """How much counted usage there was; can be made anew from segments."""

    __abstract__ = True

    milli_core_seconds: Mapped[int] = mapped_column(BigInteger)
    memory_byte_seconds: Mapped[int] = mapped_column(Numeric(38, 0))
    gpu_seconds: Mapped[int] = mapped_column(BigInteger)


class DetailedUsageSums(UsageSums):
    """The same by all that counted usage is kept by."""

    __abstract__ = True
    personal = Personal(
        person="username",
        plain=("group", "kind", "size", "environment"),
        sums=("milli_core_seconds", "memory_byte_seconds", "gpu_seconds"),
    )

    day: Mapped[date] = mapped_column(primary_key=True)
    username: Mapped[str] = mapped_column(String(32), primary_key=True)
    group: Mapped[str] = mapped_column(String(20), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    size: Mapped[str] = mapped_column(String(63), primary_key=True)
    environment: Mapped[str] = mapped_column(String(63), primary_key=True)


def _indexes(table: str) -> tuple[Index, ...]:
    """By group with the amounts, so that what it used is read there alone; and what is zero."""
    amounts = ["username", "milli_core_seconds", "memory_byte_seconds", "gpu_seconds"]
    return (
        Index(f"ix_{table}_group_day", "group", "day", postgresql_include=amounts),
        Index(f"ix_{table}_nothing", "username", postgresql_where=NOTHING),
    )


class UsageDayRow(DetailedUsageSums):
    """Usage of a day."""

    __tablename__ = "usage_day"
    __table_args__ = _indexes("usage_day")


class UsageMonthRow(DetailedUsageSums):
    """Usage of a month, under its first day: reports over years read no single days."""

    __tablename__ = "usage_month"
    __table_args__ = _indexes("usage_month")


class UsageGroupDayRow(UsageSums):
    """Usage of a group on a day: what a decision on a start adds up, a row a day."""

    __tablename__ = "usage_group_day"
    personal = Personal(plain=("group",))

    group: Mapped[str] = mapped_column(String(20), primary_key=True)
    day: Mapped[date] = mapped_column(primary_key=True)


class WorkerRunRow(Base):
    """When each background worker last succeeded, and what it found."""

    __tablename__ = "worker_run"
    personal = Personal(plain=("name", "outcome"))

    name: Mapped[str] = mapped_column(String(63), primary_key=True)
    succeeded_at: Mapped[datetime]
    outcome: Mapped[str] = mapped_column(default="")
    is_clean: Mapped[bool] = mapped_column(default=True)
    """Whether all was as it should be."""
