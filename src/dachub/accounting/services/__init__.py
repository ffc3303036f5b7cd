"""The rules of the ledger and of usage."""

from dachub.accounting.services.corrections import CorrectionService
from dachub.accounting.services.ledger import Ledger
from dachub.accounting.services.maintenance import MaintenanceService
from dachub.accounting.services.reconcile import Reconciler
from dachub.accounting.services.sessions import SessionService
from dachub.accounting.services.usage import UsageService
from dachub.accounting.services.wiring import Accounting
from dachub.accounting.services.workers import WorkerService

__all__ = [
    "Accounting",
    "CorrectionService",
    "Ledger",
    "MaintenanceService",
    "Reconciler",
    "SessionService",
    "UsageService",
    "WorkerService",
]
