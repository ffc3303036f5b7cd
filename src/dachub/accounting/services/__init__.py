"""The rules of the ledger, of usage and of quotas."""

from dachub.accounting.services.allocations import AllocationService
from dachub.accounting.services.awards import AwardService
from dachub.accounting.services.corrections import CorrectionService
from dachub.accounting.services.enforcement import EnforcementService
from dachub.accounting.services.ledger import Ledger
from dachub.accounting.services.limits import LimitService
from dachub.accounting.services.quota import QuotaService
from dachub.accounting.services.reconcile import Reconciler
from dachub.accounting.services.series import SeriesService
from dachub.accounting.services.sessions import SessionService
from dachub.accounting.services.usage import UsageService
from dachub.accounting.services.wiring import Accounting
from dachub.accounting.services.workers import WorkerService

__all__ = [
    "Accounting",
    "AllocationService",
    "AwardService",
    "CorrectionService",
    "EnforcementService",
    "Ledger",
    "LimitService",
    "QuotaService",
    "Reconciler",
    "SeriesService",
    "SessionService",
    "UsageService",
    "WorkerService",
]
