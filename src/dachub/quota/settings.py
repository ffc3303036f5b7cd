"""Settings of the ledger and of quota decisions."""

from __future__ import annotations

from pydantic import Field

from dachub.model.awards import SiteAward
from dachub.model.queue import MILLI_CORES_MAX
from dachub.model.settings import Section
from dachub.model.usage import Policy, QuotaPolicy


class QuotaSettings(Section):
    """What the decision at the start of a server rests on."""

    without_allocation: Policy = Field(
        default=Policy.ALLOW, description="For a group that has no allocation in force"
    )
    policy: QuotaPolicy = Field(
        default=QuotaPolicy(),
        description="The site's policy, for what an allocation's own leaves out",
    )
    concurrent_milli_cores: int | None = Field(
        default=None,
        gt=0,
        le=MILLI_CORES_MAX,
        description="Thousandths of cores that may run at once on the whole site; further servers "
        "wait in a queue (null: no limit)",
    )
    group_concurrent_milli_cores: int | None = Field(
        default=None,
        gt=0,
        le=MILLI_CORES_MAX,
        description="The same for each group that has no limit of its own (dachub cores limit)",
    )
    reconcile_seconds: int = Field(
        default=30, ge=5, description="How often ledger and running servers are compared"
    )
    site_awards: tuple[SiteAward, ...] = Field(
        default=(), description="What the site itself was given, for its reports"
    )
    enforce_seconds: int = Field(
        default=60, ge=5, description="How often what groups use is held against their allocations"
    )
