"""The rules of notices."""

from dachub.notices.services.notices import NoticeService
from dachub.notices.services.wiring import Notices

__all__ = ["NoticeService", "Notices"]
