"""How many cores may run at once, how many do, and who waits for them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from dachub.model.names import GroupSlug
from dachub.model.queue import MILLI_CORES_MAX, CoreLimit, CoresInUse, CoresReport
from dachub.model.units import MILLI_CORES_PER_CORE
from dachub.server.api.parameters import GroupPath, GroupQuery, Reason, errors
from dachub.server.dependencies import Caller, Once, Services

router = APIRouter(tags=["cores"])


class NewCoreLimit(BaseModel):
    """How many cores a group may run at once."""

    model_config = ConfigDict(extra="forbid")

    group: GroupSlug | None = Field(default=None, description="null: the whole site")
    cores: float | None = Field(
        gt=0, le=MILLI_CORES_MAX / MILLI_CORES_PER_CORE, description="null: as configured again"
    )
    reason: Reason


@router.get("/cores", responses=errors())
async def cores(caller: Caller, services: Services) -> CoresReport:
    """Tell what is in use of the site's and the groups' cores, and who waits for them."""
    return await services.queue().report(caller)


@router.get("/cores/limits", responses=errors(404))
async def limits(
    caller: Caller, services: Services, group: GroupQuery = None
) -> Sequence[CoreLimit]:
    """List what was ever set for a group, or for the site, the latest first."""
    return await services.core_limits().history(caller, group)


@router.post("/cores/limits", status_code=201, responses=errors(404))
async def set_limit(new: NewCoreLimit, caller: Caller, services: Services, once: Once) -> CoreLimit:
    """Let a group or the site run so many cores at once, from the next decision on."""
    caller.require_administrator()
    make = partial(services.core_limits().set, caller, new.group, new.cores, new.reason)
    return await once(CoreLimit, make)


@router.get("/groups/{group}/cores", responses=errors(404))
async def cores_of_group(group: GroupPath, caller: Caller, services: Services) -> CoresInUse:
    """Tell how many cores the group uses and may use at once."""
    return await services.queue().of_group(caller, group)
