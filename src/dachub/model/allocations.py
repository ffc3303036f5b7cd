"""Recurring allocations and the limits of members."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from pydantic import BaseModel, Field

from dachub.model.usage import QuotaPolicy, QuotaState, Resource


class Recurrence(StrEnum):
    """How long each period of a series is; all begin at midnight, UTC."""

    MONTH = "month"
    QUARTER = "quarter"  # from January, April, July and October
    YEAR = "year"
    IRIS_YEAR = "iris-year"  # from 1 October


class AllocationSeries(BaseModel):
    """An allocation that is made anew for every period; one that has ended makes no more."""

    series_id: int
    group: str
    resource: Resource
    amount: int = Field(description="For each period, in base units")
    every: Recurrence
    first: datetime = Field(description="When the first period begins")
    until: datetime | None = Field(
        default=None, description="No period begins then or later; for ever without"
    )
    carry_over_percent: int | None = Field(
        default=0,
        description="What of the unspent goes to the next period: 0 nothing, null all of it, else "
        "at most so many percent of the amount",
    )
    policy: QuotaPolicy = Field(description="What it leaves out is the site's")
    reason: str
    author: str
    at: datetime
    ended_by: str | None = None
    end_reason: str | None = None


class MemberLimit(BaseModel):
    """What one person may use in a group, over the period of the group's allocations in force."""

    limit_id: int
    group: str
    username: str
    resource: Resource
    amount: int | None = Field(description="Base units; null where the limit was lifted")
    reason: str
    author: str
    at: datetime


class MemberBalance(BaseModel):
    """What a member used of their own limit, from ``since`` on, in base units."""

    group: str
    username: str
    resource: Resource
    limit: int
    used: int
    since: datetime
    state: QuotaState
