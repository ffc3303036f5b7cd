"""*My usage*: what a person used, their sessions, what their groups have left."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from dachub.model.usage import Usage, UsageReport
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.choices import ChosenPeriod, ChosenTheme
from dachub.server.portal.pages import Visit, Visitor, json_response
from dachub.server.portal.periods import CHOICES, Period
from dachub.server.portal.plots import Theme, hours_stacked
from dachub.server.portal.sessions import open_sessions
from dachub.server.portal.stacks import stack

router = APIRouter(include_in_schema=False)

SESSIONS_PER_PAGE = 25


def day_rows(report: UsageReport) -> list[tuple[str, str, Usage]]:
    """Rows of a table by day, newest first."""
    rows = [(row.day.isoformat(), "", row) for row in report.rows if row.day is not None]
    return sorted(rows, key=lambda row: row[0], reverse=True)


def day_plot(report: UsageReport, period: Period, theme: Theme) -> Response:
    """Plot by day, of everything together."""
    return json_response(hours_stacked(stack(report, period, lambda _: "everything"), theme))


@router.get("/")
async def my_usage(
    visit: Visitor, factory: Services, chosen: ChosenPeriod, before: UUID | None = None
) -> Response:
    """Show the caller's own usage."""
    me = visit.caller.name
    period = chosen.period
    report = await _my_report(visit, factory, period)
    ended = await factory.sessions().list(
        visit.caller,
        username=me,
        state="ended",
        since=period.since,
        until=period.until,
        limit=SESSIONS_PER_PAGE + 1,
        before=before,
    )
    options = await factory.quota().start_options(me)
    return visit.page(
        "usage.html",
        chosen=chosen,
        choices=CHOICES,
        report=report,
        rows=day_rows(report),
        running=await open_sessions(factory, visit.caller, username=me),
        sessions=ended[:SESSIONS_PER_PAGE],
        older=ended[SESSIONS_PER_PAGE - 1].session_id if len(ended) > SESSIONS_PER_PAGE else None,
        paged=before is not None,
        balances=options.groups,
        notices=options.notices,
        person=await factory.people().person(me),
        has_password=await factory.accounts().has_account(me),
        status=422 if chosen.error else 200,
    )


async def _my_report(visit: Visit, factory: Factory, period: Period) -> UsageReport:
    return await factory.usage().report(
        visit.caller,
        since=period.since,
        until=period.until,
        dimensions=["day"],
        username=visit.caller.name,
    )


@router.get("/plots/days.json")
async def my_days(
    visit: Visitor, factory: Services, chosen: ChosenPeriod, theme: ChosenTheme = "light"
) -> Response:
    """Plot of the caller's core-hours by day."""
    report = await _my_report(visit, factory, chosen.period)
    return day_plot(report, chosen.period, theme)
