"""Carries out an export: prepared, written, noted; each step safe to be killed in."""

from __future__ import annotations

from datetime import datetime
from functools import partial
from pathlib import Path

from dachub.directory.models import Principal
from dachub.model.exports import ExportFormat, ExportOutcome
from dachub.reports.models import ExportRunning
from dachub.reports.services import Output
from dachub.reports.services.files import write_files
from dachub.server.factory import Process


async def export(
    process: Process,
    by: Principal,
    export_format: ExportFormat,
    output: Output,
    since: datetime | None = None,
    until: datetime | None = None,
) -> ExportOutcome:
    """Write an export, or finish the one that was prepared; one at a time.

    Raises
    ------
    ExportRunning
        If another one runs.
    OutputExists, OutputFailed
        If it cannot be written: it stays prepared, and the same command finishes it.
    ExportUnfinished, ExportDisagrees, InvalidRecord, InvalidPeriod, PermissionDenied
        See :meth:`dachub.reports.services.ExportService.prepare`.
    """
    async with process.alone("export") as alone:
        if not alone:
            raise ExportRunning("Another export runs at this moment; repeat this when it is done.")
        async with process.factory(snapshot=True) as services:
            outcome = await services.exports().prepare(by, export_format, output, since, until)
        run = outcome.run
        if run is not None:
            async with process.factory() as services:
                exports = services.exports()
                content = partial(exports.content, run.run_id)
                await write_files(Path(run.destination), run.files, content)
                outcome.run = await exports.conclude(by, run.run_id)
    return outcome
