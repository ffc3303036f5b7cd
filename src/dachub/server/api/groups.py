"""Groups and who belongs to them."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from dachub.model.names import GroupSlug
from dachub.model.people import Group, MembershipRecord, Role
from dachub.server.api.parameters import GroupPath, UsernamePath, errors
from dachub.server.dependencies import Caller, Services

router = APIRouter(prefix="/groups", tags=["groups"])


class NewGroup(BaseModel):
    """A local group; its slug stays for ever."""

    model_config = ConfigDict(extra="forbid")

    slug: GroupSlug
    title: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=4000)


class MemberRole(BaseModel):
    """What a member may do."""

    model_config = ConfigDict(extra="forbid")

    role: Role = Role.MEMBER


@router.get("", responses=errors())
async def groups(caller: Caller, services: Services) -> Sequence[Group]:
    """List the caller's groups; for administrators all."""
    return await services.groups().list(caller)


@router.post("", status_code=201, responses=errors(409))
async def add_group(new: NewGroup, caller: Caller, services: Services) -> Group:
    """Add a local group."""
    return await services.groups().create(caller, new.slug, new.title, new.description)


@router.get("/{group}", responses=errors(404))
async def show_group(group: GroupPath, caller: Caller, services: Services) -> Group:
    """Show a group with its members."""
    return await services.groups().show(caller, group)


@router.put("/{group}/members/{username}", responses=errors(404, 409))
async def put_member(
    group: GroupPath, username: UsernamePath, member: MemberRole, caller: Caller, services: Services
) -> MembershipRecord:
    """Make somebody a local member, or give them another role."""
    return await services.groups().put_member(caller, group, username, member.role)


@router.delete("/{group}/members/{username}", status_code=204, responses=errors(404, 409))
async def remove_member(
    group: GroupPath, username: UsernamePath, caller: Caller, services: Services
) -> None:
    """End a person's local membership; their history stays."""
    await services.groups().remove_member(caller, group, username)
