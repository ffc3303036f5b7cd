"""Tables of the directory."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from dachub.infra.database import Base


class PersonRow(Base):
    """A person; the username is bound to (issuer, subject) for ever."""

    __tablename__ = "person"
    __table_args__ = (Index(None, "issuer", "subject", unique=True),)

    username: Mapped[str] = mapped_column(String(32), primary_key=True)
    issuer: Mapped[str]
    subject: Mapped[str]
    full_name: Mapped[str] = mapped_column(default="")
    email: Mapped[str] = mapped_column(default="")
    is_administrator: Mapped[bool] = mapped_column(default=False)
    created_at: Mapped[datetime]
    last_login_at: Mapped[datetime | None]
    claims_at: Mapped[datetime | None]
    """When the claims we hold were made; older ones that arrive late change nothing."""
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None]
    disable_enforced_at: Mapped[datetime | None]
    """When the hub had stopped the servers and deleted the tokens of the disabled person."""


class LocalAccountRow(Base):
    """The password of a local account, hashed with argon2id."""

    __tablename__ = "local_account"

    username: Mapped[str] = mapped_column(ForeignKey("person.username"), primary_key=True)
    password_hash: Mapped[str]
    changed_at: Mapped[datetime]


class AffiliationRow(Base):
    """An affiliation and when its issuer asserted it first and last."""

    __tablename__ = "affiliation"

    username: Mapped[str] = mapped_column(ForeignKey("person.username"), primary_key=True)
    value: Mapped[str] = mapped_column(String(500), primary_key=True)
    asserted_by: Mapped[str] = mapped_column(String(2000), primary_key=True)
    first_asserted_at: Mapped[datetime]
    last_asserted_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]


class GroupRow(Base):
    """A group; its slug is also the allocation code in every export."""

    __tablename__ = "research_group"

    slug: Mapped[str] = mapped_column(String(20), primary_key=True)
    title: Mapped[str] = mapped_column(default="")
    description: Mapped[str] = mapped_column(default="")
    provider_name: Mapped[str | None] = mapped_column(unique=True)
    created_at: Mapped[datetime]


class MembershipRow(Base):
    """A membership over [valid_from, valid_to); open while ``valid_to`` is null."""

    __tablename__ = "membership"
    __table_args__ = (
        CheckConstraint("role in ('member', 'manager', 'pi')", name="role"),
        CheckConstraint("source in ('provider', 'local')", name="source"),
        CheckConstraint("valid_to is null or valid_to >= valid_from", name="interval"),
        Index(
            "uq_membership_current",
            "username",
            "group",
            "source",
            unique=True,
            postgresql_where=text("valid_to is null"),
        ),
        Index(None, "group", "valid_from"),
    )

    membership_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    username: Mapped[str] = mapped_column(ForeignKey("person.username"))
    group: Mapped[str] = mapped_column(ForeignKey("research_group.slug"))
    role: Mapped[str] = mapped_column(String(10))
    source: Mapped[str] = mapped_column(String(10))
    valid_from: Mapped[datetime]
    valid_to: Mapped[datetime | None]


class AuditRow(Base):
    """Who changed what; appended only."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"), Index(None, "username", "at"), Index(None, "group", "at"))

    audit_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str] = mapped_column(String(63))
    username: Mapped[str | None] = mapped_column(String(200))
    group: Mapped[str | None] = mapped_column(String(200))
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    request_id: Mapped[str | None]
