"""*Group, Requests*: asking for more, and what its PIs decide; *Administration, Requests*."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from dachub.directory.services.text import REASON_MAX_CHARACTERS
from dachub.model.allocations import MemberBalance
from dachub.model.people import Role
from dachub.model.requests import AllocationRequest, RequestState
from dachub.model.units import midnight
from dachub.model.usage import Resource
from dachub.server.api.parameters import Reason, SmallIdPath
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.forms import Fields, Form, Page, Submitted, answered, changed_once
from dachub.server.portal.frame import Slug, group_frame
from dachub.server.portal.grants import Day, after, unit_of
from dachub.server.portal.pages import Visit, Visitor

router = APIRouter(include_in_schema=False)

REQUESTS_PER_PAGE = 50
Amount = Annotated[Decimal, Field(gt=0, max_digits=15, decimal_places=3)]
Before = Annotated[int | None, Query(ge=1)]


class RequestFields(Fields):
    """What is asked for; bytes in GB."""

    resource: Resource
    amount: Amount
    reason: Reason
    own_limit: bool = False


class GrantFields(Fields):
    """What is given; without days the allocation in force grows."""

    amount: Amount
    reason: str = Field(default="", max_length=REASON_MAX_CHARACTERS)
    first: Day | None = None
    last: Day | None = None


class RefusalFields(Fields):
    """Why nothing is given."""

    reason: Reason


def typed_amount(amount: int, resource: Resource) -> str:
    """An amount in base units as a person types it into a form."""
    exact = Decimal(amount) / _per_unit(resource)
    return f"{round(exact, 3).normalize():f}"


def _spoken_amount(typed: Decimal, resource: Resource) -> Decimal:
    """What was typed in the unit that the services take: bytes instead of GB."""
    return Decimal(int(typed * _per_unit(resource))) / resource.base_units


def _per_unit(resource: Resource) -> int:
    """Base units in one unit of a form."""
    _, times = unit_of(resource)
    return times * resource.base_units


# --- Of a group ----------------------------------------------------------------------------------


async def _group_page(
    visit: Visit, slug: str, factory: Factory, form: Form, before: int | None = None
) -> Response:
    frame = await group_frame(visit, factory, slug)
    found = await factory.requests().list(
        visit.caller, group=slug, before=before, limit=REQUESTS_PER_PAGE + 1
    )
    limits = await factory.quota().members(visit.caller, slug)
    own = [limit for limit in limits if limit.username == visit.caller.name]
    decides = visit.caller.has(slug, Role.PI)
    waiting = (
        await factory.requests().list(
            visit.caller, group=slug, state=RequestState.OPEN, own_limit=True
        )
        if decides
        else []
    )
    has_gpus = any(size.gpus for size in visit.process.settings.servers.sizes)
    resources = [Resource.CORE_HOURS, *([Resource.GPU_HOURS] if has_gpus else [])]
    return visit.page(
        "group-requests.html",
        **frame,
        **_paged(found, before),
        **_to_decide(waiting, limits, form),
        decides=decides,
        own=own,
        own_resources=[(each.resource.value, each.resource.unit) for each in own],
        resources=[(each.value, unit_of(each)[0]) for each in (*resources, Resource.FILE_BYTES)],
        form=form,
        status=form.status,
    )


def _paged(found: Sequence[AllocationRequest], before: int | None) -> dict[str, object]:
    shown = found[:REQUESTS_PER_PAGE]
    return {
        "requests": shown,
        "older": shown[-1].request_id if len(found) > REQUESTS_PER_PAGE else None,
        "paged": before is not None,
    }


@router.get("/groups/{slug}/requests")
async def requests(
    slug: Slug, visit: Visitor, factory: Services, before: Before = None
) -> Response:
    """Show what was asked for: one's own, and for managers all of the group."""
    return await _group_page(visit, slug, factory, Form(), before)


@router.post("/groups/{slug}/requests")
async def ask(slug: Slug, visit: Visitor, form: Submitted) -> Response:
    """Ask for more."""

    async def change(factory: Factory) -> str:
        fields = form.read(RequestFields)
        await factory.requests().ask(
            visit.caller,
            group=slug,
            resource=fields.resource,
            amount=_spoken_amount(fields.amount, fields.resource),
            reason=fields.reason,
            own_limit=fields.own_limit,
        )
        whom = "the group's PI" if fields.own_limit else "the administrators"
        return f"Your request was sent to {whom}. You will be told what they decide."

    page, path = partial(_group_page, visit, slug), f"groups/{slug}/requests"
    name = "own-limit" if "own_limit" in form.values else "request"
    return await answered(visit, form, name, changed_once(visit, form, change), page, path)


@router.post("/groups/{slug}/requests/{request_id}/withdraw")
async def withdraw(slug: Slug, request_id: SmallIdPath, visit: Visitor, _: Submitted) -> Response:
    """Take back one's own request."""
    async with visit.process.factory() as factory:
        await factory.requests().withdraw(visit.caller, request_id)
    return visit.redirect(f"groups/{slug}/requests", "Your request was withdrawn.")


@router.post("/groups/{slug}/requests/{request_id}/grant")
async def raise_limit(
    slug: Slug, request_id: SmallIdPath, visit: Visitor, form: Submitted
) -> Response:
    """Grant a member a higher limit of their own."""
    visit.caller.require(slug, Role.PI)
    page = partial(_group_page, visit, slug)
    return await _grant(visit, request_id, form, page, f"groups/{slug}/requests")


@router.post("/groups/{slug}/requests/{request_id}/decline")
async def keep_limit(
    slug: Slug, request_id: SmallIdPath, visit: Visitor, form: Submitted
) -> Response:
    """Decline a member's request for a higher limit of their own."""
    visit.caller.require(slug, Role.PI)
    page = partial(_group_page, visit, slug)
    return await _decline(visit, request_id, form, page, f"groups/{slug}/requests")


# --- Of the service ------------------------------------------------------------------------------


async def _admin_page(
    visit: Visit, factory: Factory, form: Form, before: int | None = None
) -> Response:
    visit.caller.require_administrator()
    service = factory.requests()
    waiting = await service.list(
        visit.caller, state=RequestState.OPEN, own_limit=False, limit=REQUESTS_PER_PAGE
    )
    found = await service.list(visit.caller, before=before, limit=REQUESTS_PER_PAGE + 1)
    limits = [
        limit
        for group in sorted({request.group for request in waiting})
        for limit in await factory.quota().members(visit.caller, group)
    ]
    return visit.page(
        "requests.html",
        **_to_decide(waiting, limits, form),
        **_paged(found, before),
        form=form,
        status=form.status,
    )


def _to_decide(
    waiting: Sequence[AllocationRequest], limits: Sequence[MemberBalance], form: Form
) -> dict[str, object]:
    """What the forms of decisions need, with the own limits of those who ask."""
    own = {(limit.group, limit.username, limit.resource): limit for limit in limits}
    concerned = {request.request_id for request in waiting}
    return {
        "waiting": [
            (request, own.get((request.group, request.username, request.resource)))
            for request in waiting
        ],
        # Decided meanwhile by somebody else: there is no form any more to show it at.
        "problem": form.message if _number(form) not in {0, *concerned} else "",
        "unit_of": unit_of,
        "typed_amount": typed_amount,
    }


def _number(form: Form) -> int:
    """Of the request that a form decides on; 0 for a form that asks."""
    number = form.name.rpartition("-")[2]
    return int(number) if number.isdecimal() else 0


@router.get("/admin/requests")
async def all_requests(visit: Visitor, factory: Services, before: Before = None) -> Response:
    """Show what waits for a decision, and what was decided."""
    return await _admin_page(visit, factory, Form(), before)


@router.post("/admin/requests/{request_id}/grant")
async def grant(request_id: SmallIdPath, visit: Visitor, form: Submitted) -> Response:
    """Grant a request, as it is or changed."""
    visit.caller.require_administrator()
    page = partial(_admin_page, visit)
    return await _grant(visit, request_id, form, page, "admin/requests")


@router.post("/admin/requests/{request_id}/decline")
async def decline(request_id: SmallIdPath, visit: Visitor, form: Submitted) -> Response:
    """Decline a request; who asked is told why."""
    visit.caller.require_administrator()
    page = partial(_admin_page, visit)
    return await _decline(visit, request_id, form, page, "admin/requests")


# --- Deciding ------------------------------------------------------------------------------------


async def _grant(visit: Visit, request_id: int, form: Form, page: Page, path: str) -> Response:
    async def change(factory: Factory) -> str:
        fields = form.read(GrantFields)
        request = await factory.requests().show(visit.caller, request_id)
        await factory.requests().grant(
            visit.caller,
            request_id,
            amount=_spoken_amount(fields.amount, request.resource),
            reason=fields.reason,
            starts_at=midnight(fields.first) if fields.first else None,
            ends_at=after(fields.last) if fields.last else None,
        )
        given = f"{fields.amount} {unit_of(request.resource)[0]} more"
        if request.own_limit:
            return f"{request.username} may use {given} from now on."
        return f"{request.group} was given {given}."

    name = f"grant-{request_id}"
    return await answered(visit, form, name, changed_once(visit, form, change), page, path)


async def _decline(visit: Visit, request_id: int, form: Form, page: Page, path: str) -> Response:
    async def change(factory: Factory) -> str:
        reason = form.read(RefusalFields).reason
        decided = await factory.requests().decline(visit.caller, request_id, reason)
        return f"The request was declined; {decided.username} is told why."

    name = f"decline-{request_id}"
    return await answered(visit, form, name, changed_once(visit, form, change), page, path)
