"""Puts the services together on one database session, so that nobody else needs the stores."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from dachub.directory.services import Directory
from dachub.infra.clock import Clock
from dachub.notices.services import Notices
from dachub.quota.services import Quota
from dachub.storage.services.limits import LimitService
from dachub.storage.services.storage import StorageService
from dachub.storage.settings import StorageSettings
from dachub.storage.store.places import PlaceStore


class Storage:
    """Makes the services of storage, all on one session in one transaction."""

    def __init__(
        self,
        session: AsyncSession,
        clock: Clock,
        settings: StorageSettings,
        contact: str,
        directory: Directory,
        notices: Notices,
        quota: Quota,
    ) -> None:
        store, people, groups = PlaceStore(session), directory.people(), directory.groups()
        self._limits = LimitService(
            store, people, groups, quota.allocations(), directory.audit(), clock, settings
        )
        self._storage = StorageService(
            store, self._limits, people, groups, notices.notices(), clock, settings, contact
        )

    def storage(self) -> StorageService:
        """What is kept where."""
        return self._storage

    def limits(self) -> LimitService:
        """What may be kept where."""
        return self._limits
