"""The queue of servers that wait for cores; it moves whenever a hub asks.

All is decided in one transaction under an advisory lock, so of two who ask at once one sees what
the other was given. What is in use are the open sessions of the ledger, and permits that were
granted and whose session has not arrived there yet. A hub that was killed blocks nobody: what it
waited for is passed over, and what it was granted lapses.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

from dachub.accounting.services import SessionService
from dachub.directory.models import Principal
from dachub.infra.clock import Clock
from dachub.model.people import Role
from dachub.model.queue import (
    CoresInUse,
    CoresReport,
    Place,
    QueueAnswer,
    QueueRequest,
    WaitingStart,
    WaitsFor,
)
from dachub.quota.models import CoreLimits, LargerThanLimit, OwnServersFillLimit, Permit
from dachub.quota.services import wording
from dachub.quota.services.cores import CoreLimitService
from dachub.quota.services.turns import SITE, Turns, group_limit, is_too_large, turns
from dachub.quota.store.queue import QueueStore

ALIVE = timedelta(seconds=30)
"""Whom no hub asked for so long is passed over: several times the hub's pause."""
PLACE_KEPT = timedelta(hours=1)
"""So long a place is there to come back to, also for the person whose hub was killed."""


@dataclass(frozen=True, slots=True)
class _State:
    """All that bears on whose turn it is.

    Attributes
    ----------
    granted
        How many permits ``in_use`` has.
    settled
        Permits that need not be kept.
    """

    waiting: Sequence[Permit]
    in_use: Mapping[str, int]
    granted: int
    settled: Sequence[UUID]


class QueueService:
    """Lets servers start as there are cores for them, the others wait for their turn."""

    def __init__(
        self,
        store: QueueStore,
        limits: CoreLimitService,
        sessions: SessionService,
        clock: Clock,
        contact: str,
        start_timeout_seconds: int,
    ) -> None:
        self._store = store
        self._limits = limits
        self._sessions = sessions
        self._clock = clock
        self._contact = contact
        self._granted_for = timedelta(seconds=start_timeout_seconds)

    async def enter(
        self,
        session_id: UUID,
        *,
        username: str,
        server_name: str,
        group: str,
        milli_cores: int,
        is_rescue: bool,
    ) -> Place | None:
        """Cores for a server that may start otherwise: ``None``, or where it waits for them.

        Asked again, it keeps its place, and what it was granted; so does a person who asks again
        for the same server within an hour of a start that came to nothing. To be the last question
        of a transaction: nobody else gets cores until that ends.

        Raises
        ------
        LargerThanLimit, OwnServersFillLimit
            If no wait would help.
        """
        limits = await self._limits.in_force()
        if limits.site is None and limits.of(group) is None:
            return None
        now = self._clock.now()
        permit = Permit(
            0, session_id, username, server_name, group, milli_cores, is_rescue, now, now
        )
        if is_too_large(permit, limits):
            raise LargerThanLimit(wording.too_large(permit, limits, self._contact))
        await self._store.lock()
        await self._store.enter(permit)
        place = (await self._advance({session_id}, limits)).get(session_id)
        if place is not None:
            await self._require_others(permit, place.waits_for, limits)
        return place

    async def ask(self, request: QueueRequest) -> QueueAnswer:
        """Places of those who go on waiting, after what is free was given out.

        The others were granted what they wait for, are not known (any more), or would wait for
        ever: the hub asks for a decision on them anew.
        """
        await self._store.lock()
        if request.left:
            await self._store.remove(request.left)
        await self._store.seen(request.waiting, self._clock.now())
        limits = await self._limits.in_force()
        return QueueAnswer(places=await self._advance(frozenset(request.waiting), limits))

    async def leave(self, session_id: UUID) -> None:
        """Forget a server that may not start after all."""
        await self._store.remove([session_id])

    async def report(self, by: Principal) -> CoresReport:
        """Cores in use of the site and of groups, and who waits for them.

        Raises
        ------
        PermissionDenied
            Unless ``by`` administers.
        """
        by.require_administrator()
        state, limits = await self._read(), await self._limits.in_force()
        outcome = turns(state.waiting, state.in_use, limits)
        places = _places(outcome, limits)
        return CoresReport(
            site=CoresInUse(
                in_use_milli_cores=sum(state.in_use.values()),
                limit_milli_cores=limits.site,
                waiting=len(outcome.lines.get(SITE, ())),
            ),
            groups=[
                _of_group(group, state, outcome, limits)
                for group in sorted({*state.in_use, *limits.of_groups})
            ],
            queue=[
                WaitingStart(
                    username=permit.username,
                    group=permit.group,
                    milli_cores=permit.milli_cores,
                    asked_at=permit.asked_at,
                    place=places[permit.session_id],
                )
                for permit in state.waiting
                if permit.session_id in places
            ],
            granted=state.granted,
        )

    async def of_group(self, by: Principal, group: str) -> CoresInUse:
        """Cores of a group, for its members.

        Raises
        ------
        PermissionDenied
        """
        by.require(group, Role.MEMBER)
        state, limits = await self._read(), await self._limits.in_force()
        outcome = turns(state.waiting, state.in_use, limits)
        return _of_group(group, state, outcome, limits)

    async def _advance(self, asked: Set[UUID], limits: CoreLimits) -> dict[UUID, Place]:
        """Give out what is free; tells the places of those of ``asked`` who still wait."""
        state = await self._read()
        outcome = turns(state.waiting, state.in_use, limits)
        if state.settled:
            await self._store.remove(state.settled)
        if outcome.granted:
            granted = [permit.session_id for permit in outcome.granted]
            await self._store.grant(granted, self._clock.now())
        return _places(outcome, limits, asked)

    async def _read(self) -> _State:
        """Who waits, and what is in use.

        Of a session that arrives in the ledger meanwhile, permit and session may both count, never
        neither: the ledger is asked for what arrived before it is asked for what runs.
        """
        permits, now = await self._store.all(), self._clock.now()
        granted = [permit.session_id for permit in permits if permit.granted_at is not None]
        arrived = await self._sessions.arrived(granted) if granted else frozenset()
        in_use = dict(await self._sessions.open_milli_cores())
        waiting, settled, about_to_start = [], [], 0
        for permit in permits:
            if permit.granted_at is None:
                if now - permit.seen_at < ALIVE:
                    waiting.append(permit)
                elif now - permit.seen_at >= PLACE_KEPT:
                    settled.append(permit.session_id)
            elif permit.session_id in arrived or now - permit.granted_at >= self._granted_for:
                settled.append(permit.session_id)
            else:
                in_use[permit.group] = in_use.get(permit.group, 0) + permit.milli_cores
                about_to_start += 1
        return _State(waiting, in_use, about_to_start, settled)

    async def _require_others(
        self, permit: Permit, waits_for: WaitsFor, limits: CoreLimits
    ) -> None:
        """Raise where a person would wait for nobody but themselves."""
        is_site = waits_for is WaitsFor.SITE
        limit = limits.site if is_site else group_limit(permit, limits)
        own = sum(
            session.milli_cores
            for session in await self._sessions.running(permit.username)
            # One of the same name has ended: the end is only not known here yet.
            if session.server_name != permit.server_name
            and (is_site or session.group == permit.group)
        )
        if limit is not None and own + permit.milli_cores > limit:
            await self._store.remove([permit.session_id])
            raise OwnServersFillLimit(wording.own_servers(permit, waits_for, own, limit))


def _of_group(group: str, state: _State, outcome: Turns, limits: CoreLimits) -> CoresInUse:
    return CoresInUse(
        group=group,
        in_use_milli_cores=state.in_use.get(group, 0),
        limit_milli_cores=limits.of(group),
        waiting=len(outcome.lines.get((WaitsFor.GROUP, group), ())),
    )


def _places(
    outcome: Turns, limits: CoreLimits, asked: Set[UUID] | None = None
) -> dict[UUID, Place]:
    """Where everybody is who waits (of ``asked``), and what they are told."""
    total = sum(outcome.in_use.values())
    found = {}
    for (waits_for, group), line in outcome.lines.items():
        is_site = waits_for is WaitsFor.SITE
        in_use = total if is_site else outcome.in_use.get(group, 0)
        limit = (limits.site if is_site else limits.of(group)) or 0
        for number, permit in enumerate(line, start=1):
            if asked is None or permit.session_id in asked:
                said = wording.place(number, len(line), permit, waits_for, in_use, limit)
                found[permit.session_id] = Place(
                    number=number, waiting=len(line), waits_for=waits_for, message=said
                )
    return found
