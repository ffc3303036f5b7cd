"""Puts the services together on one database session, so that nobody else needs the stores."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from dachub.directory.services import Directory
from dachub.infra.clock import Clock
from dachub.notices.services.mails import MailService
from dachub.notices.services.memberships import MembershipNotices
from dachub.notices.services.notices import NoticeService
from dachub.notices.store.mails import MailStore
from dachub.notices.store.notices import NoticeStore


class Notices:
    """Makes the services of notices, all on one session in one transaction."""

    def __init__(
        self, session: AsyncSession, clock: Clock, directory: Directory, *, mails: bool
    ) -> None:
        self._notices = NoticeService(NoticeStore(session), clock, mails=mails)
        self.on_membership = MembershipNotices(self._notices)
        self._mails = MailService(MailStore(session), directory.people(), clock)

    def notices(self) -> NoticeService:
        """What people are told."""
        return self._notices

    def mails(self) -> MailService:
        """Notices on their way by e-mail."""
        return self._mails
