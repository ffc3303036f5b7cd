"""The rules of allocations and quotas."""

from dachub.quota.services.allocations import AllocationService
from dachub.quota.services.awards import AwardService
from dachub.quota.services.enforcement import EnforcementService
from dachub.quota.services.limits import LimitService
from dachub.quota.services.quota import QuotaService
from dachub.quota.services.series import SeriesService
from dachub.quota.services.wiring import Quota

__all__ = [
    "AllocationService",
    "AwardService",
    "EnforcementService",
    "LimitService",
    "Quota",
    "QuotaService",
    "SeriesService",
]
