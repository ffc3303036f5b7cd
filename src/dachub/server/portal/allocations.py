"""*Group, Allocations*: what was granted, changed and why; administrators grant and change."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Annotated

from fastapi import APIRouter, Path, Response
from pydantic import Field, model_validator

from dachub.model.problems import DachubError
from dachub.model.units import midnight
from dachub.model.usage import Policy, Resource
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.forms import Fields, Form, Submitted
from dachub.server.portal.frame import Slug, group_frame
from dachub.server.portal.pages import Visit, Visitor

router = APIRouter(prefix="/groups/{slug}/allocations", include_in_schema=False)

Amount = Annotated[Decimal, Field(max_digits=15, decimal_places=3)]


class AllocationFields(Fields):
    """A new allocation of core-hours over whole days."""

    amount: Amount = Field(ge=0)
    first: date
    last: date
    policy: Policy
    reason: str = Field(min_length=1, max_length=500)

    @model_validator(mode="after")
    def _in_order(self) -> AllocationFields:
        if self.last < self.first:
            raise ValueError("The last day lies before the first.")
        return self


class AdjustmentFields(Fields):
    """A change of an allocation's amount, in core-hours; may be negative."""

    amount: Amount
    reason: str = Field(min_length=1, max_length=500)


async def _allocations_page(visit: Visit, factory: Factory, slug: str, form: Form) -> Response:
    return visit.page(
        "group-allocations.html",
        **await group_frame(visit, factory, slug),
        balance=await factory.quota().balance(slug),
        allocations=await factory.allocations().list(visit.caller, group=slug),
        form=form,
        status=form.status,
    )


@router.get("")
async def allocations(slug: Slug, visit: Visitor, factory: Services) -> Response:
    """Show a group's allocations, and how each came to its amount."""
    return await _allocations_page(visit, factory, slug, Form())


@router.post("")
async def add(slug: Slug, visit: Visitor, form: Submitted) -> Response:
    """Give a group core-hours for a stretch of days."""
    try:
        fields = form.read(AllocationFields)
        async with visit.process.factory() as factory:
            await factory.allocations().create(
                visit.caller,
                group=slug,
                resource=Resource.CORE_HOURS,
                amount=fields.amount,
                starts_at=midnight(fields.first),
                ends_at=midnight(fields.last) + timedelta(days=1),
                policy=fields.policy,
                reason=fields.reason,
            )
    except DachubError as error:
        async with visit.process.factory() as factory:
            return await _allocations_page(visit, factory, slug, form.failed("allocation", error))
    return visit.redirect(
        f"groups/{slug}/allocations", f"{slug} was given {fields.amount} core-hours."
    )


@router.post("/{allocation_id}/adjustments")
async def adjust(
    slug: Slug, allocation_id: Annotated[int, Path(ge=1, le=2**31 - 1)],
    visit: Visitor, form: Submitted,
) -> Response:  # fmt: skip
    """Change an allocation's amount, with a reason that stays."""
    try:
        fields = form.read(AdjustmentFields)
        async with visit.process.factory() as factory:
            await factory.allocations().adjust(
                visit.caller, allocation_id, amount=fields.amount, reason=fields.reason
            )
    except DachubError as error:
        async with visit.process.factory() as factory:
            return await _allocations_page(
                visit, factory, slug, form.failed(f"adjust-{allocation_id}", error)
            )
    return visit.redirect(
        f"groups/{slug}/allocations",
        f"The allocation was changed by {fields.amount} core-hours.",
    )
