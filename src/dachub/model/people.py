"""People, groups and logins as they cross the wire."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, Field

from dachub.model.names import GroupSlug, Username
from dachub.model.sessions import Moment

SUBJECT_MAX = 255
"""Length of a subject, in characters."""


class Role(StrEnum):
    """What a person may do in a group; each includes the ones before it."""

    MEMBER = "member"
    MANAGER = "manager"
    PI = "pi"

    @property
    def rank(self) -> int:
        """Order of power: member 0, manager 1, PI 2."""
        return list(Role).index(self)


class Source(StrEnum):
    """Who asserts a membership."""

    PROVIDER = "provider"
    LOCAL = "local"


class ClaimedMembership(BaseModel):
    """A group that the identity provider says the person belongs to."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider_name: str = Field(min_length=1, max_length=500)
    role: Role = Role.MEMBER


class LoginRecord(BaseModel):
    """A login or refresh that the hub witnessed; body of ``POST /api/v1/hub/logins``.

    ``username`` is the name the hub already knows for this (issuer, subject), else ``None`` and the
    directory binds one, starting from ``candidate``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    # OpenID Connect allows a subject 255 characters; both together must fit into an index.
    issuer: str = Field(min_length=1, max_length=400, description="'local' for local accounts")
    subject: str = Field(min_length=1, max_length=SUBJECT_MAX)
    username: Username | None = None
    candidate: str = Field(default="", max_length=32)
    full_name: str = Field(default="", max_length=500)
    email: str = Field(default="", max_length=500)
    affiliations: list[str] = Field(default=[], max_length=100)
    memberships: list[ClaimedMembership] = Field(default=[], max_length=1000)
    administrator: bool = False
    refresh: bool = Field(default=False, description="A periodic refresh, not a login")
    at: Moment


class RefusalRecord(BaseModel):
    """A login the hub refused; kept in the audit log."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    claimed_name: str = Field(default="", max_length=200)
    issuer: str = Field(default="", max_length=2000)
    code: str = Field(max_length=63)
    at: Moment


class GroupMembership(BaseModel):
    """A group a person is in now."""

    group: GroupSlug
    title: str = ""
    role: Role
    source: Source


class HubPerson(BaseModel):
    """What the hub must know of a person; the answer to a login."""

    username: Username
    full_name: str = ""
    email: str = ""
    affiliations: list[str] = []
    administrator: bool = False
    disabled: bool = False
    groups: list[GroupMembership] = []


class LocalAccount(BaseModel):
    """A local account as the hub needs it to check a password by itself."""

    username: Username
    password_hash: str = Field(repr=False, description="argon2id")
    administrator: bool = False
    disabled: bool = False
    full_name: str = ""
    email: str = ""


class Affiliation(BaseModel):
    """A person's affiliation, by whom and when it was last asserted (J.2.2)."""

    value: str
    asserted_by: str
    first_asserted_at: datetime
    last_asserted_at: datetime
    current: bool = Field(description="Part of the last assertion of that issuer")
    stale: bool = Field(description="Last asserted longer ago than the site accepts")


UNKNOWN_INSTITUTION = "unknown"


def institution(affiliations: Iterable[str]) -> str:
    """The one institution that a person's work is counted under.

    Parameters
    ----------
    affiliations
        The current ones, the last asserted first.

    Returns
    -------
    str
        The domain of the first that has one (``ed.ac.uk`` of ``staff@ed.ac.uk``), else the first as
        it stands (some providers tell only a name), else ``unknown``.
    """
    told = [value.strip() for value in affiliations]
    domains = (value.rpartition("@")[2].strip().lower() for value in told if "@" in value)
    return next(filter(None, domains), None) or next(filter(None, told), UNKNOWN_INSTITUTION)


class Person(BaseModel):
    """A registered person."""

    username: Username
    full_name: str
    email: str
    issuer: str
    administrator: bool
    disabled_at: datetime | None
    disabled_reason: str | None
    created_at: datetime
    last_login_at: datetime | None
    affiliations: list[Affiliation] = Field(default=[], description="The last asserted first")
    groups: list[GroupMembership] = []

    @property
    def institution(self) -> str:
        """What the person's usage is counted under."""
        return institution(known.value for known in self.affiliations if known.current)


class MembershipRecord(BaseModel):
    """A person's place in a group over a stretch of time, half-open and in UTC."""

    username: str
    full_name: str = ""
    group: str
    role: Role
    source: Source
    valid_from: datetime
    valid_to: datetime | None


class Group(BaseModel):
    """A group (a scientific campaign)."""

    slug: GroupSlug
    title: str
    description: str
    provider_name: str | None
    created_at: datetime
    pis: list[str] = []
    members: list[MembershipRecord] = []


class AuditEntry(BaseModel):
    """Who changed what, when."""

    audit_id: int
    at: datetime
    actor: str
    action: str
    username: str | None
    group: str | None
    details: dict[str, object] = {}
    request_id: str | None = None
