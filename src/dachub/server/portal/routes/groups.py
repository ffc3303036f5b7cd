"""*Group*: what was used by whom and when, and what is left."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Annotated

from fastapi import APIRouter, Query, Response
from pydantic import Field

from dachub.model.people import Group, Role
from dachub.model.requests import RequestState
from dachub.model.storage import StorageArea
from dachub.model.usage import (
    GroupBalance,
    QuotaState,
    UsageDimension,
    UsageReport,
    UsageRow,
)
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.choices import Chosen, ChosenPeriod, ChosenTheme
from dachub.server.portal.downloads import Format, download
from dachub.server.portal.forms import Fields, Form, Submitted, answered, changed
from dachub.server.portal.frame import Slug, group_frame
from dachub.server.portal.pages import BASE, Visit, Visitor, json_response
from dachub.server.portal.periods import CHOICES
from dachub.server.portal.plots import hours_stacked, layer_colours
from dachub.server.portal.records import usage_batches, usage_columns
from dachub.server.portal.stacks import SHARE_COLUMNS, column_of, shares, stack
from dachub.server.portal.tables import AskedSort, sorted_rows

router = APIRouter(prefix="/groups", include_in_schema=False)

AUDIT_PER_PAGE = 50


class DescriptionFields(Fields):
    """What a group is called, and what it is about."""

    title: str = Field(min_length=1, max_length=200)
    description: str = Field(default="", max_length=4000)


@router.get("")
async def my_groups(visit: Visitor, factory: Services) -> Response:
    """Show how the caller's groups stand, what presses first."""
    options = await factory.quota().start_options(visit.caller.name)
    return visit.page(
        "groups.html",
        balances=sorted(options.groups, key=_pressing),
        roles=visit.caller.roles,
    )


def _pressing(balance: GroupBalance) -> tuple[int, float, str]:
    """Worse states first, then what is spent sooner."""
    end = balance.projected_exhaustion_at
    return (
        -list(QuotaState).index(balance.state),
        math.inf if end is None else end.timestamp(),
        balance.group,
    )


async def _report(visit: Visit, factory: Factory, slug: str, chosen: Chosen) -> UsageReport:
    """By day (or month) and member for managers of the group, the caller's own for others."""
    return await factory.usage().report(
        visit.caller,
        since=chosen.period.since,
        until=chosen.period.until,
        dimensions=[column_of(chosen.period, visit.now), "user"],
        group=slug,
    )


def _caller_of(group: Group) -> Callable[[UsageRow], str]:
    """How to call the person of a row; also those who have left."""
    names = {member.username: member.full_name for member in group.members}

    def called(row: UsageRow) -> str:
        username = row.username or ""
        return f"{names[username]} ({username})" if names.get(username) else username

    return called


@router.get("/{slug}")
async def show_group(
    slug: Slug, visit: Visitor, factory: Services, chosen: ChosenPeriod, sort: AskedSort = ""
) -> Response:
    """Show what a group used and has left."""
    frame = await group_frame(visit, factory, slug)
    report = await _report(visit, factory, slug, chosen)
    called = _caller_of(frame["group"])
    stacked = stack(report, chosen.period, called)
    people, sorting = sorted_rows(shares(report, called), sort, SHARE_COLUMNS, "-used")
    return visit.page(
        "group-overview.html",
        **frame,
        chosen=chosen,
        choices=CHOICES,
        may_describe=visit.caller.has(slug, Role.PI),
        balances=await factory.quota().balances(slug),
        limits=await factory.quota().members(visit.caller, slug),
        cores=await factory.queue().of_group(visit.caller, slug),
        folder=await factory.storage().of(StorageArea.GROUP, slug),
        requests=await factory.requests().list(visit.caller, group=slug, state=RequestState.OPEN),
        report=report,
        stack=stacked,
        colours=layer_colours(len(stacked.layers)),
        people=people,
        sorting=sorting,
        status=422 if chosen.error else 200,
    )


async def _edit_page(visit: Visit, slug: str, factory: Factory, form: Form) -> Response:
    visit.caller.require(slug, Role.PI)
    frame = await group_frame(visit, factory, slug)
    return visit.page("group-edit.html", **frame, form=form, status=form.status)


@router.get("/{slug}/edit")
async def edit(slug: Slug, visit: Visitor, factory: Services) -> Response:
    """Ask for another title and description."""
    return await _edit_page(visit, slug, factory, Form())


@router.post("/{slug}/edit")
async def describe(slug: Slug, visit: Visitor, form: Submitted) -> Response:
    """Give a group another title and description."""

    async def change(factory: Factory) -> str:
        fields = form.read(DescriptionFields)
        await factory.groups().describe(visit.caller, slug, fields.title, fields.description)
        return "The group's title and description were saved."

    page = partial(_edit_page, visit, slug)
    return await answered(visit, form, "edit", changed(visit, change), page, f"groups/{slug}")


@router.get("/{slug}/plots/days.json")
async def days(
    slug: Slug, visit: Visitor, factory: Services, chosen: ChosenPeriod,
    theme: ChosenTheme = "light",
) -> Response:  # fmt: skip
    """Plot by day and member: of the group for its managers, of the caller's part for members."""
    group = await factory.groups().show(visit.caller, slug)
    report = await _report(visit, factory, slug, chosen)
    stacked = stack(report, chosen.period, _caller_of(group))
    return json_response(hours_stacked(stacked, theme))


@router.get("/{slug}/usage.{form}")
async def download_usage(
    slug: Slug, form: Format, visit: Visitor, chosen: ChosenPeriod
) -> Response:
    """Usage by day and member: of the group for its managers, of the caller's part for members."""
    dimensions: list[UsageDimension] = ["day", "user"]
    return await download(
        f"{slug}-usage-{chosen.period.name}",
        form,
        usage_columns(dimensions),
        usage_batches(visit, chosen.period, dimensions, group=slug),
    )


@router.get("/{slug}/history")
async def history(
    slug: Slug, visit: Visitor, factory: Services, before: Annotated[int | None, Query(ge=1)] = None
) -> Response:
    """Who changed what in the group, for its managers."""
    entries = await factory.audit().list(
        visit.caller, group=slug, before=before, limit=AUDIT_PER_PAGE + 1
    )
    return visit.page(
        "group-history.html",
        **await group_frame(visit, factory, slug),
        past=[
            record
            for record in await factory.groups().history(visit.caller, slug)
            if record.valid_to is not None
        ],
        entries=entries[:AUDIT_PER_PAGE],
        older=entries[AUDIT_PER_PAGE - 1].audit_id if len(entries) > AUDIT_PER_PAGE else None,
        newest=f"{BASE}groups/{slug}/history" if before else "",
    )
