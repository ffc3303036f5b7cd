"""Tables of notices."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, CheckConstraint, Identity, Index, String, text
from sqlalchemy.orm import Mapped, mapped_column

from dachub.infra.database import Base
from dachub.infra.personal import Personal


class NoticeRow(Base):
    """A notice to one person; ``key`` is what it is about, so that it is given once."""

    __tablename__ = "notice"
    __table_args__ = (
        CheckConstraint("mail_state in ('pending', 'sent', 'failed', 'skipped')", name="mail"),
        Index(None, "username", "key", unique=True),
        Index(None, "username", "notice_id"),
        Index(
            "ix_notice_unread", "username", postgresql_where=text("read_at is null and in_portal")
        ),
        Index(
            "ix_notice_mail",
            "mail_state",
            "mail_due_at",
            postgresql_where=text("mail_state in ('pending', 'failed')"),
        ),
    )
    personal = Personal(
        person="username",
        texts=("key", "title", "text", "path"),
        details=("mail_error",),
        plain=("kind", "severity", "group", "mail_state"),
        goes=True,
        term="notices",
        since="created_at",
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
    in_portal: Mapped[bool] = mapped_column(default=True)
    """Whether the person wanted to see it there when it was given."""
    mail_state: Mapped[str | None] = mapped_column(String(10))
    """``None`` where no mail was wanted, or the site sent none when it was given."""
    mail_due_at: Mapped[datetime | None]
    mail_attempts: Mapped[int] = mapped_column(default=0)
    mail_error: Mapped[str] = mapped_column(default="")


class PreferenceRow(Base):
    """How a person gets notices of a kind, where they chose."""

    __tablename__ = "notice_preference"
    personal = Personal(person="username", plain=("kind",), goes=True)

    username: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(20), primary_key=True)
    portal: Mapped[bool]
    email: Mapped[bool]
