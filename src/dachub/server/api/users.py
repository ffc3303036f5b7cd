"""People, for administrators; for others themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, BackgroundTasks, Query
from pydantic import BaseModel, ConfigDict, Field

from dachub.model.names import Username
from dachub.model.people import Person
from dachub.privacy.models import ForgettingAsked
from dachub.server.api.parameters import Reason, UsernamePath, errors
from dachub.server.dependencies import AdministratorOnly, Caller, CurrentProcess, Services

router = APIRouter(prefix="/users", tags=["people"])


class NewLocalAccount(BaseModel):
    """A person who signs in with a password of ours."""

    model_config = ConfigDict(extra="forbid")

    username: Username
    full_name: str = Field(default="", max_length=500)
    email: str = Field(default="", max_length=500)
    administrator: bool = False
    password: str = Field(max_length=1000, repr=False)


class Disabling(BaseModel):
    """Why somebody is disabled."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason


class ToForget(BaseModel):
    """Why somebody is forgotten."""

    model_config = ConfigDict(extra="forbid")

    reason: Reason = Field(description="Kept in the audit log: without the name")
    delete_home: bool = Field(default=False, description="Their home directory goes too")


class NewPassword(BaseModel):
    """A password set by an administrator."""

    model_config = ConfigDict(extra="forbid")

    new: str = Field(max_length=1000, repr=False)


@router.get("", responses=errors())
async def users(
    caller: Caller,
    services: Services,
    search: Annotated[str, Query(max_length=200)] = "",
    after: Annotated[str | None, Query(max_length=32)] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> Sequence[Person]:
    """List people by username."""
    return await services.people().list(caller, search=search, after=after, limit=limit)


@router.post("", status_code=201, responses=errors(409), dependencies=[AdministratorOnly])
async def add_user(account: NewLocalAccount, caller: Caller, services: Services) -> Person:
    """Add a person with a local account."""
    return await services.accounts().add(caller, **account.model_dump())


@router.get("/{username}", responses=errors(404))
async def user(username: UsernamePath, caller: Caller, services: Services) -> Person:
    """Show a person."""
    return await services.people().show(caller, username)


@router.post("/{username}/disable", responses=errors(404, 409))
async def disable(
    username: UsernamePath,
    disabling: Disabling,
    caller: Caller,
    services: Services,
    process: CurrentProcess,
    background: BackgroundTasks,
) -> Person:
    """Refuse a person everything from now on, stop their servers and end their tokens."""
    person = await services.people().disable(caller, username, disabling.reason)
    background.add_task(process.nudge, "disabled-people")
    return person


@router.post("/{username}/enable", responses=errors(404))
async def enable(username: UsernamePath, caller: Caller, services: Services) -> Person:
    """Let a disabled person in again."""
    return await services.people().enable(caller, username)


@router.post("/{username}/forget", status_code=202, responses=errors(404, 409))
async def forget(
    username: UsernamePath,
    forgetting: ToForget,
    caller: Caller,
    services: Services,
    process: CurrentProcess,
    background: BackgroundTasks,
) -> ForgettingAsked:
    """Forget a person: refused everything now, forgotten once nothing of theirs runs."""
    asked = await services.forgetting().ask(
        caller, username, forgetting.reason, delete_home=forgetting.delete_home
    )
    background.add_task(process.nudge, "disabled-people")
    return asked


@router.put("/{username}/password", status_code=204, responses=errors(404))
async def set_password(
    username: UsernamePath, password: NewPassword, caller: Caller, services: Services
) -> None:
    """Set the password of a local account."""
    await services.accounts().set_password(caller, username, password.new)
