"""Wires the domains' services: the same for web, workers, command line and tests."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Self

from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession

from dachub.config import Settings
from dachub.directory.services import (
    AuditService,
    GroupService,
    LocalAccountService,
    LoginService,
    PeopleService,
)
from dachub.directory.store.audit import AuditStore
from dachub.directory.store.groups import GroupStore
from dachub.directory.store.people import LocalAccountStore, PersonStore
from dachub.infra.clock import Clock, SystemClock
from dachub.infra.database import SessionMaker, create_engine, session_maker, transaction
from dachub.model.problems import Unavailable
from dachub.server.hubapi import HubAPI


class Factory:
    """Makes services that share one session in one transaction."""

    def __init__(self, settings: Settings, session: AsyncSession, clock: Clock) -> None:
        self.settings = settings
        self.clock = clock
        self._session = session
        self._audit = AuditService(AuditStore(session), clock)
        self._people = PersonStore(
            session, timedelta(days=settings.directory.affiliation_stale_after_days)
        )
        self._groups = GroupStore(session)

    def audit(self) -> AuditService:
        """Who changed what."""
        return self._audit

    def people(self) -> PeopleService:
        """People."""
        return PeopleService(self._people, self._groups, self._audit, self.clock)

    def logins(self) -> LoginService:
        """Logins."""
        return LoginService(self._people, self._groups, self._audit, self.clock)

    def accounts(self) -> LocalAccountService:
        """Local accounts."""
        return LocalAccountService(
            LocalAccountStore(self._session), self._people, self._audit, self.clock
        )

    def groups(self) -> GroupService:
        """Groups and memberships."""
        return GroupService(self._groups, self._people, self._audit, self.clock)


class Process:
    """What lives as long as the process: settings, engine, clock, secrets, the way to the hub.

    Parameters
    ----------
    hub_token
        What the hub shows to be the hub.
    portal_secret
        Signs cookies and forms.
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
        sessions: SessionMaker | None = None,
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
        self.database_ready = True

    @classmethod
    def connect(cls, settings: Settings, database_url: str, *, hub: HubAPI | None = None) -> Self:
        """For a database; connects only when first used."""
        return cls(settings, create_engine(database_url), hub=hub or HubAPI("", ""))

    def require_database(self) -> None:
        """Raise :class:`Unavailable` until the database could be reached and migrated."""
        if not self.database_ready:
            raise Unavailable(
                "The database is not ready yet; this service keeps trying. Try again in a minute."
            )

    @asynccontextmanager
    async def factory(self) -> AsyncIterator[Factory]:
        """One transaction: committed at the end; on any error rolled back.

        Refusals noted by then are kept, in a transaction of their own.
        """
        refusals: list[dict[str, object]] = []
        try:
            async with transaction(self.sessions) as session:
                factory = Factory(self.settings, session, self.clock)
                try:
                    yield factory
                finally:
                    refusals = factory.audit().take_refusals()
        finally:
            if refusals:
                async with transaction(self.sessions) as session:
                    await AuditService(AuditStore(session), self.clock).keep_refusals(refusals)

    async def close(self) -> None:
        """Close all connections."""
        await self.hub.close()
        await self.engine.dispose()
