"""Puts the services together on one database session, so that nobody else needs the stores."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy.ext.asyncio import AsyncSession

from dachub.directory.models import Listener, nobody
from dachub.directory.services.accounts import LocalAccountService
from dachub.directory.services.audit import AuditService
from dachub.directory.services.groups import GroupService
from dachub.directory.services.logins import LoginService
from dachub.directory.services.once import OnceService
from dachub.directory.services.people import PeopleService
from dachub.directory.services.pseudonyms import PseudonymService
from dachub.directory.settings import DirectorySettings
from dachub.directory.store.audit import AuditStore
from dachub.directory.store.groups import GroupStore
from dachub.directory.store.once import OnceStore
from dachub.directory.store.people import LocalAccountStore, PersonStore
from dachub.directory.store.pseudonyms import PseudonymStore
from dachub.infra.clock import Clock


class Directory:
    """Makes the services of the directory, all on one session in one transaction."""

    def __init__(self, session: AsyncSession, clock: Clock, settings: DirectorySettings) -> None:
        self._clock = clock
        self._audit = AuditService(AuditStore(session), clock)
        self._people = PersonStore(session, timedelta(days=settings.affiliation_stale_after_days))
        self._groups = GroupStore(session)
        self._accounts = LocalAccountStore(session)
        self._once = OnceService(OnceStore(session), clock)
        self._pseudonyms = PseudonymService(PseudonymStore(session), self._people, clock)

    def audit(self) -> AuditService:
        """Who changed what."""
        return self._audit

    def once(self) -> OnceService:
        """What counts once, however often it is sent."""
        return self._once

    def people(self) -> PeopleService:
        """People."""
        return PeopleService(self._people, self._groups, self._audit, self._clock)

    def pseudonyms(self) -> PseudonymService:
        """What stands for people whose names are not kept."""
        return self._pseudonyms

    def logins(self) -> LoginService:
        """Logins."""
        return LoginService(self._people, self._groups, self._audit, self._clock)

    def accounts(self) -> LocalAccountService:
        """Local accounts."""
        return LocalAccountService(self._accounts, self._people, self._audit, self._clock)

    def groups(self, listener: Listener = nobody) -> GroupService:
        """Groups and memberships; ``listener`` is told of changes."""
        return GroupService(self._groups, self._people, self._audit, self._clock, listener)
