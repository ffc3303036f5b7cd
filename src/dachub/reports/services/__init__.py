"""The rules of exports and reports."""

from dachub.reports.services.exports import ExportService, Output
from dachub.reports.services.wiring import Reports

__all__ = ["ExportService", "Output", "Reports"]
