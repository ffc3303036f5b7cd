"""*Group, Allocations*: what was granted, changed and why; administrators grant and change."""

from __future__ import annotations

from functools import partial

from fastapi import APIRouter, Response

from dachub.model.units import midnight
from dachub.server.api.parameters import SmallIdPath
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.formats import EVERY, WHEN_SPENT
from dachub.server.portal.forms import Change, Form, Submitted, answered, changed_once
from dachub.server.portal.frame import Slug, group_frame
from dachub.server.portal.grants import (
    EVERYTHING,
    UNITS,
    AdjustmentFields,
    AllocationFields,
    ReasonFields,
    SeriesFields,
    after,
    set_core_limit,
    unit_of,
)
from dachub.server.portal.pages import Visit, Visitor

router = APIRouter(prefix="/groups/{slug}", include_in_schema=False)

CARRY_OVER = {
    "0": "nothing",
    "10": "at most 10 % of the amount",
    "25": "at most 25 % of the amount",
    "50": "at most 50 % of the amount",
    EVERYTHING: "everything",
}


async def _page(visit: Visit, slug: str, factory: Factory, form: Form) -> Response:
    return visit.page(
        "group-allocations.html",
        **await group_frame(visit, factory, slug),
        allocations=await factory.allocations().list(visit.caller, group=slug),
        cores=await factory.queue().of_group(visit.caller, slug),
        core_limits=await factory.core_limits().history(visit.caller, slug),
        series=await factory.series().list(visit.caller, group=slug),
        site_policy=visit.process.settings.quota.policy,
        units={key: title for key, (title, _, _) in UNITS.items()},
        unit_of=unit_of,
        when_spent=WHEN_SPENT,
        every=EVERY,
        carry_over=CARRY_OVER,
        form=form,
        status=form.status,
    )


async def _changed(visit: Visit, slug: str, form: Form, name: str, change: Change) -> Response:
    """Make a change and say so on the page; or show the form again, with what was wrong."""
    visit.caller.require_administrator()
    page = partial(_page, visit, slug)
    return await answered(
        visit, form, name, changed_once(visit, form, change), page, f"groups/{slug}/allocations"
    )


@router.get("/allocations")
async def allocations(slug: Slug, visit: Visitor, factory: Services) -> Response:
    """Show a group's allocations, and how each came to its amount."""
    return await _page(visit, slug, factory, Form())


@router.post("/allocations")
async def add(slug: Slug, visit: Visitor, form: Submitted) -> Response:
    """Grant something for a stretch of days."""

    async def change(factory: Factory) -> str:
        fields = form.read(AllocationFields)
        await factory.allocations().create(
            visit.caller,
            group=slug,
            resource=fields.resource,
            amount=fields.in_units,
            starts_at=midnight(fields.first),
            ends_at=after(fields.last),
            policy=fields.policy,
            reason=fields.reason,
        )
        return f"{slug} was given {fields.spoken}."

    return await _changed(visit, slug, form, "allocation", change)


@router.post("/allocations/{allocation_id}/adjustments")
async def adjust(
    slug: Slug, allocation_id: SmallIdPath, visit: Visitor, form: Submitted
) -> Response:
    """Change an allocation's amount, end or policy, with a reason that stays."""

    async def change(factory: Factory) -> str:
        fields = form.read(AdjustmentFields)
        found = await factory.allocations().show(visit.caller, allocation_id)
        _, times = unit_of(found.resource)
        await factory.allocations().change(
            visit.caller,
            allocation_id,
            fields.reason,
            amount=None if fields.amount is None else fields.amount * times,
            ends_at=None if fields.last is None else after(fields.last),
            policy=fields.policy if fields.other_policy else None,
        )
        return "The allocation was changed."

    return await _changed(visit, slug, form, f"change-{allocation_id}", change)


@router.post("/series")
async def add_series(slug: Slug, visit: Visitor, form: Submitted) -> Response:
    """Grant something anew for every period."""

    async def change(factory: Factory) -> str:
        fields = form.read(SeriesFields)
        await factory.series().add(
            visit.caller,
            group=slug,
            resource=fields.resource,
            amount=fields.in_units,
            every=fields.every,
            first=None if fields.first is None else midnight(fields.first),
            until=None if fields.until is None else after(fields.until),
            carry_over_percent=fields.carry_over_percent,
            policy=fields.policy,
            reason=fields.reason,
        )
        return f"{slug} is given {fields.spoken} every {EVERY[fields.every]}."

    return await _changed(visit, slug, form, "series", change)


@router.post("/series/{series_id}/end")
async def end_series(
    slug: Slug, series_id: SmallIdPath, visit: Visitor, form: Submitted
) -> Response:
    """Let no further period of a series begin."""

    async def change(factory: Factory) -> str:
        await factory.series().end(visit.caller, series_id, form.read(ReasonFields).reason)
        return "No further period of the series begins."

    return await _changed(visit, slug, form, f"series-{series_id}", change)


@router.post("/cores")
async def limit_cores(slug: Slug, visit: Visitor, form: Submitted) -> Response:
    """Let the group run so many cores at once."""
    return await _changed(visit, slug, form, "cores", partial(set_core_limit, visit, form, slug))
