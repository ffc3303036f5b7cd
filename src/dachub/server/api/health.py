"""Whether the service lives, and how it is."""

from __future__ import annotations

from fastapi import APIRouter
from pydantic import BaseModel

from dachub.server.api.parameters import errors
from dachub.server.dependencies import AdministratorOnly, CurrentProcess
from dachub.server.status import ServiceStatus, require_answer, status_of

router = APIRouter(tags=["service"])


class Health(BaseModel):
    """The service lives and its database answers."""

    status: str = "ok"


@router.get("/health", responses=errors())
async def health(process: CurrentProcess) -> Health:
    """Tell whether the service can do its work; anyone may ask."""
    await require_answer(process)
    return Health()


@router.get("/status", responses=errors(), dependencies=[AdministratorOnly])
async def status(process: CurrentProcess) -> ServiceStatus:
    """Tell what runs since when, and what the workers found."""
    return await status_of(process)
