"""The funder's report and the list of exports, for administrators."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import AwareDatetime

from dachub.model.exports import ExportDifference, ExportFormat, ExportRun
from dachub.model.reports import FunderReport
from dachub.reports.services.periods import quarter
from dachub.server.api.parameters import errors
from dachub.server.dependencies import Caller, Services

router = APIRouter(tags=["reports"])


@router.get("/reports/{quarter_name}", responses=errors())
async def report(caller: Caller, services: Services, quarter_name: str) -> FunderReport:
    """Tell the figures of the funder's report of a quarter, such as ``2026Q4``."""
    return await services.funder_reports().report(caller, quarter(quarter_name))


@router.get("/exports", responses=errors())
async def exports(
    caller: Caller,
    services: Services,
    export_format: Annotated[ExportFormat | None, Query(alias="format")] = None,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> Sequence[ExportRun]:
    """List what was exported, newest first."""
    return await services.exports().list(caller, export_format=export_format, limit=limit)


@router.get("/exports/differences", responses=errors())
async def differences(
    caller: Caller, services: Services, since: AwareDatetime, until: AwareDatetime
) -> Sequence[ExportDifference]:
    """List jobs sent to Open XDMoD for [since, until) that the ledger knows otherwise by now."""
    return await services.exports().differences(caller, since, until)
