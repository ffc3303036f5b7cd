"""Settings of privacy: how long names are kept."""

from __future__ import annotations

from pydantic import Field

from dachub.model.settings import Section


class PrivacySettings(Section):
    """How many days records keep people's names; null for ever. What was used stays."""

    sessions_days: int | None = Field(
        default=1096,
        ge=1,
        description="From a session's end: the name in sessions, usage and storage; afterwards a "
        "pseudonym. Three years: the award period that is reported on and the one before it",
    )
    memberships_days: int | None = Field(
        default=1096,
        ge=1,
        description="From the end of a membership: who it was; afterwards a pseudonym",
    )
    affiliations_days: int | None = Field(
        default=731, ge=1, description="From its withdrawal: an affiliation; then it is deleted"
    )
    audit_days: int | None = Field(
        default=1096,
        ge=1,
        description="Who did what to whom, logins included; afterwards pseudonyms",
    )
    notices_days: int | None = Field(
        default=183, ge=1, description="What people were told; then it is deleted"
    )
    sent_days: int | None = Field(
        default=2,
        ge=1,
        description="Forms and requests with an Idempotency-Key: so long sending them again does "
        "nothing again",
    )
    logs_days: int | None = Field(
        default=90, ge=1, description="Files of logs, which hold usernames and addresses"
    )
