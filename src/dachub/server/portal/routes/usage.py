"""*My usage*: what a person used, their sessions, what their groups have left."""

from __future__ import annotations

from uuid import UUID

from fastapi import APIRouter, Response

from dachub.model.usage import UsageDimension, UsageReport
from dachub.server.dependencies import Services
from dachub.server.factory import Factory
from dachub.server.portal.choices import ChosenPeriod, ChosenTheme
from dachub.server.portal.downloads import Format, download
from dachub.server.portal.pages import Visit, Visitor, json_response
from dachub.server.portal.periods import CHOICES, Period
from dachub.server.portal.plots import hours_stacked, layer_colours
from dachub.server.portal.records import (
    SESSION_COLUMNS,
    session_batches,
    usage_batches,
    usage_columns,
)
from dachub.server.portal.routes.sessions import open_sessions
from dachub.server.portal.stacks import Stack, column_of, stack

router = APIRouter(include_in_schema=False)

SESSIONS_PER_PAGE = 25


@router.get("/")
async def my_usage(
    visit: Visitor, factory: Services, chosen: ChosenPeriod, before: UUID | None = None
) -> Response:
    """Show the caller's own usage."""
    me = visit.caller.name
    period = chosen.period
    report = await _my_report(visit, factory, period)
    stacked = _stack(report, period)
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
        stack=stacked,
        colours=layer_colours(len(stacked.layers)),
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
        dimensions=[column_of(period, visit.now), "group"],
        username=visit.caller.name,
    )


def _stack(report: UsageReport, period: Period) -> Stack:
    return stack(report, period, lambda row: row.group or "")


@router.get("/plots/days.json")
async def my_days(
    visit: Visitor, factory: Services, chosen: ChosenPeriod, theme: ChosenTheme = "light"
) -> Response:
    """Plot of the caller's core-hours by day and group."""
    report = await _my_report(visit, factory, chosen.period)
    return json_response(hours_stacked(_stack(report, chosen.period), theme))


@router.get("/usage.{form}")
async def download_usage(form: Format, visit: Visitor, chosen: ChosenPeriod) -> Response:
    """The caller's own usage by day and group."""
    dimensions: list[UsageDimension] = ["day", "group"]
    return await download(
        f"my-usage-{chosen.period.name}",
        form,
        usage_columns(dimensions),
        usage_batches(visit, chosen.period, dimensions, username=visit.caller.name),
    )


@router.get("/sessions.{form}")
async def download_sessions(form: Format, visit: Visitor, chosen: ChosenPeriod) -> Response:
    """The caller's own sessions."""
    return await download(
        f"my-sessions-{chosen.period.name}",
        form,
        SESSION_COLUMNS,
        session_batches(visit, chosen.period, username=visit.caller.name),
    )
