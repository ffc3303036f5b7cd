"""Puts the services together on one database session, so that nobody else needs the stores."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from dachub.directory.services import Directory
from dachub.infra.clock import Clock
from dachub.privacy.services.export import ExportService
from dachub.privacy.services.forgetting import ForgettingService
from dachub.privacy.services.retention import RetentionService
from dachub.privacy.settings import PrivacySettings
from dachub.privacy.store.forgetting import ForgettingStore
from dachub.privacy.store.records import RecordStore


class Privacy:
    """Makes the services of privacy, all on one session in one transaction."""

    def __init__(
        self,
        session: AsyncSession,
        clock: Clock,
        settings: PrivacySettings,
        directory: Directory,
        *,
        alone: Callable[[], Awaitable[None]],
    ) -> None:
        records, people, audit = RecordStore(session), directory.people(), directory.audit()
        groups, pseudonyms = directory.groups(), directory.pseudonyms()
        self._retention = RetentionService(records, people, pseudonyms, settings, clock)
        self._forgetting = ForgettingService(
            ForgettingStore(session), records, people, groups, pseudonyms, audit, clock, alone
        )
        self._export = ExportService(records, people, pseudonyms, audit, clock)

    def retention(self) -> RetentionService:
        """Names whose term is over."""
        return self._retention

    def forgetting(self) -> ForgettingService:
        """People who are to be forgotten."""
        return self._forgetting

    def export(self) -> ExportService:
        """Everything that is held about a person."""
        return self._export
