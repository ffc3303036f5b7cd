"""Whether the service lives, and how it is."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from dachub.server.api.parameters import errors
from dachub.server.dependencies import AdministratorOnly, CurrentProcess
from dachub.server.status import ServiceStatus, require_answer, status_of

router = APIRouter(tags=["service"])


class Health(BaseModel):
    """All is well."""

    status: str = "ok"


@router.get("/alive")
async def alive() -> Health:
    """Tell that the process answers, whatever it lacks; to start it again would bring that."""
    return Health()


@router.get("/health", responses=errors())
async def health(process: CurrentProcess) -> Health:
    """Tell whether the service can do its work: not while its database is away, or it ends."""
    process.require_going_on()
    await require_answer(process)
    return Health()


@router.get("/status", responses=errors(), dependencies=[AdministratorOnly])
async def status(process: CurrentProcess) -> ServiceStatus:
    """Tell what runs since when, and what the workers found."""
    return await status_of(process)
