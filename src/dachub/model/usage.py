"""Usage, allocations and the decision whether a server may start."""

from __future__ import annotations

from datetime import date, datetime
from enum import StrEnum
from typing import Literal

from pydantic import BaseModel, Field

from dachub.model.names import Username
from dachub.model.site import ServerChoice
from dachub.model.units import core_hours


class Resource(StrEnum):
    """What an allocation is about; amounts are integers in the base unit."""

    CORE_HOURS = "core-hours"  # milli-core-seconds
    GPU_HOURS = "gpu-hours"  # GPU-seconds
    FILE_BYTES = "file-bytes"
    DATABASE_BYTES = "database-bytes"

    @property
    def base_units(self) -> int:
        """Base units in one unit that people speak of."""
        return {"core-hours": 3_600_000, "gpu-hours": 3600}.get(self.value, 1)


class Policy(StrEnum):
    """What happens when an allocation is spent."""

    ALLOW = "allow"
    WARN = "warn"
    DENY = "deny"


UsageDimension = Literal[
    "day", "month", "user", "group", "kind", "size", "environment", "institution"
]


class Usage(BaseModel):
    """Amounts used; integers, hours are derived from them."""

    milli_core_seconds: int = 0
    memory_byte_seconds: int = 0
    gpu_seconds: int = 0

    @property
    def core_hours(self) -> float:
        """Core-hours, for people."""
        return core_hours(self.milli_core_seconds)


class UsageRow(Usage):
    """Usage of one combination of the dimensions that were asked for; others are ``None``."""

    day: date | None = None
    month: date | None = Field(default=None, description="Its first day")
    username: str | None = None
    group: str | None = None
    kind: str | None = None
    size: str | None = None
    environment: str | None = None
    institution: str | None = Field(
        default=None, description="Of the person as of now; `unknown` without an affiliation"
    )


class UsageReport(BaseModel):
    """Usage in the half-open period [since, until); running sessions count to ``counted_to``."""

    since: datetime
    until: datetime
    counted_to: datetime
    by: list[UsageDimension]
    rows: list[UsageRow]
    total: Usage


class Adjustment(BaseModel):
    """One appended change of an allocation's amount."""

    amount: int = Field(description="Base units, may be negative")
    reason: str
    author: str
    at: datetime


class AllocationRecord(BaseModel):
    """An allocation, what it amounts to now, and how it came to that."""

    allocation_id: int
    group: str
    resource: Resource
    starts_at: datetime
    ends_at: datetime
    policy: Policy
    amount: int = Field(description="Sum of the adjustments, in base units")
    used: int = Field(description="Used within [starts_at, ends_at), in base units")
    adjustments: list[Adjustment] = []


class GroupBalance(BaseModel):
    """Core-hours of a group now: what the start page and the decision speak of.

    ``allocated`` and ``left`` are ``None`` where no allocation is in force (unlimited).
    """

    group: str
    title: str = ""
    since: datetime | None = Field(default=None, description="From when on ``used`` counts")
    used: int = Field(description="Milli-core-seconds charged to the allocations in force")
    allocated: int | None = None
    left: int | None = None
    resets_at: datetime | None = None
    policy: Policy = Policy.ALLOW
    contacts: list[str] = Field(default=[], description="The PIs, whom to ask")
    message: str = Field(default="", description="For the person; empty when all is well")


class AuthorizeRequest(BaseModel):
    """Body of ``POST /api/v1/sessions/authorize``: may this person start this server?"""

    username: Username
    choice: ServerChoice


class Decision(BaseModel):
    """Answer to it. ``message`` is for the person, also when allowed (warnings)."""

    allowed: bool
    code: str = "ok"
    message: str = ""
    group: str | None = None
    size: str | None = None
    environment: str | None = None
    balance: GroupBalance | None = None
    rescue: str | None = Field(
        default=None,
        description="Why only a rescue session may start, in which the person makes room; "
        "its size is the site's, not the chosen one",
    )


class StartOptions(BaseModel):
    """What the start page offers a person."""

    groups: list[GroupBalance]
    last_choice: ServerChoice = ServerChoice()
    notices: list[str] = []
