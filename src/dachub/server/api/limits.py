"""What groups have left, and the limits of their members."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from dachub.model.allocations import MemberBalance, MemberLimit
from dachub.model.people import Role
from dachub.model.usage import GroupBalance, Resource
from dachub.server.api.allocations import Amount
from dachub.server.api.parameters import GroupPath, Reason, UsernamePath, errors
from dachub.server.dependencies import Caller, Services

router = APIRouter(prefix="/groups/{group}", tags=["groups"])


class NewLimit(BaseModel):
    """What a member may use of each period; ``null`` lifts the limit."""

    model_config = ConfigDict(extra="forbid")

    resource: Resource = Resource.CORE_HOURS
    amount: Amount | None = Field(description="In core-hours and the like")
    reason: Reason


@router.get("/balances", responses=errors(404))
async def balances(group: GroupPath, caller: Caller, services: Services) -> Sequence[GroupBalance]:
    """Tell what the group has left of each resource, and how long that lasts."""
    caller.require(group, Role.MEMBER)
    return await services.quota().balances(group)


@router.get("/limits", responses=errors(404))
async def limits(group: GroupPath, caller: Caller, services: Services) -> Sequence[MemberBalance]:
    """List members' limits in force, and what was used of them; for members their own."""
    return await services.quota().members(caller, group)


@router.get("/limits/history", responses=errors(404))
async def history(group: GroupPath, caller: Caller, services: Services) -> Sequence[MemberLimit]:
    """List all limits there ever were, the latest first; for members their own."""
    return await services.limits().history(caller, group)


@router.put("/limits/{username}", responses=errors(404))
async def put_limit(
    group: GroupPath, username: UsernamePath, limit: NewLimit, caller: Caller, services: Services
) -> MemberLimit:
    """Set or lift a member's limit; the member is told."""
    return await services.limits().set(
        caller, group, username, limit.resource, limit.amount, limit.reason
    )
