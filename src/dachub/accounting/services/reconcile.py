"""Compares the ledger's open sessions with the servers the hub knows.

What it finds out itself are estimates: an event that comes later, out of the hub's outbox, amends
them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from uuid import UUID

import structlog

from dachub.accounting.models import ActiveServer, Entry, Life, ReconcileOutcome, Start
from dachub.accounting.services.ledger import FUTURE_TOLERANCE, Ledger, lost
from dachub.accounting.store.ledger import LedgerStore
from dachub.accounting.store.workers import WorkerStore
from dachub.infra.clock import Clock
from dachub.model.sessions import Kind

WORKER = "reconcile"
SETTLING = timedelta(seconds=60)
"""How long after a request or start a server may be missing from the hub's list."""
NEVER_STARTED_AFTER = timedelta(hours=1)

log = structlog.get_logger(__name__)


class Reconciler:
    """Adopts servers nobody announced, and closes sessions whose server is gone."""

    def __init__(
        self,
        ledger: Ledger,
        store: LedgerStore,
        workers: WorkerStore,
        clock: Clock,
        every_seconds: int,
    ) -> None:
        self._ledger = ledger
        self._store = store
        self._workers = workers
        self._clock = clock
        self._between_runs = timedelta(seconds=every_seconds / 2)

    async def run(
        self, active: Sequence[ActiveServer], listed_at: datetime | None = None
    ) -> ReconcileOutcome:
        """Compare; only one process does at a time, the others skip.

        A session is closed as lost, at the moment it was last seen, only if its server was missing
        from this and the last successful comparison, some time apart, and it is not just starting.
        One that never started is closed as failed after an hour.

        Parameters
        ----------
        active
            All active servers of the hub; never call this with an incomplete answer.
        listed_at
            When the hub was asked; now where not given. A database that keeps us waiting must not
            make a server look alive for longer than the hub said.
        """
        if not await self._store.try_lock_reconciliation():
            return ReconcileOutcome(skipped=True)
        await self._store.lock()
        now = listed_at or self._clock.now()
        previous = await self._workers.last(WORKER)
        servers = {server.session_id: server for server in active if server.session_id is not None}
        entries = {
            **await self._store.entries(servers),
            **await self._store.open_entries(Kind.NOTEBOOK),
        }
        # A server of which the hub tells no session may be that of any session with its name.
        unnamed = {
            (server.username, server.server_name)
            for server in active
            if not server.session_id and not server.waits
        }
        outcome = ReconcileOutcome(unaccounted=[f"{user}/{name}" for user, name in sorted(unnamed)])
        lives = self._present(servers, entries, now, outcome)
        absent = [
            entry
            for session_id, entry in sorted(entries.items())
            if session_id not in servers
            and (entry.description.username, entry.description.server_name) not in unnamed
            and _overdue(entry, now)
        ]
        outcome.absent = [entry.description.session_id for entry in absent]
        if previous is not None and now - previous.succeeded_at >= self._between_runs:
            gone = [entry for entry in absent if _absent_since(entry, previous.succeeded_at)]
            for entry in gone:
                started = entry.life.start is not None
                (outcome.lost if started else outcome.failed).append(entry.description.session_id)
            lives |= lost(gone)
        await self._ledger.merge(entries, lives)
        await self._workers.record(WORKER, now, outcome.summary(), is_clean=not outcome.absent)
        _report(outcome)
        return outcome

    def _present(
        self,
        servers: Mapping[UUID, ActiveServer],
        entries: dict[UUID, Entry],
        now: datetime,
        outcome: ReconcileOutcome,
    ) -> dict[UUID, Life]:
        """What the hub's list tells of its sessions; unknown ones are added to ``entries``."""
        lives: dict[UUID, Life] = {}
        for session_id, server in servers.items():
            entry = entries.get(session_id)
            if not server.ready:
                continue
            if entry is None:
                if server.session is None or server.session.session_id != session_id:
                    outcome.unaccounted.append(_name(server))
                    continue
                entry = entries[session_id] = Entry(server.session)
            outcome.seen += 1
            start = None
            if entry.life.start is None:
                start = _start(server, entry, now)
                outcome.adopted.append(session_id)
            end = entry.life.end
            if end is not None and not end.is_concluded:
                if now - end.at > SETTLING:
                    outcome.contradictions.append(_name(server))
                continue
            if end is not None:
                outcome.reopened.append(session_id)
            lives[session_id] = Life(start, seen_at=now)
        return lives


def _start(server: ActiveServer, entry: Entry, now: datetime) -> Start:
    """When a server began that nobody announced: what the hub kept of it, or an estimate."""
    earliest = entry.description.requested_at
    if server.started_at is not None and server.started_at <= now + FUTURE_TOLERANCE:
        return Start(max(server.started_at, earliest), is_estimate=server.started_at < earliest)
    at = server.hub_started_at or now
    return Start(min(max(at, earliest), max(now, earliest)), is_estimate=True)


def _overdue(entry: Entry, now: datetime) -> bool:
    """Whether a session without a server has had the time to get one."""
    start = entry.life.start
    if start is None:
        return now - entry.description.requested_at > NEVER_STARTED_AFTER
    return now - start.at > SETTLING


def _absent_since(entry: Entry, moment: datetime) -> bool:
    """Whether the session's server was missing already in the comparison at ``moment``."""
    seen_at = entry.life.seen_at
    return seen_at is None or seen_at < moment


def _name(server: ActiveServer) -> str:
    return f"{server.username}/{server.server_name}"


def _report(outcome: ReconcileOutcome) -> None:
    found = outcome.adopted or outcome.reopened or outcome.lost or outcome.failed
    if found or outcome.unaccounted or outcome.contradictions:
        log.warning(
            "ledger and hub differed",
            adopted=[str(session_id) for session_id in outcome.adopted],
            reopened=[str(session_id) for session_id in outcome.reopened],
            lost=[str(session_id) for session_id in outcome.lost],
            failed=[str(session_id) for session_id in outcome.failed],
            unaccounted=outcome.unaccounted,
            contradictions=outcome.contradictions,
        )
