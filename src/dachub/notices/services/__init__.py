"""The rules of notices."""

from dachub.notices.services.mails import MailService
from dachub.notices.services.notices import NoticeService
from dachub.notices.services.postman import Postman
from dachub.notices.services.wiring import Notices

__all__ = ["MailService", "NoticeService", "Notices", "Postman"]
