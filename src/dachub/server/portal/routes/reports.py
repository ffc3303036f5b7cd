"""*Administration, Reports*: the page for the funder, and what was exported."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query, Response
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse

from dachub.reports.services import page
from dachub.reports.services.periods import Stretch, quarter, quarter_of
from dachub.server.dependencies import Services
from dachub.server.portal.pages import HEADERS, Visitor

router = APIRouter(prefix="/admin", include_in_schema=False)

QUARTERS = 8
MOST_EXPORTS = 50
Quarter = Annotated[str, Query(alias="quarter", max_length=20)]


def _recent(this: Stretch) -> list[Stretch]:
    found = [this]
    while len(found) < QUARTERS:
        found.append(found[-1].before())
    return found


@router.get("/reports")
async def reports(visit: Visitor, factory: Services) -> Response:
    """List quarters to report on, and exports."""
    visit.caller.require_administrator()
    this = quarter_of(visit.now)
    exports = factory.exports()
    return visit.page(
        "reports.html",
        quarters=_recent(this),
        runs=await exports.list(visit.caller, limit=MOST_EXPORTS),
        differences=await exports.differences(
            visit.caller, visit.now - timedelta(days=365), visit.now + timedelta(seconds=1)
        ),
    )


@router.get("/report")
async def report(visit: Visitor, factory: Services, quarter_name: Quarter = "") -> Response:
    """Show the funder's report of a quarter: a page of its own, to be printed or saved."""
    visit.caller.require_administrator()
    chosen = quarter(quarter_name) if quarter_name else quarter_of(visit.now).before()
    figures = await factory.funder_reports().report(visit.caller, chosen)
    return HTMLResponse(await run_in_threadpool(page.render, figures), headers=HEADERS)
