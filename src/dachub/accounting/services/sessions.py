"""Sessions, for those who may see them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from datetime import datetime
from uuid import UUID

from dachub.accounting.models import ChargedSession
from dachub.accounting.services.usage import period, require_may_see
from dachub.accounting.store.sessions import SessionStore, State
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import Clock
from dachub.model.people import Role
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.sessions import EndReason, SessionRecord

LIMIT_MAX = 1000
EVER = datetime.fromisoformat("2000-01-01T00:00:00+00:00")
NEVER = datetime.fromisoformat("2200-01-01T00:00:00+00:00")


class SessionService:
    """Lists sessions; keeps when the platform is to stop them."""

    def __init__(self, store: SessionStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock

    async def list(
        self,
        by: Principal,
        *,
        username: str | None = None,
        group: str | None = None,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        limit: int = 100,
        before: UUID | None = None,
        largest_first: bool = False,
    ) -> list[SessionRecord]:
        """Sessions that overlap [since, until), newest first.

        Parameters
        ----------
        limit
            At most 1000.
        before
            Id of the last session of the page before, to go on from there.
        largest_first
            Those that were charged most first; cannot go on from ``before``.

        Raises
        ------
        PermissionDenied
            Own sessions, those of a group for its managers and PIs, all for administrators.
        InvalidPeriod, InvalidInput
        """
        username = require_may_see(by, username=username, group=group)
        if since is not None or until is not None:
            since, until = period(since or EVER, until or NEVER)
        if any("\0" in text for text in (username, group) if text is not None):
            raise InvalidInput("A name cannot contain the character NUL.")
        return await self._store.records(
            now=self._clock.now(),
            username=username,
            group=group,
            state=state,
            since=since,
            until=until,
            before=before,
            largest_first=largest_first,
            limit=max(1, min(limit, LIMIT_MAX)),
        )

    async def show(self, by: Principal, session_id: UUID) -> SessionRecord:
        """One session, for its owner, its group's managers and PIs, and administrators.

        Raises
        ------
        NotFound
            If there is none, or ``by`` may not know of it.
        """
        found = await self._store.find(session_id, self._clock.now())
        own = found is not None and found.username == by.name
        if (
            found is None
            or by.kind is PrincipalKind.HUB
            or not (own or by.has(found.group, Role.MANAGER))
        ):
            raise NotFound(f"There is no session {session_id} that you may see.")
        return found

    async def stoppable(self, by: Principal, session_id: UUID) -> SessionRecord:
        """A session that ``by`` may stop: the owner in person, or an administrator.

        Raises
        ------
        NotFound, PermissionDenied
        """
        found = await self.show(by, session_id)
        if found.username != by.name and not by.is_administrator:
            raise PermissionDenied("Only its owner or an administrator may stop a session.")
        return found

    async def overlapping(
        self, by: Principal, since: datetime, until: datetime
    ) -> AsyncIterator[Sequence[UUID]]:
        """Ids of sessions with charged time in [since, until), in order; for administrators.

        Some at a time, however many they are.

        Raises
        ------
        PermissionDenied, InvalidPeriod
        """
        by.require_administrator()
        async for session_ids in self._store.overlapping(*period(since, until)):
            yield session_ids

    async def count_overlapping(self, by: Principal, since: datetime, until: datetime) -> int:
        """How many sessions have charged time in [since, until); for administrators.

        Raises
        ------
        PermissionDenied, InvalidPeriod
        """
        by.require_administrator()
        return await self._store.count_overlapping(*period(since, until))

    async def charged(
        self, by: Principal, session_ids: Collection[UUID]
    ) -> Sequence[ChargedSession]:
        """Those of some sessions that started, in the order of their ids; for administrators.

        Raises
        ------
        PermissionDenied
        """
        by.require_administrator()
        return await self._store.charged(session_ids)

    async def known(self, by: Principal, session_ids: Collection[UUID]) -> Sequence[SessionRecord]:
        """Those of some sessions that there are; for administrators.

        Raises
        ------
        PermissionDenied
        """
        by.require_administrator()
        return await self._store.by_ids(session_ids, self._clock.now())

    async def running(self, username: str | None = None) -> Sequence[SessionRecord]:
        """Sessions, all or a person's, that have started and not ended; asks nobody's rights."""
        return await self._store.records(now=self._clock.now(), username=username, state="running")

    async def arrived(self, session_ids: Collection[UUID]) -> frozenset[UUID]:
        """Those of some sessions that the ledger knows of; asks nobody's rights."""
        return await self._store.arrived(session_ids)

    async def open_milli_cores(self) -> Mapping[str, int]:
        """What starts and runs, by group; asks nobody's rights."""
        return await self._store.open_milli_cores()

    async def stopped(self, reason: EndReason, since: datetime) -> Sequence[SessionRecord]:
        """Sessions stopped for a reason that ended after a moment; asks nobody's rights."""
        return await self._store.stopped(reason, since, self._clock.now())

    async def latest(self, username: str) -> SessionRecord | None:
        """The session that a person requested last; asks nobody's rights."""
        found = await self._store.records(now=self._clock.now(), username=username, limit=1)
        return found[0] if found else None

    async def schedule_stop(
        self, session_id: UUID, at: datetime | None, reason: str | None = None
    ) -> None:
        """Have an open session stopped at a moment, with a notice to its owner; ``None`` lifts it.

        Lifted, it is still stopped when its machine is taken out of service.

        Raises
        ------
        NotFound
            If there is no such session, or it has ended.
        """
        if not await self._store.schedule_stop(session_id, at, reason if at else None):
            raise NotFound(f"There is no open session {session_id}.")

    async def schedule_maintenance(self, session_id: UUID, at: datetime | None) -> None:
        """Have an open session stopped as its machine is taken out of service; ``None`` lifts it.

        What stops it earlier holds; once that is lifted, this does.

        Raises
        ------
        NotFound
            If there is no such session, or it has ended.
        """
        if not await self._store.schedule_maintenance(session_id, at):
            raise NotFound(f"There is no open session {session_id}.")

    async def due_for_stop(self, now: datetime) -> Sequence[SessionRecord]:
        """Open sessions that are to be stopped by ``now``."""
        return await self._store.due_for_stop(now)
