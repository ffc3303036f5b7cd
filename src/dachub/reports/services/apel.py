"""Sessions as APEL's cloud records: how far each had come at the end of each month, and its end.

A record says what a session had used since its start; the server charges a month the difference
to the month before, and a later record for the same month replaces the one it has. So whatever is
known better by now is simply sent again, for the months that were sent.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from uuid import UUID

from dachub.accounting.models import ChargedSession
from dachub.accounting.services import SessionService
from dachub.directory.models import Principal
from dachub.infra.clock import Clock
from dachub.model.exports import ExportFormat
from dachub.model.units import MILLI_CORES_PER_CORE, midnight
from dachub.reports.formats.apel import cloud_record, messages
from dachub.reports.models import COMPLETED, STARTED, Draft, Item, Piece, digest
from dachub.reports.services.charged import SECOND, Charged
from dachub.reports.settings import ReportSettings
from dachub.reports.store.exports import ExportStore

FORMAT = ExportFormat.APEL_CLOUD
LOOK_BACK = timedelta(days=92)
"""How far before the period it looks for sessions that changed since they were sent."""
Known = Mapping[date, Item]
"""What was last sent of a session, by the first day of its month."""


class ApelCloud:
    """Makes the messages of a period."""

    def __init__(
        self, store: ExportStore, sessions: SessionService, clock: Clock, settings: ReportSettings
    ) -> None:
        self._store = store
        self._sessions = sessions
        self._clock = clock
        self._settings = settings

    async def pieces(self, by: Principal, draft: Draft, name: str) -> AsyncIterator[Piece]:
        """What is to be sent for the period of ``draft``.

        Raises
        ------
        PermissionDenied, InvalidPeriod
        ExportDisagrees, InvalidRecord
            If the ledger contradicts itself, or a record would not be read as it is meant.
        """
        items: list[Item] = []
        number = 0
        async for content in messages(self._records(by, draft, items)):
            number += 1
            yield Piece(f"{name}-{number:04}", content, items.copy())
            items.clear()
        if draft.not_final:
            draft.notes.append(
                f"{draft.not_final} sessions ended less than "
                f"{self._settings.final_after_seconds / 3600:g} hours ago and may still change; "
                "export the same period again later."
            )
        if draft.sent_before:
            draft.notes.append(
                f"{draft.sent_before} records replace ones that were sent before: what is known "
                "of their sessions has changed."
            )

    async def _records(self, by: Principal, draft: Draft, items: list[Item]) -> AsyncIterator[str]:
        """The records, counted in ``draft`` and noted in ``items``; not yet checked."""
        since, until = draft.since, draft.until
        final = self._clock.now() - timedelta(seconds=self._settings.final_after_seconds)
        async for session, charged, known in self._candidates(by, since, until, final):
            if charged.ended_at is not None and final < charged.ended_at <= until:
                draft.not_final += 1
            sent = list(due(session.session_id, charged, known, since, min(until, final)))
            _count(draft, known, sent)
            for item in sent:
                text = cloud_record(session, item, self._settings)
                draft.records += 1
                items.append(replace(item, sha256=digest(text.encode())))
                yield text

    async def _candidates(
        self, by: Principal, since: datetime, until: datetime, final: datetime
    ) -> AsyncIterator[tuple[ChargedSession, Charged, Known]]:
        """Sessions of the period, and before them others of which something was sent."""
        months = ((since - LOOK_BACK).date().replace(day=1), until.date())
        async for ids in self._store.sent_ids(FORMAT, *months):
            async for session, charged, known in self._known(by, ids, final):
                if not _overlaps(session, since, until):
                    yield session, charged, known
        async for ids in self._sessions.overlapping(by, since, until):
            async for found in self._known(by, ids, final):
                yield found

    async def _known(
        self, by: Principal, ids: Sequence[UUID], final: datetime
    ) -> AsyncIterator[tuple[ChargedSession, Charged, Known]]:
        """Sessions with what they are charged, and what was sent of them."""
        sent = await self._store.sent(FORMAT, ids)
        for session in await self._sessions.charged(by, ids):
            yield session, Charged(session.segments, final), sent.get(session.session_id, {})


def _overlaps(session: ChargedSession, since: datetime, until: datetime) -> bool:
    """Whether some of it is charged in [since, until)."""
    return any(
        one.started_at < until
        and (one.ended_at is None or max(since, one.started_at) < one.ended_at)
        for one in session.segments
    )


def due(
    session_id: UUID, charged: Charged, known: Known, since: datetime, until: datetime
) -> Iterator[Item]:
    """Records of a session that are to be sent for [since, until): new ones, and changed ones.

    With a session go all its earlier months that were never sent: without them the server would
    charge their time to the first month it knows. A month that was sent keeps its status, and
    gets other durations: if the session is void, or over before that month by now, it then counts
    for nothing.
    """
    expected = {item.month: item for item in _expected(session_id, charged, until)}
    wanted = bool(known) or any(item.measured_at > since for item in expected.values())
    for month in sorted(known.keys() | expected.keys()):
        if month in known:
            again = _again(known[month], charged)
            if again != replace(known[month], sha256="", run_id=0):
                yield again
        elif wanted:
            yield expected[month]


def _count(draft: Draft, known: Known, items: Sequence[Item]) -> None:
    """Count in ``draft`` what the server's sum will change by: to the latest month's figure."""
    if not items:
        return
    draft.sent_before += sum(item.month in known for item in items)
    sent = {**known, **{item.month: item for item in items}}
    for latest, sign in ((sent, 1), (known, -1)):
        if latest:
            amount = latest[max(latest)].milli_core_seconds
            draft.milli_core_seconds += sign * amount
            whole_seconds = amount // MILLI_CORES_PER_CORE
            draft.exported_milli_core_seconds += sign * whole_seconds * MILLI_CORES_PER_CORE


def _expected(session_id: UUID, charged: Charged, until: datetime) -> Iterator[Item]:
    """What should be sent of a session by ``until``."""
    if not charged.seconds:
        return
    ended_at = charged.ended_at
    for month, end in _months(charged.started_at, until):
        if end <= until and (ended_at is None or ended_at >= end):
            yield _item(session_id, charged, month, STARTED, end)
        elif ended_at is not None and ended_at <= until and ended_at < end:
            if ended_at > midnight(month):
                yield _item(session_id, charged, month, COMPLETED, ended_at)
            return


def _item(
    session_id: UUID, charged: Charged, month: date, status: str, measured_at: datetime
) -> Item:
    return Item(
        session_id=session_id,
        month=month,
        status=status,
        started_at=charged.started_at,
        measured_at=measured_at,
        seconds=charged.seconds_before(measured_at),
        milli_core_seconds=charged.milli_core_seconds_before(measured_at),
        sha256="",
    )


def _again(before: Item, charged: Charged) -> Item:
    """What a record that was sent should say by now; its moment stays in its month."""
    end = _next_month(before.month)
    measured_at = before.measured_at
    if before.status == COMPLETED and charged.until > midnight(before.month):
        measured_at = min(charged.until, end - SECOND)
    return replace(
        before,
        started_at=charged.started_at,
        measured_at=measured_at,
        seconds=charged.seconds_before(end),
        milli_core_seconds=charged.milli_core_seconds_before(end),
        sha256="",
        run_id=0,
    )


def _months(since: datetime, until: datetime) -> Iterator[tuple[date, datetime]]:
    """First day and end of each month that has a part in [since, until)."""
    month = since.date().replace(day=1)
    while midnight(month) < until:
        end = _next_month(month)
        yield month, end
        month = end.date()


def _next_month(month: date) -> datetime:
    return midnight((month + timedelta(days=32)).replace(day=1))
