"""Adds and reads notices, and how people want them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnExpressionArgument, func, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.notices import Notice, NoticeCount, NoticeKind, NoticePreference, Severity
from dachub.notices.tables import NoticeRow, PreferenceRow


class NoticeStore:
    """One row a person and matter."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self,
        wishes: Collection[tuple[str, NoticePreference]],
        *,
        key: str,
        severity: Severity,
        title: str,
        text: str,
        group: str | None,
        path: str,
        at: datetime,
        mails: bool,
    ) -> list[str]:
        """Add a notice for everybody who has none of this key; returns for whom.

        ``wishes`` are the people with how they want notices of its kind.
        """
        if not wishes:
            return []
        added = await self._session.scalars(
            insert(NoticeRow)
            .on_conflict_do_nothing(index_elements=["username", "key"])
            .returning(NoticeRow.username),
            [
                {
                    "username": username,
                    "key": key,
                    "kind": wish.kind.value,
                    "severity": severity.value,
                    "title": title,
                    "text": text,
                    "group": group,
                    "path": path,
                    "created_at": at,
                    "in_portal": wish.portal,
                    "mail_state": "pending" if mails and wish.email else None,
                    "mail_due_at": at if mails and wish.email else None,
                }
                for username, wish in wishes
            ],
        )
        return sorted(added)

    async def list(
        self,
        username: str,
        *,
        unread: bool | None = None,
        severities: Collection[Severity] = tuple(Severity),
        after: int = 0,
        before: int | None = None,
        since: datetime | None = None,
        limit: int,
    ) -> list[Notice]:
        """A person's notices in the portal, newest first; ``unread`` chooses, ``None`` takes all.

        ``after`` and ``before`` are ids of notices, ``since`` is a moment.
        """
        query = (
            select(NoticeRow)
            .where(*_shown_to(username))
            .order_by(NoticeRow.notice_id.desc())
            .limit(limit)
            .execution_options(populate_existing=True)
        )
        if unread is not None:
            query = query.where(NoticeRow.read_at.is_(None) == unread)
        if len(severities) < len(Severity):
            query = query.where(NoticeRow.severity.in_([one.value for one in severities]))
        if after:
            query = query.where(NoticeRow.notice_id > after)
        if before is not None:
            query = query.where(NoticeRow.notice_id < before)
        if since is not None:
            query = query.where(NoticeRow.created_at >= since)
        return [notice_of(row) for row in await self._session.scalars(query)]

    async def count(self, username: str) -> NoticeCount:
        """How a person's notices stand; read from indexes alone."""
        unread = select(func.count()).where(*_shown_to(username), NoticeRow.read_at.is_(None))
        newest = select(func.max(NoticeRow.notice_id)).where(NoticeRow.username == username)
        row = (
            await self._session.execute(select(unread.scalar_subquery(), newest.scalar_subquery()))
        ).one()
        return NoticeCount(unread=row[0], last_id=row[1] or 0)

    async def mark_read(self, username: str, notice_id: int, at: datetime) -> bool:
        """Whether the person has such a notice; read it now has been."""
        found = await self._session.scalar(
            update(NoticeRow)
            .where(*_shown_to(username), NoticeRow.notice_id == notice_id)
            .values(read_at=func.coalesce(NoticeRow.read_at, at))
            .returning(NoticeRow.notice_id)
        )
        return found is not None

    async def mark_all_read(self, username: str, up_to: int, at: datetime) -> None:
        """Mark everything up to a notice as read."""
        await self._session.execute(
            update(NoticeRow)
            .where(
                *_shown_to(username),
                NoticeRow.read_at.is_(None),
                NoticeRow.notice_id <= up_to,
            )
            .values(read_at=at)
        )

    async def preferences(
        self, usernames: Collection[str], kind: NoticeKind | None = None
    ) -> dict[tuple[str, NoticeKind], NoticePreference]:
        """What people chose, as far as they did."""
        query = select(PreferenceRow).where(PreferenceRow.username.in_(usernames))
        if kind is not None:
            query = query.where(PreferenceRow.kind == kind.value)
        rows = await self._session.scalars(query.execution_options(populate_existing=True))
        return {
            (row.username, NoticeKind(row.kind)): NoticePreference(
                kind=NoticeKind(row.kind), portal=row.portal, email=row.email
            )
            for row in rows
        }

    async def prefer(self, username: str, wish: NoticePreference) -> None:
        """Keep what a person chose for a kind."""
        chosen = {"portal": wish.portal, "email": wish.email}
        await self._session.execute(
            insert(PreferenceRow)
            .values(username=username, kind=wish.kind.value, **chosen)
            .on_conflict_do_update(index_elements=["username", "kind"], set_=chosen)
        )


def _shown_to(username: str) -> tuple[ColumnExpressionArgument[bool], ...]:
    return NoticeRow.username == username, NoticeRow.in_portal


def notice_of(row: NoticeRow) -> Notice:
    """A row as a notice."""
    return Notice(
        notice_id=row.notice_id,
        username=row.username,
        kind=NoticeKind(row.kind),
        severity=Severity(row.severity),
        title=row.title,
        text=row.text,
        group=row.group,
        path=row.path,
        created_at=row.created_at,
        read_at=row.read_at,
    )
