"""Tables of notices."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Identity, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from dachub.infra.database import Base


class NoticeRow(Base):
    """A notice to one person; ``key`` is what it is about, so that it is given once."""

    __tablename__ = "notice"
    __table_args__ = (
        Index(None, "username", "key", unique=True),
        Index("ix_notice_unread", "username", postgresql_where=text("read_at is null")),
    )

    notice_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    username: Mapped[str] = mapped_column(String(32))
    key: Mapped[str] = mapped_column(String(300))
    kind: Mapped[str] = mapped_column(String(20))
    severity: Mapped[str] = mapped_column(String(10))
    title: Mapped[str]
    text: Mapped[str]
    group: Mapped[str | None] = mapped_column(String(20))
    path: Mapped[str] = mapped_column(default="")
    created_at: Mapped[datetime]
    read_at: Mapped[datetime | None]
