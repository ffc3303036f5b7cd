"""*Administration*: the service as a whole, groups, running servers, the audit log."""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from typing import Annotated, Any

from fastapi import APIRouter, Query, Response
from pydantic import Field

from dachub.model.names import GroupSlug
from dachub.model.people import Group
from dachub.model.problems import DachubError
from dachub.model.requests import RequestState
from dachub.model.usage import GroupBalance, QuotaState
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.forms import Fields, Form, Submitted, answered, changed_once
from dachub.server.portal.grants import set_core_limit
from dachub.server.portal.pages import Visit, Visitor
from dachub.server.portal.routes.sessions import open_sessions
from dachub.server.portal.sentences import SENTENCES
from dachub.server.portal.tables import AskedSort, sorted_rows
from dachub.server.status import status_of

router = APIRouter(prefix="/admin", include_in_schema=False)

AUDIT_PER_PAGE = 50
NEVER = datetime.max.replace(tzinfo=UTC)
Filter = Annotated[str, Query(max_length=200)]


GROUP_COLUMNS: dict[str, Callable[[tuple[Group, GroupBalance]], Any]] = {
    "name": lambda row: (row[0].title or row[0].slug).casefold(),
    "state": lambda row: list(QuotaState).index(row[1].state),
    "used": lambda row: row[1].used,
    "allocated": lambda row: -1 if row[1].allocated is None else row[1].allocated,
    "left": lambda row: math.inf if row[1].left is None else row[1].left,
    "spent": lambda row: row[1].projected_exhaustion_at or NEVER,
}


class GroupFields(Fields):
    """A group to add."""

    slug: GroupSlug
    title: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=4000)


@router.get("")
async def overview(visit: Visitor, factory: Services) -> Response:
    """Show how the service is, and how the site's own awards stand."""
    visit.caller.require_administrator()
    return visit.page(
        "overview.html",
        health=await status_of(visit.process),
        cores=await factory.queue().report(visit.caller),
        awards=await factory.awards().standing(visit.caller),
        requests=await factory.requests().list(
            visit.caller, state=RequestState.OPEN, own_limit=False
        ),
    )


async def _groups_page(visit: Visit, factory: Factory, asked: str, form: Form) -> Response:
    visit.caller.require_administrator()
    groups = await factory.groups().list(visit.caller)
    balances = await factory.quota().core_hours([group.slug for group in groups])
    rows, sorting = sorted_rows(
        [(group, balances[group.slug]) for group in groups], asked, GROUP_COLUMNS, "name"
    )
    return visit.page("all-groups.html", rows=rows, sorting=sorting, form=form, status=form.status)


@router.get("/groups")
async def groups(visit: Visitor, factory: Services, sort: AskedSort = "") -> Response:
    """List all groups, with how each stands."""
    return await _groups_page(visit, factory, sort, Form())


@router.post("/groups")
async def add_group(visit: Visitor, form: Submitted) -> Response:
    """Add a group."""
    visit.caller.require_administrator()
    try:
        fields = form.read(GroupFields)

        async def change(factory: Factory) -> str:
            await factory.groups().create(
                visit.caller, fields.slug, fields.title, fields.description
            )
            return f"The group {fields.slug} was added. Give it a PI and an allocation."

        message = await changed_once(visit, form, change)
    except DachubError as error:
        async with visit.process.factory() as factory:
            return await _groups_page(visit, factory, "", form.failed("group", error))
    return visit.redirect(f"groups/{fields.slug}", message)


async def _servers_page(visit: Visit, factory: Factory, form: Form) -> Response:
    visit.caller.require_administrator()
    return visit.page(
        "servers.html",
        sessions=await open_sessions(factory, visit.caller),
        cores=await factory.queue().report(visit.caller),
        limits=await factory.core_limits().history(visit.caller, None),
        form=form,
        status=form.status,
    )


@router.get("/servers")
async def servers(visit: Visitor, factory: Services) -> Response:
    """List running servers, and those that wait for cores."""
    return await _servers_page(visit, factory, Form())


@router.post("/servers")
async def limit_cores(visit: Visitor, form: Submitted) -> Response:
    """Let the site run so many cores at once."""
    visit.caller.require_administrator()
    return await answered(
        visit,
        form,
        "cores",
        changed_once(visit, form, partial(set_core_limit, visit, form, None)),
        partial(_servers_page, visit),
        "admin/servers",
    )


@router.get("/audit")
async def audit(
    visit: Visitor,
    factory: Services,
    user: Filter = "",
    group: Filter = "",
    action: Filter = "",
    before: Annotated[int | None, Query(ge=1, le=2**63 - 1)] = None,
) -> Response:
    """Show the audit log, newest first."""
    visit.caller.require_administrator()
    entries = await factory.audit().list(
        visit.caller,
        username=user.strip() or None,
        group=group.strip() or None,
        action=action.strip() or None,
        before=before,
        limit=AUDIT_PER_PAGE + 1,
    )
    return visit.page(
        "audit.html",
        entries=entries[:AUDIT_PER_PAGE],
        actions=sorted(SENTENCES),
        older=entries[AUDIT_PER_PAGE - 1].audit_id if len(entries) > AUDIT_PER_PAGE else None,
        paged=before is not None,
        filters={"user": user.strip(), "group": group.strip(), "action": action.strip()},
    )
