"""Settings of the ledger and of quota decisions."""

from __future__ import annotations

from pydantic import Field

from dachub.model.awards import SiteAward
from dachub.model.settings import Section
from dachub.model.usage import Policy


class QuotaSettings(Section):
    """What the decision at the start of a server rests on."""

    without_allocation: Policy = Field(
        default=Policy.ALLOW, description="For a group that has no allocation in force"
    )
    warn_at_percent: int = Field(
        default=80,
        ge=1,
        le=100,
        description="Used share of an allocation from which people are told",
    )
    reconcile_seconds: int = Field(
        default=30, ge=5, description="How often ledger and running servers are compared"
    )
    site_awards: tuple[SiteAward, ...] = Field(
        default=(), description="What the site itself was given, for its reports"
    )
