"""Wires the domains' services: the same for web, workers, command line and tests."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import Self

from pydantic import BaseModel, Field
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from dachub.accounting.services import Accounting
from dachub.config import Settings
from dachub.directory.services import Directory
from dachub.infra.clock import Clock, SystemClock
from dachub.infra.database import SessionMaker, create_engine, session_maker, transaction
from dachub.infra.leadership import Leader, Term, leaders
from dachub.model.problems import Unavailable
from dachub.notices.services import Notices, Postman
from dachub.privacy.services import Privacy
from dachub.quota.models import Offer, RescueReason, Vigil
from dachub.quota.services import Quota
from dachub.reports.services import Reports
from dachub.server.hubapi import HubAPI
from dachub.storage.services import Storage

PAUSE_SECONDS_MAX = 60
RUN_SECONDS_MAX = 120


class Factory:
    """Makes the services of all domains, sharing one session in one transaction."""

    def __init__(self, settings: Settings, session: AsyncSession, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        site = settings.site
        directory = Directory(session, clock, settings.directory)
        self.audit = directory.audit
        self.once = directory.once
        self.people = directory.people
        self.pseudonyms = directory.pseudonyms
        self.logins = directory.logins
        self.accounts = directory.accounts
        notices = Notices(session, clock, directory, mails=settings.mail is not None)
        self.groups = partial(directory.groups, notices.on_membership)
        self.notices = notices.notices
        self.mails = notices.mails
        accounting = Accounting(session, clock, settings.quota.reconcile_seconds, directory)
        self.ledger = accounting.ledger
        self.sessions = accounting.sessions
        self.corrections = accounting.corrections
        self.maintenance = partial(accounting.maintenance, notices.notices())
        self.usage = accounting.usage
        self.figures = accounting.figures
        self.reconciler = accounting.reconciler
        self.workers = accounting.workers
        self._session = session
        quota = Quota(
            session,
            clock,
            settings.quota,
            Offer(
                settings.servers.sizes,
                settings.servers.environments,
                settings.servers.rescue.size,
                settings.servers.own_images,
                site.contact,
                settings.servers.start_timeout_seconds,
            ),
            directory,
            notices,
            accounting,
            start_checks=(self._check_storage,),
        )
        self.quota = quota.quota
        self.allocations = quota.allocations
        self.requests = quota.requests
        self.series = quota.series
        self.limits = quota.limits
        self.core_limits = quota.core_limits
        self.queue = quota.queue
        self.awards = quota.awards
        self.enforcement = quota.enforcement
        self.quota_figures = quota.figures
        storage = Storage(session, clock, settings.storage, site.contact, directory, notices, quota)
        self.storage = storage.storage
        self.storage_limits = storage.limits
        privacy = Privacy(
            session, clock, settings.privacy, directory, alone=accounting.ledger().lock
        )
        self.retention = privacy.retention
        self.forgetting = privacy.forgetting
        self.personal_data = privacy.export
        reports = Reports(
            session, clock, settings.reports, site.name, directory, accounting, quota, storage
        )
        self.exports = reports.exports
        self.funder_reports = reports.funder

    async def leaders(self) -> list[Leader]:
        """Which process leads which kind of background work, and how it goes."""
        return await leaders(self._session)

    async def _check_storage(self, username: str, group: str) -> RescueReason | None:
        # Not handed over as it is: storage asks the quotas what groups were granted.
        return await self.storage().check_start(username, group)


@dataclass(frozen=True, slots=True)
class AuditTold:
    """What of the audit log was told, as far as its newest entries go.

    Attributes
    ----------
    until
        When it was last looked through; ``None`` before the first time.
    ids
        What was found then.
    """

    until: datetime | None = None
    ids: frozenset[int] = frozenset()


class WorkerStatus(BaseModel):
    """A background worker, as the process that leads its work tells of it."""

    name: str
    succeeded_at: datetime | None
    outcome: str = ""
    failures: int = Field(default=0, description="Runs in a row that went wrong")
    error: str = ""


@dataclass
class Worker:
    """A task that runs again and again; ``run`` returns what it did, in a few words.

    Attributes
    ----------
    every_seconds
        Pause after a run that went well; doubled after each that did not, up to a minute.
    run_seconds
        A run that takes longer is cancelled.
    failures
        Runs in a row that went wrong.
    """

    name: str
    every_seconds: float
    run: Callable[[Process], Awaitable[str]]
    pause: Callable[[Process], float] | None = None
    run_seconds: float = RUN_SECONDS_MAX
    succeeded_at: datetime | None = None
    outcome: str = ""
    failures: int = 0
    error: str = ""
    woken: asyncio.Event = field(default_factory=asyncio.Event)

    def status(self) -> dict[str, object]:
        """What is told of it, as :class:`WorkerStatus` in JSON."""
        told = WorkerStatus(
            name=self.name,
            succeeded_at=self.succeeded_at,
            outcome=self.outcome,
            failures=self.failures,
            error=self.error,
        )
        return told.model_dump(mode="json")

    def pause_seconds(self, process: Process) -> float:
        """How long to wait now."""
        if self.failures:
            longer_seconds = max(self.every_seconds, 1.0) * 2.0 ** min(self.failures, 6)
            return min(longer_seconds, PAUSE_SECONDS_MAX)
        return self.every_seconds if self.pause is None else self.pause(process)


class Process:
    """What lives as long as the process: settings, engine, clock, secrets, the way to the hub.

    Parameters
    ----------
    hub_token
        What the hub shows to be the hub.
    portal_secret
        Signs cookies and forms.
    metrics_token
        What Prometheus shows to be let in; empty where only administrators are.
    postman
        Brings mails away, where the site sends any.
    """

    def __init__(
        self,
        settings: Settings,
        engine: AsyncEngine,
        *,
        hub: HubAPI,
        clock: Clock | None = None,
        hub_token: str = "",
        portal_secret: str | None = None,
        public_url: str = "",
        database_url: str = "",
        sessions: SessionMaker | None = None,
        metrics_token: str = "",
        postman: Postman | None = None,
    ) -> None:
        self.settings = settings
        self.engine = engine
        self.hub = hub
        self.clock: Clock = clock or SystemClock()
        self.hub_token = hub_token
        self.portal_secret = portal_secret or secrets.token_urlsafe(32)
        self.public_origin = "/".join(public_url.split("/")[:3])
        self.sessions = sessions or session_maker(engine)
        self.started_at = self.clock.now()
        self.database_url = database_url
        self.database_ready = True
        self.is_ending = False
        self.metrics_token = metrics_token
        self.postman = postman
        self.workers: dict[str, Worker] = {}
        self.term: Term | None = None
        self.vigil = Vigil()
        self.audit_told = AuditTold()

    @classmethod
    def connect(cls, settings: Settings, database_url: str, *, hub: HubAPI | None = None) -> Self:
        """For a database; connects only when first used."""
        engine = create_engine(database_url)
        return cls(settings, engine, hub=hub or HubAPI("", ""), database_url=database_url)

    def under(self, term: Term) -> Self:
        """The same process while it leads a kind of work: its transactions stand only if it does.

        What it remembers of its watch over quotas begins anew: meanwhile others led.
        """
        led = copy(self)
        led.term, led.vigil, led.audit_told = term, Vigil(), AuditTold()
        return led

    def require_database(self) -> None:
        """Raise :class:`Unavailable` until the database could be reached and migrated."""
        if not self.database_ready:
            raise Unavailable(
                "The database is not ready yet; this service keeps trying. Try again in a minute."
            )

    def require_going_on(self) -> None:
        """Raise :class:`Unavailable` once the process was told to end."""
        if self.is_ending:
            raise Unavailable("This process of the service ends; ask another one.")

    @asynccontextmanager
    async def factory(self, *, snapshot: bool = False) -> AsyncIterator[Factory]:
        """One transaction: committed at the end; on any error rolled back.

        Refusals noted by then are kept, in a transaction of their own. With ``snapshot`` all that
        is read is of one moment.
        """
        refusals: list[dict[str, object]] = []
        try:
            async with transaction(self.sessions, snapshot=snapshot) as session:
                if self.term is not None:
                    await self.term.require(session)
                factory = Factory(self.settings, session, self.clock)
                try:
                    yield factory
                finally:
                    refusals = factory.audit().take_refusals()
        finally:
            if refusals:
                async with transaction(self.sessions) as session:
                    kept = Factory(self.settings, session, self.clock)
                    await kept.audit().keep_refusals(refusals)

    @asynccontextmanager
    async def alone(self, task: str) -> AsyncIterator[bool]:
        """Whether no other process does ``task`` meanwhile; a lock that dies with its holder."""
        async with self.engine.connect() as connection, connection.begin():
            lock = select(func.pg_try_advisory_xact_lock(func.hashtextextended(task, 2)))
            yield bool(await connection.scalar(lock))

    def nudge(self, worker: str) -> None:
        """Let a background worker run now, where this process leads; others let it wait its turn.

        Turns of what is woken come every few seconds (:mod:`dachub.server.workers`).
        """
        if worker in self.workers:
            self.workers[worker].woken.set()

    async def close(self) -> None:
        """Close all connections."""
        await self.hub.close()
        await self.engine.dispose()
