"""The REST API: one file a resource; translates, decides nothing."""

from fastapi import APIRouter

from dachub.server.api import (
    allocations,
    audit,
    cores,
    events,
    groups,
    health,
    hub,
    limits,
    me,
    notices,
    reports,
    requests,
    series,
    sessions,
    storage,
    usage,
    users,
)

router = APIRouter()
for _resource in (
    health,
    me,
    notices,
    usage,
    sessions,
    events,
    hub,
    users,
    groups,
    limits,
    cores,
    allocations,
    series,
    requests,
    storage,
    reports,
    audit,
):
    router.include_router(_resource.router)

__all__ = ["router"]
