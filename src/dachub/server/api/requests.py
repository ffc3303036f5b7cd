"""Requests for more."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from dachub.directory.services.text import REASON_MAX_CHARACTERS
from dachub.model.names import GroupSlug
from dachub.model.requests import AllocationRequest, RequestState
from dachub.model.usage import Resource
from dachub.server.api.allocations import Amount
from dachub.server.api.parameters import BeforeQuery, GroupQuery, Reason, SmallIdPath, errors
from dachub.server.dependencies import Caller, Once, Services

router = APIRouter(prefix="/requests", tags=["requests"])


class NewRequest(BaseModel):
    """What is asked for; the amount in core-hours, GPU-hours or bytes."""

    model_config = ConfigDict(extra="forbid")

    group: GroupSlug
    resource: Resource = Resource.CORE_HOURS
    amount: Amount
    reason: Reason
    own_limit: bool = Field(
        default=False, description="For a higher limit of one's own, which the PI decides on"
    )


class Granting(BaseModel):
    """What is given: what was asked for, unless another amount is named.

    It is added to the member's own limit if that was asked for, else to the group's allocation in
    force; with a period, a new one is made.
    """

    model_config = ConfigDict(extra="forbid")

    amount: Amount | None = None
    reason: str = Field(default="", max_length=REASON_MAX_CHARACTERS)
    starts_at: AwareDatetime | None = None
    ends_at: AwareDatetime | None = None


class Refusal(BaseModel):
    """Why nothing is given."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


@router.get("", responses=errors())
async def requests(
    caller: Caller,
    services: Services,
    group: GroupQuery = None,
    state: RequestState | None = None,
    before: BeforeQuery = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Sequence[AllocationRequest]:
    """List one's own requests and those of groups one manages, newest first; administrators all."""
    return await services.requests().list(
        caller, group=group, state=state, before=before, limit=limit
    )


@router.post("", status_code=201, responses=errors(404, 409))
async def ask(new: NewRequest, caller: Caller, services: Services, once: Once) -> AllocationRequest:
    """Ask for more."""
    return await once(AllocationRequest, partial(services.requests().ask, caller, **dict(new)))


@router.get("/{request_id}", responses=errors(404))
async def show(request_id: SmallIdPath, caller: Caller, services: Services) -> AllocationRequest:
    """Show a request."""
    return await services.requests().show(caller, request_id)


@router.post("/{request_id}/grant", responses=errors(404, 409))
async def grant(
    request_id: SmallIdPath, granting: Granting, caller: Caller, services: Services
) -> AllocationRequest:
    """Grant a request, as it is or changed."""
    return await services.requests().grant(
        caller,
        request_id,
        amount=granting.amount,
        reason=granting.reason,
        starts_at=granting.starts_at,
        ends_at=granting.ends_at,
    )


@router.post("/{request_id}/decline", responses=errors(404, 409))
async def decline(
    request_id: SmallIdPath, refusal: Refusal, caller: Caller, services: Services
) -> AllocationRequest:
    """Decline a request; who asked is told why."""
    return await services.requests().decline(caller, request_id, refusal.reason)


@router.post("/{request_id}/withdraw", responses=errors(404, 409))
async def withdraw(
    request_id: SmallIdPath, caller: Caller, services: Services
) -> AllocationRequest:
    """Take back one's own request."""
    return await services.requests().withdraw(caller, request_id)
