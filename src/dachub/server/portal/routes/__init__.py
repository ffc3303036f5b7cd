"""What can be visited and sent: a file for what each is about."""

from fastapi import APIRouter

from dachub.server.portal.routes import (
    account,
    administration,
    allocations,
    groups,
    members,
    notices,
    people,
    reports,
    requests,
    service,
    sessions,
    storage,
    usage,
)

router = APIRouter(include_in_schema=False)

parts = (
    usage, account, notices, groups, members, sessions, allocations, storage, requests,
    administration, people, service, reports,
)  # fmt: skip
for part in parts:
    router.include_router(part.router)
