"""Exports: recorded before they are written, and what became of what was sent.

Prepared in one transaction (all checked, recorded and kept), then written, then noted as done. Who
is killed in between repeats the command: it finds what was prepared and writes the same bytes.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from dachub.accounting.services import SessionService
from dachub.accounting.services.usage import period
from dachub.directory.models import Principal
from dachub.directory.services import AuditService
from dachub.infra.clock import Clock
from dachub.model.exports import ExportDifference, ExportFormat, ExportOutcome, ExportRun
from dachub.model.sessions import SessionRecord
from dachub.reports.models import Draft, ExportUnfinished, Item, Piece
from dachub.reports.services.apel import ApelCloud
from dachub.reports.services.charged import Charged
from dachub.reports.services.names import XdmodNames
from dachub.reports.services.recording import Recording
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
            If the ledger contradicts itself, or a record would not be read as it is meant. The
            transaction must be rolled back.
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
        draft = Draft(export_format, since, until)
        recording = Recording(
            self._store,
            draft,
            destination=str(output.directory),
            by=by.name,
            at=now,
            ending=ENDINGS.get(export_format, "") if output.name is None else None,
        )
        async for piece in self._pieces(by, draft, output.name or _stem(draft)):
            await recording.add(piece)
        run_id = await recording.finish()
        return ExportOutcome(
            run=None if run_id is None else await self._run(run_id),
            not_final=draft.not_final,
            sent_before=draft.sent_before,
            reconciliation=draft.reconciliation,
            notes=draft.notes,
        )

    def _pieces(self, by: Principal, draft: Draft, name: str) -> AsyncIterator[Piece]:
        match draft.format:
            case ExportFormat.XDMOD_JOBS:
                return self._jobs.pieces(by, draft, name)
            case ExportFormat.APEL_CLOUD:
                return self._cloud.pieces(by, draft, name)
            case ExportFormat.XDMOD_NAMES:
                return self._names.names(by, draft, name)
            case ExportFormat.XDMOD_HIERARCHY:
                return self._names.hierarchy(by, draft, name)
            case ExportFormat.XDMOD_STORAGE:
                return self._storage.xdmod(by, draft, name)
            case ExportFormat.APEL_STORAGE:
                return self._storage.star(by, draft, name)

    def content(self, run_id: int, name: str) -> AsyncIterator[bytes]:
        """A file of a prepared run, to be written part by part."""
        return self._store.content(run_id, name)

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
        found: list[ExportDifference] = []
        async for items in self._store.sent_in(ExportFormat.XDMOD_JOBS, first, last):
            sent = [item for item in items if since < item.measured_at <= until]
            found += await self._differing(by, sent)
        return found

    async def _differing(self, by: Principal, sent: Sequence[Item]) -> Sequence[ExportDifference]:
        """Those of some jobs that the ledger knows otherwise by now."""
        ledger = {
            session.session_id: session.segments
            for session in await self._sessions.charged(by, [item.session_id for item in sent])
        }
        charged = [
            (item, Charged(ledger[item.session_id], item.measured_at))
            if item.session_id in ledger
            else (item, None)
            for item in sent
        ]
        changed = [
            (item, now) for item, now in charged if now is None or not _is_as_sent(item, now)
        ]
        known = {
            session.session_id: session
            for session in await self._sessions.known(by, [item.session_id for item, _ in changed])
        }
        return [_difference(item, known.get(item.session_id), now) for item, now in changed]

    async def _run(self, run_id: int) -> ExportRun:
        return (await self._store.runs(run_id=run_id))[0]


def _unfinished(run: ExportRun) -> ExportUnfinished:
    kind, _, what = run.format.value.partition("-")
    return ExportUnfinished(
        f"Export {run.run_id} was prepared at {run.prepared_at:%Y-%m-%d %H:%M} UTC but not "
        f"finished. Repeat it first: dachub export {kind} {what} --since {run.since:%Y-%m-%dT%H:%M}"
        f" --until {run.until:%Y-%m-%dT%H:%M} --output {run.destination}/"
    )


def _stem(draft: Draft) -> str:
    """What files are called after, where nobody named them."""
    since, until = draft.since, draft.until
    days = "" if since == until else f"-{since:%Y%m%dT%H%M}-{until:%Y%m%dT%H%M}"
    return f"{draft.format.value}{days}"


def _is_as_sent(item: Item, charged: Charged) -> bool:
    return (charged.started_at, charged.until, charged.milli_core_seconds) == (
        item.started_at,
        item.measured_at,
        item.milli_core_seconds,
    )


def _difference(
    item: Item, session: SessionRecord | None, charged: Charged | None
) -> ExportDifference:
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
