"""Puts the services together on one database session, so that nobody else needs the stores."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.services import Accounting
from dachub.directory.services import Directory
from dachub.infra.clock import Clock
from dachub.notices.services import Notices
from dachub.quota.models import Offer, StartCheck
from dachub.quota.services.allocations import AllocationService
from dachub.quota.services.awards import AwardService
from dachub.quota.services.cores import CoreLimitService
from dachub.quota.services.enforcement import EnforcementService
from dachub.quota.services.figures import QuotaFigureService
from dachub.quota.services.limits import LimitService
from dachub.quota.services.positions import PositionReader
from dachub.quota.services.queue import QueueService
from dachub.quota.services.quota import QuotaService
from dachub.quota.services.requests import RequestService
from dachub.quota.services.series import SeriesService
from dachub.quota.settings import QuotaSettings
from dachub.quota.store.allocations import AllocationStore
from dachub.quota.store.limits import LimitStore
from dachub.quota.store.queue import CoreLimitStore, QueueStore
from dachub.quota.store.requests import RequestStore
from dachub.quota.store.series import SeriesStore
from dachub.quota.store.standings import StandingStore


class Quota:
    """Makes the services of allocations and quotas, all on one session in one transaction."""

    def __init__(
        self,
        session: AsyncSession,
        clock: Clock,
        settings: QuotaSettings,
        offer: Offer,
        directory: Directory,
        notices: Notices,
        accounting: Accounting,
        start_checks: Sequence[StartCheck] = (),
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._offer = offer
        self._people = directory.people()
        self._groups = directory.groups()
        self._audit = directory.audit()
        self._notices = notices.notices()
        self._accounting = accounting
        self._start_checks = start_checks
        self._allocations = AllocationStore(session, settings.policy)
        self._series = SeriesStore(session)
        self._limits = LimitStore(session)
        self._standings = StandingStore(session)
        self._requests = RequestStore(session)
        self._core_limits = CoreLimitStore(session)
        self._queue = QueueStore(session)

    def quota(self) -> QuotaService:
        """Balances and decisions."""
        return QuotaService(
            self._positions(),
            self.queue(),
            self._accounting.sessions(),
            self._people,
            self._groups,
            self._audit,
            self._notices,
            self._clock,
            self._offer,
            self._start_checks,
        )

    def _positions(self) -> PositionReader:
        return PositionReader(
            self._allocations, self._standings, self._accounting.usage(), self._settings
        )

    def allocations(self) -> AllocationService:
        """Allocations."""
        return AllocationService(
            self._allocations,
            self._accounting.usage(),
            self._groups,
            self._audit,
            self._notices,
            self._clock,
        )

    def requests(self) -> RequestService:
        """Requests for more."""
        return RequestService(
            self._requests,
            self.allocations(),
            self.limits(),
            self._groups,
            self._people,
            self._notices,
            self._audit,
            self._clock,
        )

    def series(self) -> SeriesService:
        """Recurring allocations."""
        return SeriesService(
            self._series,
            self._allocations,
            self._accounting.usage(),
            self._groups,
            self._audit,
            self._clock,
        )

    def limits(self) -> LimitService:
        """Limits of members."""
        return LimitService(self._limits, self._groups, self._audit, self._notices, self._clock)

    def core_limits(self) -> CoreLimitService:
        """Limits of cores at once."""
        return CoreLimitService(
            self._core_limits, self._groups, self._audit, self._clock, self._settings
        )

    def queue(self) -> QueueService:
        """The queue of servers that wait for cores."""
        return QueueService(
            self._queue,
            self.core_limits(),
            self._accounting.sessions(),
            self._clock,
            self._offer.contact,
            self._offer.start_timeout_seconds,
        )

    def awards(self) -> AwardService:
        """The site's own awards."""
        return AwardService(self._accounting.usage(), self._clock, self._settings)

    def enforcement(self) -> EnforcementService:
        """What holds usage against allocations."""
        return EnforcementService(
            self._positions(),
            self._standings,
            self._accounting.sessions(),
            self._accounting.workers(),
            self._groups,
            self._audit,
            self._notices,
            self._clock,
            self._settings,
            self._offer.contact,
            self._accounting.ledger().lock,
        )

    def figures(self) -> QuotaFigureService:
        """Figures for those who watch the service."""
        return QuotaFigureService(self._standings, self._requests, self.queue(), self._clock)
