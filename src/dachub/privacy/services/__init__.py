"""The rules of privacy."""

from dachub.privacy.services.export import ExportService, PersonalData
from dachub.privacy.services.forgetting import ForgettingService
from dachub.privacy.services.retention import RetentionService, Spared
from dachub.privacy.services.wiring import Privacy

__all__ = [
    "ExportService",
    "ForgettingService",
    "PersonalData",
    "Privacy",
    "RetentionService",
    "Spared",
]
