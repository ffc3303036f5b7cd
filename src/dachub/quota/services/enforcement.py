"""Holds what groups use against what they may: tells, closes, gives notice, and takes it back.

One run is one transaction under an advisory lock: killed at any moment, it has happened or not, and
two never run at once. It acts on trusted evidence only: :mod:`dachub.quota.services.evidence`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from dachub.accounting.services import SessionService, WorkerService
from dachub.accounting.services.reconcile import WORKER as RECONCILE
from dachub.directory.models import Contacts, Principal, PrincipalKind
from dachub.directory.services import AuditService, GroupService
from dachub.infra.clock import Clock
from dachub.model.notices import NoticeKind, Severity
from dachub.model.problems import NotFound
from dachub.model.sessions import EndReason, SessionRecord
from dachub.model.site import RESCUE_SIZE
from dachub.model.usage import TIME_RESOURCES, QuotaState, Resource
from dachub.notices.services import NoticeService
from dachub.quota.models import Vigil, Watch
from dachub.quota.services import wording
from dachub.quota.services.evidence import held_because, judge
from dachub.quota.services.policy import Step, StepKind, advance
from dachub.quota.services.positions import (
    Key,
    MemberPosition,
    Position,
    PositionReader,
    advanced,
)
from dachub.quota.services.wording import Told
from dachub.quota.settings import QuotaSettings
from dachub.quota.store.standings import StandingStore

WORKER = "enforce"
GROUP = ""
"""In the place of a username: the group itself."""
Account = tuple[str, Resource, str]
LATE_ENDS = timedelta(hours=1)
"""So much before the last look a server may have ended that is heard of only now."""
BY = Principal("service:quota", PrincipalKind.OPERATOR)

log = structlog.get_logger(__name__)


class EnforcementService:
    """Enforces quotas; ``vigil`` is what the calling process remembers of its last run.

    Parameters
    ----------
    alone
        Makes this transaction the only one that writes to the ledger: who changes several sessions
        otherwise, and a batch of events that changes the same, may wait for each other for ever.
    """

    def __init__(
        self,
        positions: PositionReader,
        standings: StandingStore,
        sessions: SessionService,
        workers: WorkerService,
        groups: GroupService,
        audit: AuditService,
        notices: NoticeService,
        clock: Clock,
        settings: QuotaSettings,
        site_contact: str,
        alone: Callable[[], Awaitable[None]],
    ) -> None:
        self._positions = positions
        self._standings = standings
        self._sessions = sessions
        self._workers = workers
        self._groups = groups
        self._audit = audit
        self._notices = notices
        self._clock = clock
        self._settings = settings
        self._site_contact = site_contact
        self._alone = alone

    async def run(self, vigil: Vigil) -> tuple[Vigil, str]:
        """Look once.

        Returns
        -------
        tuple
            What to remember once the transaction stands, and what was done, or why nothing was.
        """
        if not await self._standings.try_lock():
            return vigil, "another process is enforcing"
        before = await self._standings.watch()
        watch, held = await self._judge(vigil)
        await self._standings.put_watch(watch)
        await self._tell_stopped((before or watch).run_at - LATE_ENDS)
        # After a doubt every notice counts anew.
        noticed = {} if watch.doubt else vigil.noticed
        if held:
            log.warning("quotas are not enforced", reason=held)
            outcome = f"held: {held}"
        else:
            outcome, noticed = await self._enforce(noticed)
        await self._workers.record(WORKER, outcome, is_clean=not held)
        return Vigil(watch.run_at, self._clock.monotonic(), noticed), outcome

    async def confirmed(
        self, vigil: Vigil, due: Sequence[SessionRecord]
    ) -> tuple[Vigil, Sequence[SessionRecord], str]:
        """Which of the sessions that are due for their quota may really be stopped at this moment.

        Only with trusted evidence, if the group or person is still to be stopped by fresh figures,
        and if the notice was given for its full length of real time. What had too short a notice
        gets the rest of it; what need not stop any more is let go on.

        Returns
        -------
        tuple
            What to remember, the sessions, and why others are not among them.
        """
        watch, held = await self._judge(vigil)
        if held:
            return vigil, [], f"held: {held}"
        stopping = _stopping(await self._positions.read(None, watch.run_at), watch.run_at)
        passed = self._clock.monotonic()
        noticed = dict(vigil.noticed)
        stopped: list[SessionRecord] = []
        await self._alone()
        for session in due:
            notice_seconds = _notice_seconds(session, stopping)
            if notice_seconds is None:
                await self._withdraw(session)
                continue
            rest_seconds = notice_seconds - (
                passed - noticed.setdefault(session.session_id, passed)
            )
            if rest_seconds <= 0:
                stopped.append(session)
            else:
                due_at = watch.run_at + timedelta(seconds=rest_seconds)
                await self._schedule(session, due_at)
        spared = len(due) - len(stopped)
        said = f"{spared} not yet, or not any more" if spared else ""
        return replace(vigil, noticed=noticed), stopped, said

    async def trust(self, by: Principal, reason: str) -> str:
        """Say that the clock is right, after a jump that is not believed by itself.

        Raises
        ------
        PermissionDenied
        """
        by.require_administrator()
        watch = await self._standings.watch()
        if watch is None or not watch.needs_a_person:
            return "There is no doubt that waits for this."
        await self._standings.put_watch(replace(watch, needs_a_person=False))
        await self._audit.record(by, "clock-trusted", doubt=watch.doubt, reason=reason)
        return "Quotas are enforced again after the next clean comparisons with the hub."

    async def doubt(self, why: str) -> None:
        """Enforce nothing until the next clean comparisons with the hub."""
        now = self._clock.now()
        await self._standings.put_watch(Watch(now, why, now))

    async def _judge(self, vigil: Vigil) -> tuple[Watch, str]:
        now = self._clock.now()
        reconciled = await self._workers.last(RECONCILE)
        previous = await self._standings.watch()
        passed = self._clock.monotonic()
        watch = judge(previous, vigil, reconciled, now, passed, self._settings)
        return watch, held_because(watch, reconciled, now, self._settings)

    async def _enforce(self, noticed: Mapping[UUID, float]) -> tuple[str, Mapping[UUID, float]]:
        now = self._clock.now()
        positions = await self._positions.read(None, now)
        told = 0
        for position in positions.values():
            told += await self._step(position, now)
        counting, given, withdrawn = await self._give_notice(_stopping(positions, now), noticed)
        return (
            f"{len(positions)} resources of groups, {told} steps; {given} servers given notice, "
            f"{withdrawn} notices withdrawn"
        ), counting

    async def _step(self, before: Position, now: datetime) -> int:
        """Keep where a group and its members stand now, and tell of every step."""
        ones: dict[str, Position | MemberPosition] = {GROUP: before, **before.members}
        moves = {
            username: advance(one.standing, one.measured, one.policy, now)
            for username, one in ones.items()
        }
        for username, (standing, _) in moves.items():
            if standing != ones[username].standing:
                await self._standings.put(before.group, before.resource, username, standing)
        count = sum(len(steps) for _, steps in moves.values())
        if not count:
            return 0
        after = advanced(before, now)
        contacts = (await self._groups.contacts([before.group])).get(before.group, Contacts())
        ask = wording.whom(contacts.pis, self._site_contact)
        everybody = [member.username for member in await self._groups.members(before.group)]
        for username, (_, steps) in moves.items():
            for step in steps:
                if username == GROUP:
                    told = wording.group_step(after, step, ask)
                else:
                    told = wording.member_step(after, after.members[username], step, ask)
                await self._tell(after, username, step, told, everybody)
        return count

    async def _tell(
        self, position: Position, username: str, step: Step, told: Told, everybody: Sequence[str]
    ) -> None:
        one = position if username == GROUP else position.members[username]
        # A threshold is told once for an amount, any other step once each time it is taken.
        if step.kind is StepKind.WARNED:
            which = f"{step.percent}/{one.measured.period}/{one.measured.allowed}"
        else:
            which = f"{one.standing.since}"
        await self._notices.give(
            everybody if username == GROUP else [username],
            key=f"quota/{position.group}/{position.resource}/{username}/{step.kind}/{which}",
            kind=NoticeKind.QUOTA,
            severity=told.severity,
            title=told.title,
            text=told.text,
            group=position.group,
            path=f"groups/{position.group}{'' if username == GROUP else '/requests'}",
        )
        await self._audit.record(
            BY,
            f"quota-{step.kind}",
            username=username or None,
            group=position.group,
            resource=position.resource.value,
            percent=step.percent,
            used=one.measured.used,
            allowed=one.measured.allowed,
        )

    async def _give_notice(
        self, stopping: Mapping[Account, int], noticed: Mapping[UUID, float]
    ) -> tuple[Mapping[UUID, float], int, int]:
        """Give notice to what must end, take it back where it need not.

        Returns
        -------
        tuple
            Since when notices count, how many were given, and how many withdrawn.
        """
        now, passed = self._clock.now(), self._clock.monotonic()
        counting: dict[UUID, float] = {}
        given = withdrawn = 0
        await self._alone()
        for session in await self._sessions.running():
            notice_seconds = _notice_seconds(session, stopping)
            if notice_seconds is None:
                if session.stop_due_reason == EndReason.QUOTA:
                    await self._withdraw(session)
                    withdrawn += 1
            elif session.goes_on_until(due_at := now + timedelta(seconds=notice_seconds)):
                await self._schedule(session, due_at)
                counting[session.session_id] = passed
                given += 1
            elif session.stop_due_reason == EndReason.QUOTA:
                counting[session.session_id] = noticed.get(session.session_id, passed)
        return counting, given, withdrawn

    async def _schedule(self, session: SessionRecord, due_at: datetime) -> None:
        with suppress(NotFound):  # it has ended meanwhile
            await self._sessions.schedule_stop(session.session_id, due_at, EndReason.QUOTA)
        name = session.server_name or "default"
        await self._notices.give(
            [session.username],
            key=f"quota-stop/{session.session_id}/{due_at}",
            kind=NoticeKind.STOP,
            severity=Severity.URGENT,
            title=f"Your server '{name}' will be stopped at {due_at:%H:%M} UTC",
            text=f"The computing time that you may use on {session.group} is used up. "
            "Save your work; your files stay as they are. If more is granted before, the server "
            "goes on.",
            group=session.group,
        )

    async def _tell_stopped(self, since: datetime) -> None:
        """Tell each person once of each server that was stopped, also while nothing is enforced."""
        stopped = await self._sessions.stopped(EndReason.QUOTA, since)
        contacts = await self._groups.contacts({session.group for session in stopped})
        for session in stopped:
            pis = contacts.get(session.group, Contacts()).pis
            told = wording.stopped(session, wording.whom(pis, self._site_contact))
            await self._notices.give(
                [session.username],
                key=f"quota-stopped/{session.session_id}",
                kind=NoticeKind.STOP,
                severity=told.severity,
                title=told.title,
                text=told.text,
                group=session.group,
                path=f"sessions/{session.session_id}",
            )

    async def _withdraw(self, session: SessionRecord) -> None:
        with suppress(NotFound):
            await self._sessions.schedule_stop(session.session_id, None)
        name = session.server_name or "default"
        await self._notices.give(
            [session.username],
            key=f"quota-stop-withdrawn/{session.session_id}/{session.stop_due_at}",
            kind=NoticeKind.STOP,
            severity=Severity.INFO,
            title=f"Your server '{name}' goes on",
            text=f"{session.group} has computing time again; the notice is withdrawn."
            f"{_maintenance(session)}",
            group=session.group,
        )


def _maintenance(session: SessionRecord) -> str:
    at = session.maintenance_at
    if at is None:
        return ""
    return f" On {at:%-d %B at %H:%M} UTC it is stopped as its machine is taken out of service."


def _stopping(positions: Mapping[Key, Position], now: datetime) -> dict[Account, int]:
    """Whose servers must end, each with the length of the notice, in seconds."""
    found: dict[Account, int] = {}
    for before in positions.values():
        position = advanced(before, now)
        ones: dict[str, Position | MemberPosition] = {GROUP: position, **position.members}
        for username, one in ones.items():
            if one.standing.state is QuotaState.STOPPING:
                account = (position.group, position.resource, username)
                found[account] = one.policy.stop_notice_seconds
    return found


def _notice_seconds(session: SessionRecord, stopping: Mapping[Account, int]) -> int | None:
    """The notice a session must get, the longest of several; ``None`` if it may go on.

    A rescue session may: it starts whatever is left, and ends by itself.
    """
    if session.size == RESCUE_SIZE:
        return None
    notices = [
        stopping[account]
        for resource in TIME_RESOURCES
        if resource.rate(session)
        for username in (GROUP, session.username)
        if (account := (session.group, resource, username)) in stopping
    ]
    return max(notices, default=None)
