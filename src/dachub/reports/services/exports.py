"""Exports: recorded before they are written, and what became of what was sent.

Prepared in one transaction (all checked, recorded and kept), then written, then noted as done. Who
is killed in between repeats the command: it finds what was prepared and writes the same bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from dachub.accounting.models import Segment
from dachub.accounting.services import SessionService
from dachub.accounting.services.usage import period
from dachub.directory.models import Principal
from dachub.directory.services import AuditService
from dachub.infra.clock import Clock
from dachub.model.exports import ExportDifference, ExportFormat, ExportOutcome, ExportRun
from dachub.model.sessions import SessionRecord
from dachub.reports.models import Draft, DraftFile, ExportUnfinished, Item
from dachub.reports.services.apel import ApelCloud
from dachub.reports.services.charged import Charged
from dachub.reports.services.names import XdmodNames
from dachub.reports.services.storage import StorageExports
from dachub.reports.services.xdmod import XdmodJobs
from dachub.reports.store.exports import ExportStore

RUNS_MAX = 1000
ENDINGS = {
    ExportFormat.XDMOD_JOBS: ".log",
    ExportFormat.XDMOD_STORAGE: ".json",
    ExportFormat.XDMOD_NAMES: ".csv",
    ExportFormat.XDMOD_HIERARCHY: ".csv",
    ExportFormat.APEL_STORAGE: ".xml",
}


@dataclass(frozen=True, slots=True)
class Output:
    """Where the files go; without a name they are called after their content."""

    directory: Path
    name: str | None = None


class ExportService:
    """Prepares exports, notes them as done, and tells what was sent."""

    def __init__(
        self,
        store: ExportStore,
        jobs: XdmodJobs,
        cloud: ApelCloud,
        names: XdmodNames,
        storage: StorageExports,
        sessions: SessionService,
        audit: AuditService,
        clock: Clock,
    ) -> None:
        self._store = store
        self._jobs = jobs
        self._cloud = cloud
        self._names = names
        self._storage = storage
        self._sessions = sessions
        self._audit = audit
        self._clock = clock

    async def prepare(
        self,
        by: Principal,
        export_format: ExportFormat,
        output: Output,
        since: datetime | None = None,
        until: datetime | None = None,
    ) -> ExportOutcome:
        """Record what is to be written for [since, until), or find what was not finished.

        Parameters
        ----------
        since, until
            Tables of names have no period: they are as of now.

        Raises
        ------
        PermissionDenied, InvalidPeriod
        ExportUnfinished
            If another period of this format was prepared, but not finished.
        ExportDisagrees, InvalidRecord
            If the ledger contradicts itself, or a record would not be read as it is meant.
        """
        by.require_administrator()
        now = self._clock.now()
        since, until = (now, now) if since is None or until is None else period(since, until)
        unfinished = await self._store.runs(export_format=export_format, state="prepared")
        if unfinished:
            run = unfinished[0]
            if run.since != run.until and (run.since, run.until) != (since, until):
                raise _unfinished(run)
            name = output.name if len(run.files) == 1 else None
            await self._store.move(run.run_id, str(output.directory), name)
            return ExportOutcome(run=await self._run(run.run_id), finished_earlier_run=True)
        draft = await self._draft(by, export_format, since, until, output.name)
        outcome = ExportOutcome(
            run=None,
            not_final=draft.not_final,
            sent_before=draft.sent_before,
            reconciliation=draft.reconciliation,
            notes=draft.notes,
        )
        if draft.files:
            run_id = await self._store.prepare(draft, str(output.directory), by.name, now)
            outcome.run = await self._run(run_id)
        return outcome

    async def _draft(
        self,
        by: Principal,
        export_format: ExportFormat,
        since: datetime,
        until: datetime,
        name: str | None,
    ) -> Draft:
        days = "" if since == until else f"-{since:%Y%m%dT%H%M}-{until:%Y%m%dT%H%M}"
        stem = name or f"{export_format.value}{days}"
        match export_format:
            case ExportFormat.XDMOD_JOBS:
                draft = await self._jobs.draft(by, since, until, stem)
            case ExportFormat.APEL_CLOUD:
                draft = await self._cloud.draft(by, since, until, stem)
            case ExportFormat.XDMOD_NAMES:
                draft = await self._names.names(by, since, stem)
            case ExportFormat.XDMOD_HIERARCHY:
                draft = await self._names.hierarchy(by, since, stem)
            case ExportFormat.XDMOD_STORAGE:
                draft = await self._storage.xdmod(by, since, until, stem)
            case ExportFormat.APEL_STORAGE:
                draft = await self._storage.star(by, since, until, stem)
        if name is None:
            ending = ENDINGS.get(export_format, "")
            draft.files = [
                replace(file, name=f"{file.name}-{file.sha256[:8]}{ending}") for file in draft.files
            ]
        return draft

    async def contents(self, run_id: int) -> Sequence[DraftFile]:
        """Files of a prepared run, to be written."""
        return await self._store.contents(run_id)

    async def conclude(self, by: Principal, run_id: int) -> ExportRun:
        """Note that the files of a run are where they belong."""
        await self._store.conclude(run_id, self._clock.now())
        run = await self._run(run_id)
        await self._audit.record(
            by,
            "exported",
            format=run.format.value,
            run=run_id,
            since=run.since.isoformat(),
            until=run.until.isoformat(),
            records=run.records,
            directory=run.destination,
        )
        return run

    async def list(
        self, by: Principal, *, export_format: ExportFormat | None = None, limit: int = 100
    ) -> Sequence[ExportRun]:
        """Exports, newest first.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers.
        """
        by.require_administrator()
        return await self._store.runs(
            export_format=export_format, limit=max(1, min(limit, RUNS_MAX))
        )

    async def differences(
        self, by: Principal, since: datetime, until: datetime
    ) -> Sequence[ExportDifference]:
        """Jobs sent to Open XDMoD for [since, until) that the ledger knows otherwise by now.

        Raises
        ------
        PermissionDenied, InvalidPeriod
        """
        by.require_administrator()
        since, until = period(since, until)
        first, last = since.date().replace(day=1), until.date()
        sent = {
            item.session_id: item
            for item in await self._store.sent_in(ExportFormat.XDMOD_JOBS, first, last)
            if since < item.measured_at <= until
        }
        known = {
            session.session_id: session for session in await self._sessions.known(by, sent.keys())
        }
        segments = await self._sessions.segments(by, sent.keys())
        found = [
            _difference(item, known.get(item.session_id), segments.get(item.session_id, ()))
            for item in sent.values()
        ]
        return [difference for difference in found if difference is not None]

    async def _run(self, run_id: int) -> ExportRun:
        return (await self._store.runs(run_id=run_id))[0]


def _unfinished(run: ExportRun) -> ExportUnfinished:
    kind, _, what = run.format.value.partition("-")
    return ExportUnfinished(
        f"Export {run.run_id} was prepared at {run.prepared_at:%Y-%m-%d %H:%M} UTC but not "
        f"finished. Repeat it first: dachub export {kind} {what} --since {run.since:%Y-%m-%dT%H:%M}"
        f" --until {run.until:%Y-%m-%dT%H:%M} --output {run.destination}/"
    )


def _difference(
    item: Item, session: SessionRecord | None, segments: Sequence[Segment]
) -> ExportDifference | None:
    charged = Charged(segments, item.measured_at) if segments else None
    if charged is not None and (charged.started_at, charged.until, charged.milli_core_seconds) == (
        item.started_at,
        item.measured_at,
        item.milli_core_seconds,
    ):
        return None
    if session is None:
        reason = "the ledger does not know it any more"
    elif session.is_void:
        reason = "voided"
    elif session.correction is not None:
        reason = "corrected"
    elif session.ended_at is None:
        reason = "it runs after all"
    else:
        reason = "its end became known exactly"
    if session is not None and session.correction is not None:
        reason += f" by {session.correction.author}: {session.correction.reason}"
    return ExportDifference(
        session_id=item.session_id,
        export_id=session and session.export_id,
        run_id=item.run_id,
        sent_started_at=item.started_at,
        sent_ended_at=item.measured_at,
        sent_milli_core_seconds=item.milli_core_seconds,
        started_at=charged and charged.started_at,
        ended_at=charged and charged.until,
        milli_core_seconds=charged.milli_core_seconds if charged else 0,
        reason=reason,
    )
