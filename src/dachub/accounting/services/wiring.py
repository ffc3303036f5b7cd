"""Puts the services together on one database session, so that nobody else needs the stores."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.services.corrections import CorrectionService
from dachub.accounting.services.figures import FigureService
from dachub.accounting.services.ledger import Ledger
from dachub.accounting.services.maintenance import MaintenanceService
from dachub.accounting.services.reconcile import Reconciler
from dachub.accounting.services.sessions import SessionService
from dachub.accounting.services.usage import UsageService
from dachub.accounting.services.workers import WorkerService
from dachub.accounting.store.corrections import CorrectionStore
from dachub.accounting.store.ledger import LedgerStore
from dachub.accounting.store.sessions import SessionStore
from dachub.accounting.store.spans import SpanStore
from dachub.accounting.store.usage import UsageStore
from dachub.accounting.store.workers import WorkerStore
from dachub.directory.services import Directory
from dachub.infra.clock import Clock
from dachub.notices.services import NoticeService


class Accounting:
    """Makes the services of the ledger, all on one session in one transaction.

    Parameters
    ----------
    reconcile_seconds
        How often ledger and running servers are compared.
    """

    def __init__(
        self, session: AsyncSession, clock: Clock, reconcile_seconds: int, directory: Directory
    ) -> None:
        self._clock = clock
        self._reconcile_seconds = reconcile_seconds
        self._directory = directory
        self._corrections = CorrectionStore(session)
        self._ledger = LedgerStore(session)
        self._sessions = SessionStore(session)
        self._spans = SpanStore(session)
        self._usage = UsageStore(session)
        self._workers = WorkerStore(session)

    def ledger(self) -> Ledger:
        """What happened to sessions."""
        return Ledger(self._ledger, self._workers, self._directory.pseudonyms(), self._clock)

    def sessions(self) -> SessionService:
        """Sessions, to be read."""
        return SessionService(self._sessions, self._clock)

    def corrections(self) -> CorrectionService:
        """Corrections of what sessions are charged."""
        return CorrectionService(
            self.ledger(),
            self.sessions(),
            self._corrections,
            self._directory.audit(),
            self._clock,
        )

    def maintenance(self, notices: NoticeService) -> MaintenanceService:
        """Stops of servers whose machine is taken out of service."""
        return MaintenanceService(
            self.ledger(), self.sessions(), notices, self._directory.audit(), self._clock
        )

    def usage(self) -> UsageService:
        """Usage reports."""
        return UsageService(self._usage, self._spans, self._directory.people(), self._clock)

    def figures(self) -> FigureService:
        """Figures for those who watch the service."""
        return FigureService(self._sessions, self.usage(), self._workers, self._clock)

    def reconciler(self) -> Reconciler:
        """The comparison of ledger and hub."""
        return Reconciler(
            self.ledger(), self._ledger, self._workers, self._clock, self._reconcile_seconds
        )

    def workers(self) -> WorkerService:
        """Last successes of background workers."""
        return WorkerService(self._workers, self._clock)
