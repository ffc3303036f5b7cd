"""Puts the services together on one database session, so that nobody else needs the stores."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.models import Offer, StartCheck
from dachub.accounting.services.allocations import AllocationService
from dachub.accounting.services.awards import AwardService
from dachub.accounting.services.corrections import CorrectionService
from dachub.accounting.services.enforcement import EnforcementService
from dachub.accounting.services.figures import FigureService
from dachub.accounting.services.ledger import Ledger
from dachub.accounting.services.limits import LimitService
from dachub.accounting.services.positions import PositionReader
from dachub.accounting.services.quota import QuotaService
from dachub.accounting.services.reconcile import Reconciler
from dachub.accounting.services.requests import RequestService
from dachub.accounting.services.series import SeriesService
from dachub.accounting.services.sessions import SessionService
from dachub.accounting.services.usage import UsageService
from dachub.accounting.services.workers import WorkerService
from dachub.accounting.settings import QuotaSettings
from dachub.accounting.store.allocations import AllocationStore
from dachub.accounting.store.corrections import CorrectionStore
from dachub.accounting.store.figures import FigureStore
from dachub.accounting.store.ledger import LedgerStore
from dachub.accounting.store.limits import LimitStore
from dachub.accounting.store.quota import QuotaStore
from dachub.accounting.store.requests import RequestStore
from dachub.accounting.store.series import SeriesStore
from dachub.accounting.store.sessions import SessionStore
from dachub.accounting.store.usage import UsageStore
from dachub.accounting.store.workers import WorkerStore
from dachub.directory.services import AuditService, GroupService, PeopleService, PseudonymService
from dachub.infra.clock import Clock
from dachub.notices.services import NoticeService


class Accounting:
    """Makes the services of accounting, all on one session in one transaction."""

    def __init__(
        self,
        session: AsyncSession,
        clock: Clock,
        settings: QuotaSettings,
        offer: Offer,
        *,
        people: PeopleService,
        groups: GroupService,
        pseudonyms: PseudonymService,
        audit: AuditService,
        notices: NoticeService,
        start_checks: Sequence[StartCheck] = (),
    ) -> None:
        self._clock = clock
        self._settings = settings
        self._offer = offer
        self._people = people
        self._groups = groups
        self._pseudonyms = pseudonyms
        self._audit = audit
        self._notices = notices
        self._start_checks = start_checks
        self._corrections = CorrectionStore(session)
        self._allocations = AllocationStore(session, settings.policy)
        self._series = SeriesStore(session)
        self._limits = LimitStore(session)
        self._quota = QuotaStore(session)
        self._ledger = LedgerStore(session)
        self._figures = FigureStore(session)
        self._requests = RequestStore(session)
        self._sessions = SessionStore(session)
        self._usage = UsageStore(session)
        self._workers = WorkerStore(session)

    def ledger(self) -> Ledger:
        """What happened to sessions."""
        return Ledger(self._ledger, self._workers, self._pseudonyms, self._clock)

    def sessions(self) -> SessionService:
        """Sessions, to be read."""
        return SessionService(self._sessions, self._clock)

    def corrections(self) -> CorrectionService:
        """Corrections of what sessions are charged."""
        return CorrectionService(
            self.ledger(),
            self.sessions(),
            self._corrections,
            self._audit,
            self._clock,
        )

    def usage(self) -> UsageService:
        """Usage reports."""
        return UsageService(self._usage, self._people, self._clock)

    def awards(self) -> AwardService:
        """The site's own awards."""
        return AwardService(self.usage(), self._clock, self._settings)

    def quota(self) -> QuotaService:
        """Balances and decisions."""
        return QuotaService(
            self._positions(),
            self._sessions,
            self._people,
            self._groups,
            self._audit,
            self._notices,
            self._clock,
            self._offer,
            self._start_checks,
        )

    def _positions(self) -> PositionReader:
        return PositionReader(self._allocations, self._quota, self._settings)

    def allocations(self) -> AllocationService:
        """Allocations."""
        return AllocationService(
            self._allocations, self._quota, self._groups, self._audit, self._notices, self._clock
        )

    def requests(self) -> RequestService:
        """Requests for more."""
        return RequestService(
            self._requests,
            self.allocations(),
            self._groups,
            self._people,
            self._notices,
            self._audit,
            self._clock,
        )

    def series(self) -> SeriesService:
        """Recurring allocations."""
        return SeriesService(
            self._series, self._allocations, self._quota, self._groups, self._audit, self._clock
        )

    def limits(self) -> LimitService:
        """Limits of members."""
        return LimitService(self._limits, self._groups, self._audit, self._notices, self._clock)

    def enforcement(self) -> EnforcementService:
        """What holds usage against allocations."""
        return EnforcementService(
            self._positions(),
            self._quota,
            self._sessions,
            self._workers,
            self._groups,
            self._audit,
            self._notices,
            self._clock,
            self._settings,
            self._offer.contact,
        )

    def figures(self) -> FigureService:
        """Figures for those who watch the service."""
        return FigureService(self._figures, self.usage(), self._workers, self._clock)

    def reconciler(self) -> Reconciler:
        """The comparison of ledger and hub."""
        return Reconciler(self.ledger(), self._ledger, self._workers, self._clock, self._settings)

    def workers(self) -> WorkerService:
        """Last successes of background workers."""
        return WorkerService(self._workers, self._clock)
