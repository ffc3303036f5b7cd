"""*Group*: what was used by whom and when, and what is left."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated

from fastapi import APIRouter, Query, Response

from dachub.model.people import Group
from dachub.model.usage import UsageDimension, UsageReport, UsageRow
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.choices import Chosen, ChosenPeriod, ChosenTheme
from dachub.server.portal.downloads import Format, download
from dachub.server.portal.frame import Slug, group_frame
from dachub.server.portal.pages import BASE, Visit, Visitor, json_response
from dachub.server.portal.periods import CHOICES
from dachub.server.portal.plots import hours_stacked, layer_colours
from dachub.server.portal.records import usage_batches, usage_columns
from dachub.server.portal.stacks import SHARE_COLUMNS, column_of, shares, stack
from dachub.server.portal.tables import AskedSort, sorted_rows

router = APIRouter(prefix="/groups", include_in_schema=False)

AUDIT_PER_PAGE = 50


@router.get("")
async def my_groups(visit: Visitor, factory: Services) -> Response:
    """Show the caller's groups."""
    options = await factory.quota().start_options(visit.caller.name)
    return visit.page("groups.html", balances=options.groups, roles=visit.caller.roles)


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
        balance=await factory.quota().balance(slug),
        report=report,
        stack=stacked,
        colours=layer_colours(len(stacked.layers)),
        people=people,
        sorting=sorting,
        status=422 if chosen.error else 200,
    )


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
        visit,
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
