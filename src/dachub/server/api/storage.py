"""What is kept on disk, now and in the past, and what may be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial

from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field

from dachub.directory.models import Principal
from dachub.model.names import GroupSlug, Username
from dachub.model.problems import InvalidInput
from dachub.model.storage import StorageArea, StorageLimit, StorageSample, StorageUse
from dachub.server.api.parameters import (
    GroupQuery,
    Reason,
    SinceQuery,
    UntilQuery,
    UserQuery,
    errors,
)
from dachub.server.dependencies import Caller, CurrentProcess, Once, Services
from dachub.server.sampling import REQUESTS

router = APIRouter(prefix="/storage", tags=["storage"])

HISTORY_DAYS = 30


class NewLimit(BaseModel):
    """What one home or group folder may hold; what is not given is as the site's again."""

    model_config = ConfigDict(extra="forbid")

    user: Username | None = None
    group: GroupSlug | None = None
    bytes: int | None = Field(default=None, ge=0, le=2**60)
    files: int | None = Field(default=None, ge=0, le=2**60)
    reason: Reason


@router.get("", responses=errors())
async def storage(
    caller: Caller, services: Services, username: UserQuery = None, group: GroupQuery = None
) -> Sequence[StorageUse]:
    """Tell what one's home and the folders of one's groups hold; of everybody's, administrators."""
    if username is None and group is None:
        return await services.storage().now(caller)
    area, owner = _place(caller, username, group)
    return await services.storage().now(caller, area=area, owner=owner)


@router.get("/history", responses=errors())
async def history(
    caller: Caller,
    services: Services,
    since: SinceQuery = None,
    until: UntilQuery = None,
    username: UserQuery = None,
    group: GroupQuery = None,
) -> Sequence[StorageSample]:
    """Tell what a place held in [since, until), by default in the last 30 days; one's own home."""
    now = services.clock.now()
    return await services.storage().history(
        caller,
        *_place(caller, username, group),
        since or now - timedelta(days=HISTORY_DAYS),
        until or now + timedelta(seconds=1),
    )


@router.post("/me/resample", status_code=202, responses=errors(404, 429))
async def resample(caller: Caller, services: Services, process: CurrentProcess) -> StorageUse:
    """Measure one's home anew, within seconds: for those who have just made room."""
    use = await services.storage().resample(caller, StorageArea.HOME, caller.name)
    process.nudge(REQUESTS)
    return use


@router.get("/limits", responses=errors())
async def limits(
    caller: Caller, services: Services, username: UserQuery = None, group: GroupQuery = None
) -> Sequence[StorageLimit]:
    """Tell why a limit is what it is: the exceptions there were from the site's, latest last."""
    return await services.storage_limits().history(caller, *_place(caller, username, group))


@router.post("/limits", status_code=201, responses=errors(404))
async def set_limit(new: NewLimit, caller: Caller, services: Services, once: Once) -> StorageLimit:
    """Except a person or group from the site's limits; the reason stays."""
    caller.require_administrator()
    if (new.user is None) == (new.group is None):
        raise InvalidInput("Name a user or a group: a limit is of one of them.")
    area, owner = _place(caller, new.user, new.group)
    make = partial(
        services.storage_limits().set,
        caller, area, owner, limit_bytes=new.bytes, limit_files=new.files, reason=new.reason,
    )  # fmt: skip
    return await once(StorageLimit, make)


def _place(by: Principal, username: str | None, group: str | None) -> tuple[StorageArea, str]:
    """The place that was asked for; one's own home unless something else was."""
    if username is not None and group is not None:
        raise InvalidInput("Ask for a user's home or for a group's folder, not for both at once.")
    if group is not None:
        return StorageArea.GROUP, group
    return StorageArea.HOME, username or by.name
