"""Usage, allocations and the decision whether a server may start."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal, Protocol
from uuid import UUID

from pydantic import BaseModel, Field

from dachub.model.names import Username
from dachub.model.queue import Place
from dachub.model.settings import Section
from dachub.model.site import ServerChoice
from dachub.model.units import core_hours

Percent = Annotated[int, Field(ge=1, le=100)]


class Consumer(Protocol):
    """What consumes resources while it runs: a size, a session, many of them together."""

    @property
    def milli_cores(self) -> int:
        """Thousandths of cores."""

    @property
    def memory_bytes(self) -> int:
        """Memory."""

    @property
    def gpus(self) -> int:
        """GPUs."""


class Resource(StrEnum):
    """What an allocation is about; amounts are integers in the base unit."""

    CORE_HOURS = "core-hours"  # milli-core-seconds
    GPU_HOURS = "gpu-hours"  # GPU-seconds
    MEMORY_HOURS = "memory-hours"  # byte-seconds; people speak of GiB-hours
    FILE_BYTES = "file-bytes"
    DATABASE_BYTES = "database-bytes"

    @property
    def base_units(self) -> int:
        """Base units in one unit that people speak of."""
        return _MEASURES[self].base_units if self in _MEASURES else 1

    @property
    def unit(self) -> str:
        """What people call the unit."""
        return {"gpu-hours": "GPU-hours", "memory-hours": "GiB-hours"}.get(self.value, self.value)

    @property
    def is_time(self) -> bool:
        """Whether running servers consume it."""
        return self in _MEASURES

    def used(self, usage: Usage) -> int:
        """How much of it, in base units, ``usage`` is; 0 for what no server consumes."""
        measure = _MEASURES.get(self)
        return 0 if measure is None else int(getattr(usage, measure.used))

    def rate(self, server: Consumer) -> int:
        """Base units that a server consumes in a second."""
        measure = _MEASURES.get(self)
        return 0 if measure is None else int(getattr(server, measure.rate))


@dataclass(frozen=True, slots=True)
class _Measure:
    """Where a resource that running servers consume is read: attributes of Usage and Consumer."""

    base_units: int
    used: str
    rate: str


_MEASURES = {
    Resource.CORE_HOURS: _Measure(3_600_000, "milli_core_seconds", "milli_cores"),
    Resource.GPU_HOURS: _Measure(3600, "gpu_seconds", "gpus"),
    Resource.MEMORY_HOURS: _Measure(3600 * 1024**3, "memory_byte_seconds", "memory_bytes"),
}
TIME_RESOURCES = tuple(_MEASURES)
"""Resources that running servers consume. A new one is a line above: tables and rules stay."""


class Policy(StrEnum):
    """What happens in the end when an allocation is spent; each is stricter than those before."""

    ALLOW = "allow"
    WARN = "warn"
    DENY = "deny"  # no new servers
    STOP = "stop"  # no new servers, and running ones end after a notice


class QuotaPolicy(Section):
    """What happens as an allocation is spent: warnings, grace, and what comes in the end."""

    when_spent: Policy = Field(
        default=Policy.DENY,
        description="In the end: allow (nothing), warn, deny (no new servers) or stop (running "
        "ones too, after a notice)",
    )
    warn_at_percent: tuple[Percent, ...] = Field(
        default=(75, 90),
        max_length=10,
        description="Used shares at which people are told; 100 is always told",
    )
    grace_percent: float = Field(
        default=0, ge=0, le=100, description="How far the amount may be exceeded, in percent of it"
    )
    grace_seconds: int = Field(
        default=0,
        ge=0,
        le=366 * 86400,
        description="How long servers may start after it was spent; if both graces are given, the "
        "one that ends first counts",
    )
    stop_notice_seconds: int = Field(
        default=900, ge=60, le=7 * 86400, description="Notice before running servers are stopped"
    )

    def filled_from(self, default: QuotaPolicy) -> QuotaPolicy:
        """The same, with what was not said taken from the site's default."""
        said = {name: getattr(self, name) for name in self.model_fields_set}
        return default.model_copy(update=said)

    def said(self) -> dict[str, object]:
        """What was said expressly, as plain data."""
        return self.model_dump(mode="json", exclude_unset=True)


class QuotaState(StrEnum):
    """How a group, or a person in it, stands with a resource; each is worse than those before."""

    OK = "ok"
    WARNED = "warned"
    GRACE = "grace"  # spent, but servers still start
    CLOSED = "closed"  # no new servers
    STOPPING = "stopping"  # running ones end after a notice

    @property
    def may_start(self) -> bool:
        """Whether servers may start."""
        return self not in (QuotaState.CLOSED, QuotaState.STOPPING)


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
    """One appended change of an allocation: of its amount, its end or its policy."""

    amount: int = Field(description="Base units, may be negative")
    ends_at: datetime | None = Field(default=None, description="The new end, where it changed")
    policy: QuotaPolicy | None = Field(
        default=None,
        description="The new policy, where it changed; what it leaves out is the site's",
    )
    reason: str
    author: str
    at: datetime
    key: str | None = Field(
        default=None, description="What it is for, where a series made it: series, carry-over:1"
    )


class AllocationRecord(BaseModel):
    """An allocation, what it amounts to now, and how it came to that."""

    allocation_id: int
    group: str
    resource: Resource
    starts_at: datetime
    ends_at: datetime
    policy: Policy = Field(description="What happens in the end when it is spent")
    rules: QuotaPolicy = Field(description="The whole policy, the site's defaults filled in")
    series_id: int | None = Field(default=None, description="The series that made it")
    amount: int = Field(description="Sum of the adjustments, in base units")
    used: int = Field(description="Used within [starts_at, ends_at), in base units")
    adjustments: list[Adjustment] = []


class SizeForecast(BaseModel):
    """How long what is left lasts for a server of one size that starts now.

    The first resource or limit to be reached counts. Times are ``None`` where nothing limits it
    before the allocation's period ends.
    """

    size: str
    alone_seconds: int | None = Field(default=None, description="If nothing else ran")
    lasts_seconds: int | None = Field(
        default=None, description="Beside what the group runs now, if that goes on"
    )
    reached_at: datetime | None = Field(default=None, description="When that is")
    text: str = Field(default="", description="The same for people; empty without a limit")


class GroupBalance(BaseModel):
    """A resource of a group now: what the start page and the decision speak of.

    ``allocated`` and ``left`` are ``None`` where no allocation is in force (unlimited, unless the
    policy says otherwise). Amounts are in the resource's base units.
    """

    group: str
    title: str = ""
    resource: Resource = Resource.CORE_HOURS
    since: datetime | None = Field(default=None, description="From when on ``used`` counts")
    used: int = Field(description="Charged to the allocations in force, in base units")
    allocated: int | None = None
    left: int | None = None
    resets_at: datetime | None = None
    policy: Policy = Policy.ALLOW
    state: QuotaState = QuotaState.OK
    running_milli_cores: int = Field(default=0, description="What the group runs now")
    projected_exhaustion_at: datetime | None = Field(
        default=None, description="When it is spent at the rate of the last 14 days, if it will be"
    )
    member_limit: int | None = Field(default=None, description="The asking person's own limit")
    member_used: int | None = Field(default=None, description="What they used of it")
    member_state: QuotaState = QuotaState.OK
    contacts: list[str] = Field(default=[], description="The PIs, whom to ask")
    message: str = Field(default="", description="For the person; empty when all is well")
    forecasts: list[SizeForecast] = Field(default=[], description="One for each size it may use")


class AuthorizeRequest(BaseModel):
    """Body of ``POST /api/v1/sessions/authorize``: may this person start this server?"""

    username: Username
    choice: ServerChoice
    session_id: UUID | None = Field(
        default=None, description="The session it is to be; without one it is not queued"
    )
    server_name: str = Field(default="", max_length=255)
    trouble: str | None = Field(
        default=None,
        max_length=1000,
        description="Why the person must make room first, as the hub found; for them",
    )


class Decision(BaseModel):
    """Answer to it. ``message`` is for the person, also when allowed (warnings)."""

    allowed: bool
    place: Place | None = Field(
        default=None, description="Allowed, but not yet: it waits for its turn here"
    )
    code: str = "ok"
    message: str = ""
    group: str | None = None
    size: str | None = None
    environment: str | None = Field(
        default=None, description="With its version, where there are versions"
    )
    image: str | None = Field(default=None, description="The one that the person brings")
    balance: GroupBalance | None = None
    rescue: str | None = Field(
        default=None,
        description="Why only a rescue session may start, in which the person makes room; "
        "its size is the site's, not the chosen one",
    )


class StartOptions(BaseModel):
    """What the start page offers a person."""

    groups: list[GroupBalance] = Field(description="Core-hours of each group")
    resources: list[GroupBalance] = Field(
        default=[], description="Other resources of these groups that are allocated"
    )
    last_choice: ServerChoice = ServerChoice()
    notices: list[str] = []
