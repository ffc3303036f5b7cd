"""Where the mails about notices stand: columns of the notices themselves."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.notices import Notice
from dachub.notices.models import MailCounts
from dachub.notices.store.notices import notice_of
from dachub.notices.tables import NoticeRow


class MailStore:
    """One mail a notice, at most."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def due(self, now: datetime, latest: datetime) -> tuple[Notice, int] | None:
        """The mail that is due longest, with the attempts made; locked, those of others skipped.

        One due after ``latest`` was put off by a clock that ran ahead: it is due as well.
        """
        row = await self._session.scalar(
            select(NoticeRow)
            .where(
                NoticeRow.mail_state == "pending",
                or_(NoticeRow.mail_due_at <= now, NoticeRow.mail_due_at > latest),
            )
            .order_by(NoticeRow.mail_due_at, NoticeRow.notice_id)
            .limit(1)
            .with_for_update(skip_locked=True)
            .execution_options(populate_existing=True)
        )
        return None if row is None else (notice_of(row), row.mail_attempts)

    async def put_off(self, notice_id: int, until: datetime, attempts: int) -> None:
        """Let a mail be due again later, unless somebody settles it until then."""
        await self._set(notice_id, mail_due_at=until, mail_attempts=attempts)

    async def explain(self, notice_id: int, error: str) -> None:
        """Note why a mail could not be sent yet."""
        await self._set(notice_id, mail_error=error)

    async def settle(self, notice_id: int, state: str, error: str = "") -> None:
        """Note what became of a mail: ``sent``, ``failed`` or ``skipped``."""
        await self._set(notice_id, mail_state=state, mail_due_at=None, mail_error=error)

    async def counts(self) -> MailCounts:
        """How many wait and how many were given up."""
        rows = await self._session.execute(
            select(NoticeRow.mail_state, func.count())
            .where(NoticeRow.mail_state.in_(["pending", "failed"]))
            .group_by(NoticeRow.mail_state)
        )
        return MailCounts(**{str(state): count for state, count in rows})

    async def _set(self, notice_id: int, **values: object) -> None:
        await self._session.execute(
            update(NoticeRow).where(NoticeRow.notice_id == notice_id).values(**values)
        )
