"""Tables of storage. Times are whole seconds in UTC; amounts are integers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, String
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from dachub.infra.database import Base
from dachub.infra.personal import Personal


class SampleRow(Base):
    """What a place held at a moment: hourly for a month, then the last of each day for good."""

    __tablename__ = "storage_sample"
    __table_args__ = (Index(None, "sampled_at"),)
    personal = Personal(
        person="owner",
        only_where=("area", "home"),
        plain=("area", "method"),
        term="sessions",
        since="sampled_at",
    )

    area: Mapped[str] = mapped_column(String(20), primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True)
    sampled_at: Mapped[datetime] = mapped_column(primary_key=True)
    bytes: Mapped[int] = mapped_column(BigInteger)
    allocated_bytes: Mapped[int] = mapped_column(BigInteger)
    files: Mapped[int] = mapped_column(BigInteger)
    unreadable: Mapped[int] = mapped_column(BigInteger)
    method: Mapped[str] = mapped_column(String(20))


class PlaceRow(Base):
    """A place that is measured: when it was tried and asked for, and what people were told.

    ``known`` says that there is such a person or group, ``present`` that there is such a directory,
    ``enforced`` that the file system itself holds it to its limits.
    ``told_percent`` is the highest threshold they were told of since the place was last below it,
    ``told_count`` how often they were told anything: it tells one rise from the next.
    """

    __tablename__ = "storage_place"
    personal = Personal(
        person="owner",
        only_where=("area", "home"),
        details=("largest",),
        plain=("area",),
        goes=True,
    )

    area: Mapped[str] = mapped_column(String(20), primary_key=True)
    owner: Mapped[str] = mapped_column(primary_key=True)
    known: Mapped[bool]
    present: Mapped[bool] = mapped_column(default=True)
    enforced: Mapped[bool] = mapped_column(default=False)
    sampled_at: Mapped[datetime | None]
    tried_at: Mapped[datetime | None]
    requested_at: Mapped[datetime | None]
    largest: Mapped[list[dict[str, Any]]] = mapped_column(JSONB, default=list)
    told_percent: Mapped[int] = mapped_column(default=0)
    told_count: Mapped[int] = mapped_column(default=0)


class LimitRow(Base):
    """An appended exception from the site's limits; never updated or deleted."""

    __tablename__ = "storage_limit"
    __table_args__ = (
        CheckConstraint("bytes >= 0 and files >= 0", name="amount"),
        Index(None, "area", "owner", "limit_id"),
    )
    personal = Personal(
        person="owner",
        only_where=("area", "home"),
        others=("author",),
        texts=("reason",),
        plain=("area",),
    )

    limit_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    area: Mapped[str] = mapped_column(String(20))
    owner: Mapped[str]
    bytes: Mapped[int | None] = mapped_column(BigInteger)
    files: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str]
    author: Mapped[str]
    at: Mapped[datetime]
