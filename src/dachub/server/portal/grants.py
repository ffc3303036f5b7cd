"""What the forms about grants ask: amounts in a unit, policies, days, cores at once."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Annotated, Self

from pydantic import Field, field_validator, model_validator

from dachub.accounting.services.usage import FIRST, LAST
from dachub.model.allocations import Recurrence
from dachub.model.units import (
    BYTES_PER_GB,
    BYTES_PER_TB,
    SECONDS_PER_HOUR,
    SECONDS_PER_MINUTE,
    cores,
    midnight,
)
from dachub.model.usage import Policy, QuotaPolicy, Resource
from dachub.server.api.parameters import Reason
from dachub.server.factory import Factory
from dachub.server.portal.forms import Fields, Form
from dachub.server.portal.pages import Visit

EVERYTHING = "all"

UNITS: dict[str, tuple[str, Resource, int]] = {
    "core-hours": ("core-hours", Resource.CORE_HOURS, 1),
    "gpu-hours": ("GPU-hours", Resource.GPU_HOURS, 1),
    "memory-hours": ("GiB-hours of memory", Resource.MEMORY_HOURS, 1),
    "files-tb": ("TB of files", Resource.FILE_BYTES, BYTES_PER_TB),
    "files-gb": ("GB of files", Resource.FILE_BYTES, BYTES_PER_GB),
    "databases-gb": ("GB of databases", Resource.DATABASE_BYTES, BYTES_PER_GB),
}
"""Unit of a form -> what it is called, what it counts, and how many units of the service it is."""

TIME_UNITS = {key: title for key, (title, resource, _) in UNITS.items() if resource.is_time}
"""Units of what running servers consume."""

Day = Annotated[date, Field(ge=FIRST.date(), lt=LAST.date())]
"""One that the service can count with."""

Amount = Annotated[Decimal, Field(max_digits=15, decimal_places=3)]


def unit_of(resource: Resource) -> tuple[str, int]:
    """The unit in which forms speak of a resource, and how many of the service's it is."""
    return next(
        (title, times)
        for title, one, times in UNITS.values()
        if one is resource and times != BYTES_PER_TB
    )


def after(day: date) -> datetime:
    """The moment at which a day has ended, in UTC."""
    return midnight(day) + timedelta(days=1)


class AmountFields(Fields):
    """So much of something."""

    amount: Amount = Field(ge=0)
    unit: str = Field(default="core-hours", pattern=f"^({'|'.join(UNITS)})$")

    @property
    def resource(self) -> Resource:
        """What is granted."""
        return UNITS[self.unit][1]

    @property
    def in_units(self) -> Decimal:
        """How much, in the unit the service takes."""
        return self.amount * UNITS[self.unit][2]

    @property
    def spoken(self) -> str:
        """For people."""
        return f"{self.amount:,} {UNITS[self.unit][0]}"


class PolicyFields(Fields):
    """What happens as an allocation is spent; what is left empty is as the site has it."""

    when_spent: Policy | None = None
    warn_at: str = Field(default="", max_length=40)
    grace_percent: float | None = Field(default=None, ge=0, le=100)
    grace_hours: float | None = Field(default=None, ge=0, le=366 * 24)
    stop_notice_minutes: int | None = Field(default=None, ge=1, le=7 * 24 * 60)

    @property
    def policy(self) -> QuotaPolicy:
        """With only what was said."""
        said = {
            "when_spent": self.when_spent,
            "warn_at_percent": _percents(self.warn_at) or None,
            "grace_percent": self.grace_percent,
            "grace_seconds": None
            if self.grace_hours is None
            else round(self.grace_hours * SECONDS_PER_HOUR),
            "stop_notice_seconds": None
            if self.stop_notice_minutes is None
            else self.stop_notice_minutes * SECONDS_PER_MINUTE,
        }
        return QuotaPolicy.model_validate(
            {key: value for key, value in said.items() if value is not None}
        )

    @field_validator("warn_at")
    @classmethod
    def _are_percents(cls, typed: str) -> str:
        _percents(typed)
        return typed


def _percents(typed: str) -> tuple[int, ...]:
    parts = typed.replace("%", " ").replace(",", " ").split()
    if not all(part.isdecimal() and 1 <= int(part) <= 100 for part in parts) or len(parts) > 10:
        raise ValueError("Give the warnings as whole percents, say 75, 90.")
    return tuple(sorted({int(part) for part in parts}))


class AllocationFields(AmountFields, PolicyFields):
    """A new allocation over whole days."""

    first: Day
    last: Day
    reason: Reason

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last < self.first:
            raise ValueError("The last day lies before the first.")
        return self


class SeriesFields(AmountFields, PolicyFields):
    """An allocation that is made anew for every period."""

    every: Recurrence
    first: Day | None = None
    until: Day | None = None
    carry_over: str = Field(default="0", pattern=rf"^(100|[1-9]?\d|{EVERYTHING})$")
    reason: Reason

    @property
    def carry_over_percent(self) -> int | None:
        """As the service takes it."""
        return None if self.carry_over == EVERYTHING else int(self.carry_over)


class AdjustmentFields(PolicyFields):
    """A change of an allocation: of its amount (may be negative), its end, its policy."""

    amount: Amount | None = None
    last: Day | None = None
    other_policy: bool = False
    reason: Reason

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if self.amount is None and self.last is None and not self.other_policy:
            raise ValueError("Change the amount, the last day or the policy.")
        return self


class ReasonFields(Fields):
    """Only why."""

    reason: Reason


class CoreLimitFields(Fields):
    """How many cores may run at once; as configured where it is empty."""

    cores: Decimal | None = Field(default=None, gt=0)
    reason: Reason


async def set_core_limit(visit: Visit, form: Form, group: str | None, factory: Factory) -> str:
    """Limit the cores of a group, or of the site."""
    fields = form.read(CoreLimitFields)
    limit = await factory.core_limits().set(visit.caller, group, fields.cores, fields.reason)
    whose = group or "The site"
    if limit.milli_cores is None:
        return f"{whose} may use as many cores at once as configured."
    return f"{whose} may use {cores(limit.milli_cores)} at once."
