"""The caller themselves."""

from __future__ import annotations

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field

from dachub.directory.models import Principal, PrincipalKind
from dachub.model.people import Person
from dachub.model.problems import PermissionDenied
from dachub.model.usage import StartOptions
from dachub.server.api.parameters import errors
from dachub.server.dependencies import Caller, Services
from dachub.server.privacy import archive

router = APIRouter(prefix="/me", tags=["people"])


class PasswordChange(BaseModel):
    """A new password, and the one it replaces."""

    model_config = ConfigDict(extra="forbid")

    current: str = Field(max_length=1000, repr=False)
    new: str = Field(max_length=1000, repr=False)


def _require_person(caller: Principal) -> None:
    if caller.kind is PrincipalKind.HUB:
        raise PermissionDenied("The hub is nobody; this is about people.")


@router.get("", responses=errors())
async def me(caller: Caller, services: Services) -> Person:
    """Tell who the caller is here."""
    _require_person(caller)
    return await services.people().person(caller.name)


@router.get("/start-options", responses=errors())
async def start_options(caller: Caller, services: Services) -> StartOptions:
    """Tell what the caller's groups have used and have left."""
    _require_person(caller)
    return await services.quota().start_options(caller.name)


@router.get(
    "/data",
    response_class=Response,
    responses=errors() | {200: {"content": {"application/zip": {}}}},
)
async def data(caller: Caller, services: Services) -> Response:
    """Give the caller everything that is held about them, as a ZIP archive."""
    return await archive(caller, services)


@router.put("/password", status_code=204, responses=errors(404))
async def change_password(change: PasswordChange, caller: Caller, services: Services) -> None:
    """Change the caller's own password; for local accounts."""
    await services.accounts().change_own_password(caller, change.current, change.new)
