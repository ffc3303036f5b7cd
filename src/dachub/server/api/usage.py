"""Usage in any period."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query

from dachub.model.sessions import Kind
from dachub.model.units import day_start
from dachub.model.usage import UsageDimension, UsageReport
from dachub.server.api.parameters import (
    GroupQuery,
    SinceQuery,
    UntilQuery,
    UserQuery,
    errors,
)
from dachub.server.dependencies import Caller, Services

router = APIRouter(prefix="/usage", tags=["usage"])


@router.get("", responses=errors(404))
async def usage(
    caller: Caller,
    services: Services,
    since: SinceQuery = None,
    until: UntilQuery = None,
    by: Annotated[list[UsageDimension] | None, Query(max_length=8)] = None,
    username: UserQuery = None,
    group: GroupQuery = None,
    kind: Kind | None = None,
) -> UsageReport:
    """Tell the usage in [since, until), by default of this month; one's own, unless asked for.

    A group's usage is for its managers and PIs, everybody's for administrators.
    """
    today = day_start(services.clock.now())
    return await services.usage().report(
        caller,
        since=since or today.replace(day=1),
        until=until or today + timedelta(days=1),
        dimensions=by or [],
        username=username,
        group=group,
        kind=kind,
    )
