"""Tables of the directory."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, CheckConstraint, ForeignKey, Identity, Index, String, text
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import Mapped, mapped_column

from dachub.infra.database import Base
from dachub.infra.personal import Personal


class PersonRow(Base):
    """A person; the username is bound to (issuer, subject) for ever."""

    __tablename__ = "person"
    __table_args__ = (Index(None, "issuer", "subject", unique=True),)
    personal = Personal(
        person="username",
        details=("issuer", "subject", "full_name", "email", "disabled_reason"),
        goes=True,
    )

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
    personal = Personal(person="username", secrets=("password_hash",), goes=True)

    username: Mapped[str] = mapped_column(ForeignKey("person.username"), primary_key=True)
    password_hash: Mapped[str]
    changed_at: Mapped[datetime]


class AffiliationRow(Base):
    """An affiliation and when its issuer asserted it first and last."""

    __tablename__ = "affiliation"
    personal = Personal(
        person="username",
        details=("value", "asserted_by"),
        goes=True,
        term="affiliations",
        since="withdrawn_at",
    )

    username: Mapped[str] = mapped_column(ForeignKey("person.username"), primary_key=True)
    value: Mapped[str] = mapped_column(String(500), primary_key=True)
    asserted_by: Mapped[str] = mapped_column(String(2000), primary_key=True)
    first_asserted_at: Mapped[datetime]
    last_asserted_at: Mapped[datetime]
    withdrawn_at: Mapped[datetime | None]


class PseudonymRow(Base):
    """The pseudonym of somebody part of whose records is past its term; goes with the name."""

    __tablename__ = "pseudonym"
    personal = Personal(person="username", details=("pseudonym",), goes=True)

    username: Mapped[str] = mapped_column(String(32), primary_key=True)
    pseudonym: Mapped[str] = mapped_column(String(32), unique=True)


class ForgettingRow(Base):
    """Somebody is to be forgotten; there until it is done."""

    __tablename__ = "forgetting"
    personal = Personal(person="username", others=("asked_by",), details=("reason",), goes=True)

    username: Mapped[str] = mapped_column(ForeignKey("person.username"), primary_key=True)
    asked_by: Mapped[str]
    asked_at: Mapped[datetime]
    reason: Mapped[str]
    delete_home: Mapped[bool]


class ForgottenNameRow(Base):
    """A name that was forgotten and is never given out again, as a keyed digest of it.

    What arrives late under the name goes to the pseudonym. After a while this last link between
    the two is cut: pseudonym and moment are set to null.
    """

    __tablename__ = "forgotten_name"
    personal = Personal(plain=("digest", "pseudonym"))

    digest: Mapped[str] = mapped_column(String(64), primary_key=True)
    pseudonym: Mapped[str | None] = mapped_column(String(32))
    forgotten_at: Mapped[datetime | None]


class NameKeyRow(Base):
    """The key of those digests: one row."""

    __tablename__ = "name_key"
    __table_args__ = (CheckConstraint("singleton", name="singleton"),)
    personal = Personal(plain=("key",))

    singleton: Mapped[bool] = mapped_column(primary_key=True, default=True)
    key: Mapped[str] = mapped_column(String(64))


class GroupRow(Base):
    """A group; its slug is also the allocation code in every export."""

    __tablename__ = "research_group"
    personal = Personal(plain=("slug", "title", "description", "provider_name"))

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
    personal = Personal(
        person="username",
        plain=("group", "role", "source"),
        term="memberships",
        since="valid_to",
    )

    membership_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    username: Mapped[str] = mapped_column(ForeignKey("person.username"))
    group: Mapped[str] = mapped_column(ForeignKey("research_group.slug"))
    role: Mapped[str] = mapped_column(String(10))
    source: Mapped[str] = mapped_column(String(10))
    valid_from: Mapped[datetime]
    valid_to: Mapped[datetime | None]


class SentRow(Base):
    """A form or request that was sent, and its answer: sent again it is not done again."""

    __tablename__ = "sent"
    __table_args__ = (Index(None, "at"),)
    personal = Personal(
        person="username",
        texts=("answer",),
        plain=("key", "contents"),
        goes=True,
        term="sent",
        since="at",
    )

    username: Mapped[str] = mapped_column(String(32), primary_key=True)
    key: Mapped[str] = mapped_column(String(64), primary_key=True)
    """A digest, as ``contents`` is."""
    contents: Mapped[str] = mapped_column(String(64))
    answer: Mapped[str]
    at: Mapped[datetime]


class AuditRow(Base):
    """Who changed what; appended only."""

    __tablename__ = "audit"
    __table_args__ = (Index(None, "at"), Index(None, "username", "at"), Index(None, "group", "at"))
    personal = Personal(
        person="username",
        others=("actor",),
        documents=("details",),
        plain=("action", "group", "request_id"),
        term="audit",
        since="at",
    )

    audit_id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    at: Mapped[datetime]
    actor: Mapped[str]
    action: Mapped[str] = mapped_column(String(63))
    username: Mapped[str | None] = mapped_column(String(200))
    group: Mapped[str | None] = mapped_column(String(200))
    details: Mapped[dict[str, Any]] = mapped_column(JSONB, default=dict)
    request_id: Mapped[str | None]
