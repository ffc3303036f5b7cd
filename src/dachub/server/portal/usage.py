"""*My usage*: what a person used, their sessions, what their groups have left."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from dachub.directory.models import Principal
from dachub.model.sessions import SessionRecord
from dachub.model.usage import Usage, UsageReport
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.choices import ChosenPeriod, ChosenTheme
from dachub.server.portal.forms import Submitted
from dachub.server.portal.pages import BASE, Visit, Visitor, json_response
from dachub.server.portal.periods import CHOICES, Period
from dachub.server.portal.plots import Theme, hours_by_day
from dachub.server.stopping import request_stop

router = APIRouter(include_in_schema=False)

SESSIONS_PER_PAGE = 25
MOST_OPEN = 1000


def day_rows(report: UsageReport) -> list[tuple[str, str, Usage]]:
    """Rows of a table by day, newest first."""
    rows = [(row.day.isoformat(), "", row) for row in report.rows if row.day is not None]
    return sorted(rows, key=lambda row: row[0], reverse=True)


def day_plot(report: UsageReport, period: Period, theme: Theme) -> Response:
    """Plot by day; days without use are shown as such."""
    used = {row.day: row.core_hours for row in report.rows}
    days = period.days(report.counted_to) or [period.first]
    return json_response(hours_by_day(days, [used.get(day, 0.0) for day in days], theme))


async def open_sessions(
    factory: Factory, by: Principal, *, username: str | None = None
) -> list[SessionRecord]:
    """Sessions that run or start."""
    sessions = factory.sessions()
    return [
        *await sessions.list(by, username=username, state="requested", limit=MOST_OPEN),
        *await sessions.list(by, username=username, state="running", limit=MOST_OPEN),
    ]


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


@router.get("/sessions/{session_id}/stop")
async def confirm_stop(session_id: UUID, visit: Visitor, factory: Services) -> Response:
    """Ask whether a server really shall stop."""
    session = await factory.sessions().stoppable(visit.caller, session_id)
    if session.state == "ended":
        return visit.redirect(_list_path(visit, session), "That server has ended already.")
    return visit.page("stop.html", session=session, back=BASE + _list_path(visit, session))


@router.post("/sessions/{session_id}/stop")
async def stop(session_id: UUID, visit: Visitor, _: Submitted) -> Response:
    """Stop a server through the hub."""
    async with visit.process.factory() as factory:
        stopping = await request_stop(factory, visit.caller, session_id)
        session = await factory.sessions().show(visit.caller, session_id)
    visit.process.nudge("stops")
    return visit.redirect(
        _list_path(visit, session),
        "The server is being stopped; this takes a few seconds."
        if stopping
        else "That server has ended already.",
    )


def _list_path(visit: Visit, session: SessionRecord) -> str:
    return "" if session.username == visit.caller.name else "admin/servers"
