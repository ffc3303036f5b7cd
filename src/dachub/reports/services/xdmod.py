"""Sessions as Open XDMoD's jobs: each once, when it is final."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from dachub.accounting.models import ChargedSession
from dachub.accounting.services import SessionService, UsageService
from dachub.directory.models import Principal
from dachub.infra.clock import Clock
from dachub.model.exports import ExportFormat, ReconciliationLine
from dachub.model.units import MILLI_CORES_PER_CORE
from dachub.reports.formats.slurm import job_line, read_line
from dachub.reports.models import COMPLETED, Draft, ExportDisagrees, Item, Piece, digest
from dachub.reports.services.charged import Charged, month_of
from dachub.reports.settings import ReportSettings
from dachub.reports.store.exports import ExportStore

FORMAT = ExportFormat.XDMOD_JOBS
LOOK_BACK = timedelta(days=92)
"""How far before the period it looks for sessions that were left out when theirs was exported."""


@dataclass(slots=True)
class Sum:
    """Sessions and their time."""

    sessions: int = 0
    milli_core_seconds: int = 0

    def add(self, milli_core_seconds: int) -> None:
        """Count a session, if this is time of it."""
        self.sessions += milli_core_seconds > 0
        self.milli_core_seconds += milli_core_seconds

    def line(self, title: str, sign: int = 1) -> ReconciliationLine:
        """As a step of the reconciliation."""
        return ReconciliationLine(
            title=title,
            sessions=self.sessions,
            milli_core_seconds=sign * self.milli_core_seconds,
        )


@dataclass(slots=True)
class Sums:
    """The time in a period by what becomes of it; ``earlier`` lies before it."""

    inside: Sum = field(default_factory=Sum)
    later: Sum = field(default_factory=Sum)
    not_final: Sum = field(default_factory=Sum)
    before: Sum = field(default_factory=Sum)
    earlier: Sum = field(default_factory=Sum)

    def reconciliation(self, draft: Draft) -> list[ReconciliationLine]:
        """From what was used in the period to what Open XDMoD will count for the file."""
        exact, counted = draft.milli_core_seconds, draft.exported_milli_core_seconds
        return [
            self.inside.line("used in the period, as the portal shows it"),
            self.later.line("of sessions that ended after it, or run on", -1),
            self.not_final.line("of sessions that may still change", -1),
            self.before.line("of sessions that were sent before", -1),
            self.earlier.line("before the period, of sessions that ended in it"),
            ReconciliationLine(
                title="time of the exported sessions",
                sessions=draft.records,
                milli_core_seconds=exact,
            ),
            ReconciliationLine(
                title="added or lost by whole cores", milli_core_seconds=counted - exact
            ),
            ReconciliationLine(
                title="as Open XDMoD will count it",
                sessions=draft.records,
                milli_core_seconds=counted,
            ),
        ]


class XdmodJobs:
    """Makes the file of a period: the jobs whose last second lies in it."""

    def __init__(
        self,
        store: ExportStore,
        sessions: SessionService,
        usage: UsageService,
        clock: Clock,
        settings: ReportSettings,
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._usage = usage
        self._clock = clock
        self._settings = settings

    async def pieces(self, by: Principal, draft: Draft, name: str) -> AsyncIterator[Piece]:
        """What is to be sent for the period of ``draft``, and how it agrees with the ledger.

        Raises
        ------
        PermissionDenied, InvalidPeriod
        ExportDisagrees, InvalidRecord
            If the ledger contradicts itself, or a line would not be read as it is meant.
        """
        since, until = draft.since, draft.until
        used = await self._usage.report(by, since=since, until=until)
        final = self._clock.now() - timedelta(seconds=self._settings.final_after_seconds)
        sums = Sums()
        async for ids in self._sessions.overlapping(by, since, until):
            sent = await self._store.sent_of(FORMAT, ids)
            lines: list[str] = []
            items: list[Item] = []
            for session in await self._sessions.charged(by, ids):
                charged = Charged(session.segments, used.counted_to)
                within = charged.within(since, until)
                sums.inside.add(within)
                if charged.ended_at is None or charged.ended_at > until:
                    sums.later.add(within)
                elif charged.ended_at > final:
                    sums.not_final.add(within)
                elif session.session_id in sent:
                    sums.before.add(within)
                else:
                    sums.earlier.add(charged.milli_core_seconds - within)
                    line = job_line(session, charged.as_one(), self._settings.xdmod_resource)
                    lines.append(f"{line}\n")
                    items.append(_item(draft, session, charged, line))
            if lines:
                yield Piece(name, "".join(lines).encode(), items)
        if sums.inside.milli_core_seconds != used.total.milli_core_seconds:
            raise ExportDisagrees(
                f"The sessions of the period make {sums.inside.milli_core_seconds} milli-core-"
                f"seconds, the daily sums {used.total.milli_core_seconds}. Nothing was written. "
                "See what differs with: dachub usage check"
            )
        draft.not_final, draft.sent_before = sums.not_final.sessions, sums.before.sessions
        draft.reconciliation = sums.reconciliation(draft)
        draft.notes = await self._notes(by, draft, final)

    async def _notes(self, by: Principal, draft: Draft, final: datetime) -> list[str]:
        notes = []
        if draft.not_final:
            notes.append(
                f"{draft.not_final} sessions ended less than "
                f"{self._settings.final_after_seconds / 3600:g} hours ago and may still change; "
                "export the same period again later: only what is missing will be sent."
            )
        missed = await self._missed(by, draft.since, final)
        if missed:
            notes.append(
                f"{missed} sessions that ended in the {LOOK_BACK.days} days before were never "
                "sent. If their period was exported before they were known, export it again: only "
                "what is missing will be sent."
            )
        return notes

    async def _missed(self, by: Principal, since: datetime, final: datetime) -> int:
        first = await self._store.first_since(FORMAT)
        if first is None or first >= since:
            return 0
        earliest, latest = max(first, since - LOOK_BACK), min(since, final)
        missed = 0
        async for ids in self._sessions.overlapping(by, earliest, since):
            sent = await self._store.sent_of(FORMAT, ids)
            unsent = [session_id for session_id in ids if session_id not in sent]
            for session in await self._sessions.charged(by, unsent):
                ended_at = session.segments[-1].ended_at
                missed += ended_at is not None and earliest < ended_at <= latest
        return missed


def _item(draft: Draft, session: ChargedSession, charged: Charged, line: str) -> Item:
    """What a session's line says, checked and counted in ``draft``."""
    job = read_line(line)
    draft.records += 1
    draft.milli_core_seconds += charged.milli_core_seconds
    draft.exported_milli_core_seconds += job.core_seconds * MILLI_CORES_PER_CORE
    return Item(
        session_id=session.session_id,
        month=month_of(charged.until),
        status=COMPLETED,
        started_at=charged.started_at,
        measured_at=charged.until,
        seconds=job.seconds,
        milli_core_seconds=charged.milli_core_seconds,
        sha256=digest(line.encode()),
    )
