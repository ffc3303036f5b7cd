"""The rules of storage."""

from dachub.storage.services.folders import FolderService
from dachub.storage.services.limits import LimitService
from dachub.storage.services.storage import StorageService
from dachub.storage.services.wiring import Storage

__all__ = ["FolderService", "LimitService", "Storage", "StorageService"]
