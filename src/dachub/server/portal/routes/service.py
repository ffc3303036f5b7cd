"""*Administration, Usage*: what the whole service was used for, by whatever one asks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response

from dachub.model.usage import UsageDimension, UsageReport, UsageRow
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.choices import Chosen, ChosenPeriod, ChosenTheme
from dachub.server.portal.downloads import Format, download
from dachub.server.portal.pages import BASE, Visit, Visitor, json_response
from dachub.server.portal.periods import CHOICES
from dachub.server.portal.plots import hours_stacked, layer_colours
from dachub.server.portal.records import (
    SESSION_COLUMNS,
    session_batches,
    usage_batches,
    usage_columns,
)
from dachub.server.portal.stacks import SHARE_COLUMNS, column_of, shares, stack
from dachub.server.portal.tables import AskedSort, sorted_rows

router = APIRouter(prefix="/admin", include_in_schema=False)

MOST_DAYS = 100
"""Beyond, plot and table are by month: by day and person the report of a year would be long."""

By = Literal["group", "user", "institution", "size", "environment", "kind"]


@dataclass(frozen=True, slots=True)
class Aspect:
    """What usage is summed by."""

    title: str
    name: Callable[[UsageRow], str]
    address: str = ""

    def href(self, row: UsageRow) -> str:
        """The page about what the row is about, if there is one."""
        return f"{BASE}{self.address}{self.name(row)}" if self.address else ""


ASPECTS: dict[By, Aspect] = {
    "group": Aspect("Group", lambda row: row.group or "", "groups/"),
    "user": Aspect("Person", lambda row: row.username or "", "admin/people/"),
    "institution": Aspect("Institution", lambda row: row.institution or ""),
    "size": Aspect("Size", lambda row: row.size or ""),
    "environment": Aspect("Environment", lambda row: row.environment or ""),
    "kind": Aspect("Kind of work", lambda row: row.kind or ""),
}


async def _report(visit: Visit, factory: Factory, chosen: Chosen, by: By) -> UsageReport:
    visit.caller.require_administrator()
    return await factory.usage().report(
        visit.caller,
        since=chosen.period.since,
        until=chosen.period.until,
        dimensions=[column_of(chosen.period, visit.now, MOST_DAYS), by],
    )


@router.get("/usage")
async def usage(
    visit: Visitor, factory: Services, chosen: ChosenPeriod, by: By = "group",
    search: Annotated[str, Query(max_length=200)] = "", sort: AskedSort = "",
) -> Response:  # fmt: skip
    """Show what the service was used for."""
    aspect = ASPECTS[by]
    report = await _report(visit, factory, chosen, by)
    stacked = stack(report, chosen.period, aspect.name)
    wanted = search.strip().casefold()
    found = [
        share
        for share in shares(report, aspect.name, aspect.href)
        if wanted in share.name.casefold()
    ]
    rows, sorting = sorted_rows(found, sort, SHARE_COLUMNS, "-used")
    return visit.page(
        "service.html",
        chosen=chosen,
        choices=CHOICES,
        by=by,
        aspect=aspect,
        aspects=ASPECTS,
        search=search.strip(),
        report=report,
        stack=stacked,
        colours=layer_colours(len(stacked.layers)),
        rows=rows,
        sorting=sorting,
        status=422 if chosen.error else 200,
    )


@router.get("/plots/usage.json")
async def plot(
    visit: Visitor, factory: Services, chosen: ChosenPeriod, by: By = "group",
    theme: ChosenTheme = "light",
) -> Response:  # fmt: skip
    """Plot of the whole service."""
    report = await _report(visit, factory, chosen, by)
    return json_response(hours_stacked(stack(report, chosen.period, ASPECTS[by].name), theme))


@router.get("/usage.{form}")
async def download_usage(
    form: Format, visit: Visitor, chosen: ChosenPeriod, by: By = "group", daily: bool = False
) -> Response:
    """Usage of the whole service, by day if asked."""
    visit.caller.require_administrator()
    dimensions: list[UsageDimension] = ["day", by] if daily else [by]
    return await download(
        f"usage-by-{'day-and-' if daily else ''}{by}-{chosen.period.name}",
        form,
        usage_columns(dimensions),
        usage_batches(visit, chosen.period, dimensions),
    )


@router.get("/sessions.{form}")
async def download_sessions(form: Format, visit: Visitor, chosen: ChosenPeriod) -> Response:
    """All sessions of a period."""
    visit.caller.require_administrator()
    return await download(
        f"sessions-{chosen.period.name}",
        form,
        SESSION_COLUMNS,
        session_batches(visit, chosen.period),
    )
