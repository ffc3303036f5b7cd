"""Puts the services together on one database session, so that nobody else needs the stores."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession

from dachub.infra.clock import Clock
from dachub.notices.services.notices import NoticeService
from dachub.notices.store.notices import NoticeStore


class Notices:
    """Makes the services of notices, all on one session in one transaction."""

    def __init__(self, session: AsyncSession, clock: Clock) -> None:
        self._notices = NoticeService(NoticeStore(session), clock)

    def notices(self) -> NoticeService:
        """What people are told."""
        return self._notices
