"""What groups may use."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dachub.model.names import GROUP_SLUG_PATTERN, GroupSlug
from dachub.model.usage import AllocationRecord, Policy, QuotaPolicy, Resource
from dachub.server.api.parameters import Reason, SmallIdPath, errors
from dachub.server.dependencies import Caller, Once, Services

router = APIRouter(prefix="/allocations", tags=["allocations"])

Amount = Annotated[Decimal, Field(max_digits=18, decimal_places=6, ge=-(10**12), le=10**12)]


class NewAllocation(BaseModel):
    """An allocation over [starts_at, ends_at); the amount in core-hours, GPU-hours or bytes."""

    model_config = ConfigDict(extra="forbid")

    group: GroupSlug
    resource: Resource = Resource.CORE_HOURS
    amount: Amount = Field(ge=0)
    starts_at: AwareDatetime
    ends_at: AwareDatetime
    policy: Policy | QuotaPolicy | None = Field(
        default=Policy.DENY,
        description="What happens in the end, or a whole policy; what it leaves out is the site's",
    )
    reason: Reason


class NewAdjustment(BaseModel):
    """A change of the amount, the end or the policy; each is appended."""

    model_config = ConfigDict(extra="forbid")

    amount: Amount | None = Field(
        default=None, description="To add, in the allocation's unit; may be negative"
    )
    ends_at: AwareDatetime | None = None
    policy: Policy | QuotaPolicy | None = None
    reason: Reason


@router.get("", responses=errors(404))
async def allocations(
    caller: Caller,
    services: Services,
    group: Annotated[str | None, Query(pattern=GROUP_SLUG_PATTERN, max_length=20)] = None,
) -> Sequence[AllocationRecord]:
    """List a group's allocations with their history; without a group, of all the caller's."""
    return await services.allocations().list(caller, group=group)


@router.get("/{allocation_id}", responses=errors(404))
async def show(allocation_id: SmallIdPath, caller: Caller, services: Services) -> AllocationRecord:
    """Show an allocation, and every adjustment that it came by."""
    return await services.allocations().show(caller, allocation_id)


@router.post("", status_code=201, responses=errors(404, 409))
async def create(
    new: NewAllocation, caller: Caller, services: Services, once: Once
) -> AllocationRecord:
    """Give a group an allocation."""
    make = partial(services.allocations().create, caller, **dict(new))
    return await once(AllocationRecord, make)


@router.post("/{allocation_id}/adjustments", status_code=201, responses=errors(404, 409))
async def adjust(
    allocation_id: SmallIdPath,
    change: NewAdjustment,
    caller: Caller,
    services: Services,
    once: Once,
) -> AllocationRecord:
    """Change an allocation; the reason stays."""
    make = partial(services.allocations().change, caller, allocation_id, **dict(change))
    return await once(AllocationRecord, make)
