"""Puts the services together on one database session, so that nobody else needs the stores."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.services import Accounting
from dachub.directory.services import Directory
from dachub.infra.clock import Clock
from dachub.quota.services import Quota
from dachub.reports.services.apel import ApelCloud
from dachub.reports.services.exports import ExportService
from dachub.reports.services.funder import FunderReports
from dachub.reports.services.names import XdmodNames
from dachub.reports.services.storage import StorageExports
from dachub.reports.services.xdmod import XdmodJobs
from dachub.reports.settings import ReportSettings
from dachub.reports.store.exports import ExportStore
from dachub.storage.services import Storage


class Reports:
    """Makes the services of exports and reports, all on one session in one transaction."""

    def __init__(
        self,
        session: AsyncSession,
        clock: Clock,
        settings: ReportSettings,
        site: str,
        directory: Directory,
        accounting: Accounting,
        quota: Quota,
        storage: Storage,
    ) -> None:
        self._store = ExportStore(session)
        self._clock = clock
        self._settings = settings
        self._site = site
        self._people = directory.people()
        self._groups = directory.groups()
        self._audit = directory.audit()
        self._accounting = accounting
        self._quota = quota
        self._storage = storage.storage()

    def exports(self) -> ExportService:
        """Files for accounting systems above us."""
        sessions = self._accounting.sessions()
        clock, settings = self._clock, self._settings
        return ExportService(
            self._store,
            XdmodJobs(self._store, sessions, self._accounting.usage(), clock, settings),
            ApelCloud(self._store, sessions, clock, settings),
            XdmodNames(self._people, self._groups, settings),
            StorageExports(self._storage, clock, settings),
            sessions,
            self._audit,
            clock,
        )

    def funder(self) -> FunderReports:
        """The report to the funder."""
        return FunderReports(
            self._accounting, self._quota, self._storage, self._groups, self._clock, self._site
        )
