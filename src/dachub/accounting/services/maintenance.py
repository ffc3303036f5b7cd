"""Servers that must end because their machine is taken out of service: told before and after."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from uuid import UUID

from dachub.accounting.services.ledger import Ledger
from dachub.accounting.services.sessions import SessionService
from dachub.directory.models import Principal
from dachub.directory.services import AuditService
from dachub.infra.clock import Clock
from dachub.model.notices import NoticeKind, Severity
from dachub.model.sessions import EndReason, SessionRecord
from dachub.model.units import whole_second
from dachub.notices.services import NoticeService

TOLD_WITHIN = timedelta(days=1)
"""What ended longer ago is not told any more."""


class MaintenanceService:
    """Has sessions stopped at a moment with a notice to their owners, and takes that back."""

    def __init__(
        self,
        ledger: Ledger,
        sessions: SessionService,
        notices: NoticeService,
        audit: AuditService,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._notices = notices
        self._audit = audit
        self._clock = clock

    async def announce(
        self, by: Principal, session_ids: Collection[UUID], at: datetime, because: str = ""
    ) -> Sequence[SessionRecord]:
        """Have sessions stopped at ``at``; each owner is told once, and anew of another time.

        What stops a session earlier for another reason does so; if it is lifted, this holds.

        Returns
        -------
        sequence of SessionRecord
            Those that have not ended: what is not among them has, or is not in the ledger yet.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers.
        """
        at = whole_second(at)
        for session in await self._open(by, session_ids):
            if session.maintenance_at == at:
                continue
            await self._sessions.schedule_maintenance(session.session_id, at)
            why = f": {because.strip().rstrip('.')}" if because.strip() else ""
            await self._tell(
                session,
                # A time that was taken back and set again is news, too.
                f"maintenance/{session.session_id}/{at}/{self._clock.now()}",
                Severity.URGENT,
                f"will be stopped on {at:%-d %B at %H:%M} UTC",
                f"The machine that it runs on is taken out of service then{why}. Save your work; "
                "your files stay as they are. You may stop it yourself before and start it again: "
                "it gets another machine.",
            )
            await self._audit.record(
                by,
                "maintenance-announced",
                username=session.username,
                group=session.group,
                session_id=str(session.session_id),
                at=at.isoformat(),
                because=because,
            )
        return await self._open(by, session_ids)

    async def withdraw(
        self, by: Principal, session_ids: Collection[UUID]
    ) -> Sequence[SessionRecord]:
        """Let sessions go on that were to be stopped for maintenance; their owners are told.

        Returns
        -------
        sequence of SessionRecord
            Those that were to be stopped for it.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers.
        """
        spared = [
            session
            for session in await self._open(by, session_ids)
            if session.maintenance_at is not None
        ]
        for session in spared:
            await self._sessions.schedule_maintenance(session.session_id, None)
            await self._tell(
                session,
                f"maintenance-withdrawn/{session.session_id}/{self._clock.now()}",
                Severity.INFO,
                _what_follows(session),
                "The machine that it runs on stays in service; the notice is withdrawn.",
            )
            await self._audit.record(
                by,
                "maintenance-withdrawn",
                username=session.username,
                group=session.group,
                session_id=str(session.session_id),
            )
        return await self._sessions.known(by, [session.session_id for session in spared])

    async def tell_stopped(self) -> int:
        """Tell each person once of each server that was stopped for maintenance; how many."""
        count = 0
        since = self._clock.now() - TOLD_WITHIN
        for session in await self._sessions.stopped(EndReason.MAINTENANCE, since):
            told = await self._tell(
                session,
                f"maintenance-stopped/{session.session_id}",
                Severity.WARNING,
                f"was stopped at {session.ended_at:%H:%M} UTC",
                "The machine that it ran on was taken out of service. Your files are as they were; "
                "what was not saved is gone. A new server starts on another machine.",
            )
            count += len(told)
        return count

    async def _open(self, by: Principal, session_ids: Collection[UUID]) -> Sequence[SessionRecord]:
        by.require_administrator()
        await self._ledger.lock()  # several sessions are changed
        known = await self._sessions.known(by, session_ids)
        return [session for session in known if session.state != "ended"]

    async def _tell(
        self, session: SessionRecord, key: str, severity: Severity, what: str, text: str
    ) -> Sequence[str]:
        return await self._notices.give(
            [session.username],
            key=key,
            kind=NoticeKind.MAINTENANCE,
            severity=severity,
            title=f"Your server '{session.server_name or 'default'}' {what}",
            text=text,
            group=session.group,
            path=f"sessions/{session.session_id}",
        )


def _what_follows(session: SessionRecord) -> str:
    """What happens to a session whose machine stays."""
    if session.stop_due_at is None or session.stop_due_reason == EndReason.MAINTENANCE:
        return "goes on"
    return f"keeps its machine, but will be stopped on {session.stop_due_at:%-d %B at %H:%M} UTC"
