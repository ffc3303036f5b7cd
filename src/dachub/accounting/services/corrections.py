"""Corrections of what sessions are charged: by administrators, by appending, with a reason.

What was reported stays as it is, and later events go on being merged into it; what is charged
follows the latest correction, and usage with it, in the transaction that appends it.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from dachub.accounting.models import (
    CorrectionChangesNothing,
    Entry,
    InvalidPeriod,
    SessionNotStarted,
    SessionRunning,
)
from dachub.accounting.services.ledger import Ledger
from dachub.accounting.services.sessions import SessionService
from dachub.accounting.store.corrections import CorrectionStore
from dachub.directory.models import Principal
from dachub.directory.services import AuditService
from dachub.directory.services.text import given_reason
from dachub.infra.clock import Clock
from dachub.model.problems import InvalidInput, NotFound
from dachub.model.sessions import Correction, CorrectionAction, SessionRecord
from dachub.model.units import whole_second

_DONE = {
    CorrectionAction.VOID: "session-voided",
    CorrectionAction.AMEND: "session-amended",
    CorrectionAction.RESTORE: "session-restored",
}


class CorrectionService:
    """Voids, amends and restores sessions."""

    def __init__(
        self,
        ledger: Ledger,
        sessions: SessionService,
        store: CorrectionStore,
        audit: AuditService,
        clock: Clock,
    ) -> None:
        self._ledger = ledger
        self._sessions = sessions
        self._store = store
        self._audit = audit
        self._clock = clock

    async def void(self, by: Principal, session_id: UUID, reason: str) -> SessionRecord:
        """Charge nothing for a session; one that runs is charged nothing to its end.

        Raises
        ------
        PermissionDenied, NotFound, InvalidInput
        SessionNotStarted
            If nothing is charged for it yet.
        SessionChangedSize, CorrectionChangesNothing
        """
        return await self.correct(by, session_id, CorrectionAction.VOID, reason)

    async def amend(
        self,
        by: Principal,
        session_id: UUID,
        reason: str,
        *,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
    ) -> SessionRecord:
        """Charge a session from another start, to another end, or both.

        What is not given is as it was reported, whatever corrections said before.

        Raises
        ------
        PermissionDenied, NotFound, InvalidInput
        InvalidPeriod
            If it would end before it starts, start before it was requested, or lie in the future.
        SessionNotStarted
            If nothing is charged for it yet.
        SessionRunning
            If an end is given and it has none.
        SessionChangedSize, CorrectionChangesNothing
        """
        return await self.correct(
            by,
            session_id,
            CorrectionAction.AMEND,
            reason,
            started_at=started_at,
            ended_at=ended_at,
        )

    async def restore(self, by: Principal, session_id: UUID, reason: str) -> SessionRecord:
        """Charge a session as it was reported, also by events since the corrections.

        Raises
        ------
        PermissionDenied, NotFound, InvalidInput
        CorrectionChangesNothing
            If no correction holds.
        """
        return await self.correct(by, session_id, CorrectionAction.RESTORE, reason)

    async def history(self, by: Principal, session_id: UUID) -> Sequence[Correction]:
        """Corrections of a session, the oldest first, for those who may see it.

        Raises
        ------
        NotFound
        """
        await self._sessions.show(by, session_id)
        return await self._store.of(session_id)

    async def correct(
        self,
        by: Principal,
        session_id: UUID,
        action: CorrectionAction,
        reason: str,
        *,
        started_at: datetime | None = None,
        ended_at: datetime | None = None,
    ) -> SessionRecord:
        """Append a correction, whichever: see :meth:`void`, :meth:`amend`, :meth:`restore`."""
        by.require_administrator()
        if (action is CorrectionAction.AMEND) is (started_at is None and ended_at is None):
            raise InvalidInput("To amend give the start, the end or both; else neither.")
        correction = Correction(
            action=action,
            started_at=_moment(started_at),
            ended_at=_moment(ended_at),
            reason=given_reason(reason, "Give the reason: it stands beside the session for ever."),
            author=by.name,
            at=self._clock.now(),
        )
        entry = await self._ledger.entry(session_id)
        if entry is None:
            raise NotFound(f"There is no session {session_id}.")
        _require_sense(entry, correction)
        before = await self._sessions.show(by, session_id)
        await self._ledger.correct(entry, correction)
        after = await self._sessions.show(by, session_id)
        await self._audit.record(
            by,
            _DONE[action],
            username=after.username,
            group=after.group,
            session_id=str(session_id),
            started_at=correction.started_at and correction.started_at.isoformat(),
            ended_at=correction.ended_at and correction.ended_at.isoformat(),
            core_seconds_before=before.core_seconds,
            core_seconds_after=after.core_seconds,
            reason=correction.reason,
        )
        return after


def _require_sense(entry: Entry, correction: Correction) -> None:
    """Raise unless the correction can hold for the session, and changes what holds."""
    if entry.life.start is None:
        raise SessionNotStarted("This session never started, so nothing is charged for it.")
    if _saying(correction) == _saying(entry.correction):
        raise CorrectionChangesNothing(
            "That is what is charged already; see the session's corrections."
        )
    if correction.action is not CorrectionAction.AMEND:
        return
    if correction.ended_at is not None and entry.life.end is None:
        raise SessionRunning(
            "This session has not ended, so its end cannot be amended. Stop it first."
        )
    since = correction.started_at or entry.life.start.at
    until = correction.ended_at or entry.life.ended_at or correction.at
    if not entry.description.requested_at <= since <= until <= correction.at:
        raise InvalidPeriod(
            "A session starts after it was requested "
            f"({entry.description.requested_at.isoformat()}), ends after it started, and not in "
            f"the future; asked for was {since.isoformat()} to {until.isoformat()}."
        )


def _saying(
    correction: Correction | None,
) -> tuple[CorrectionAction, datetime | None, datetime | None]:
    """What a correction says; without one a session is charged as reported."""
    if correction is None:
        return CorrectionAction.RESTORE, None, None
    return correction.action, correction.started_at, correction.ended_at


def _moment(moment: datetime | None) -> datetime | None:
    try:
        return None if moment is None else whole_second(moment)
    except ValueError as error:
        raise InvalidPeriod(f"The time cannot be understood: {error}.") from error
