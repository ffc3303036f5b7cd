"""Recurring allocations."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dachub.model.allocations import AllocationSeries, Recurrence
from dachub.model.names import GroupSlug
from dachub.model.usage import Policy, QuotaPolicy, Resource
from dachub.server.api.allocations import Amount
from dachub.server.api.parameters import GroupQuery, Reason, SmallIdPath, errors
from dachub.server.dependencies import Caller, Once, Services

router = APIRouter(prefix="/series", tags=["allocations"])


class NewSeries(BaseModel):
    """An allocation that is made anew for every period."""

    model_config = ConfigDict(extra="forbid")

    group: GroupSlug
    resource: Resource = Resource.CORE_HOURS
    amount: Amount = Field(gt=0)
    every: Recurrence
    first: AwareDatetime | None = Field(
        default=None, description="A moment in the first period; now, where not given"
    )
    until: AwareDatetime | None = Field(default=None, description="No period begins then or later")
    carry_over_percent: int | None = Field(
        default=0, ge=0, le=100, description="Of the amount at most; null for all that is left"
    )
    policy: Policy | QuotaPolicy | None = None
    reason: Reason


class SeriesEnd(BaseModel):
    """Why no further period is to begin."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


@router.get("", responses=errors(404))
async def series(
    caller: Caller, services: Services, group: GroupQuery = None
) -> Sequence[AllocationSeries]:
    """List a group's series; without a group, of all the caller's."""
    return await services.series().list(caller, group=group)


@router.post("", status_code=201, responses=errors(404))
async def add(new: NewSeries, caller: Caller, services: Services, once: Once) -> AllocationSeries:
    """Give a group an allocation for every period."""
    return await once(AllocationSeries, partial(services.series().add, caller, **dict(new)))


@router.post("/{series_id}/end", responses=errors(404, 409))
async def end(
    series_id: SmallIdPath,
    ending: SeriesEnd,
    caller: Caller,
    services: Services,
) -> AllocationSeries:
    """Let no further period begin; the one of now goes on."""
    return await services.series().end(caller, series_id, ending.reason)
