"""The audit log."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from dachub.model.people import AuditEntry
from dachub.server.api.parameters import BeforeQuery, GroupQuery, errors
from dachub.server.dependencies import Caller, Services

router = APIRouter(prefix="/audit", tags=["audit"])


@router.get("", responses=errors())
async def audit(
    caller: Caller,
    services: Services,
    username: Annotated[str | None, Query(alias="user", max_length=200)] = None,
    group: GroupQuery = None,
    action: Annotated[str | None, Query(max_length=63)] = None,
    before: BeforeQuery = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> list[AuditEntry]:
    """List who changed what, newest first; a group's managers and PIs see what concerns it."""
    return await services.audit().list(
        caller, username=username, group=group, action=action, before=before, limit=limit
    )
