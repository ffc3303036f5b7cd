"""Adds and reads notices."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.notices import Notice, NoticeKind, Severity
from dachub.notices.tables import NoticeRow


class NoticeStore:
    """One row a person and matter."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self,
        usernames: Collection[str],
        *,
        key: str,
        kind: NoticeKind,
        severity: Severity,
        title: str,
        text: str,
        group: str | None,
        path: str,
        at: datetime,
    ) -> list[str]:
        """Add a notice for everybody who has none of this key; returns for whom."""
        if not usernames:
            return []
        same = {
            "key": key,
            "kind": kind.value,
            "severity": severity.value,
            "title": title,
            "text": text,
            "group": group,
            "path": path,
            "created_at": at,
        }
        added = await self._session.scalars(
            insert(NoticeRow)
            .values([{"username": username, **same} for username in sorted(usernames)])
            .on_conflict_do_nothing(index_elements=["username", "key"])
            .returning(NoticeRow.username)
        )
        return list(added)

    async def unread(self, username: str, limit: int) -> list[Notice]:
        """What a person has not read yet, newest first."""
        rows = await self._session.scalars(
            select(NoticeRow)
            .where(NoticeRow.username == username, NoticeRow.read_at.is_(None))
            .order_by(NoticeRow.notice_id.desc())
            .limit(limit)
        )
        return [_notice(row) for row in rows]


def _notice(row: NoticeRow) -> Notice:
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
