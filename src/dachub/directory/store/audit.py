"""The audit log's SQL."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, insert, select
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.directory.tables import AuditRow
from dachub.model.people import AuditEntry


class AuditStore:
    """Appends to and reads the audit log."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def append(self, values: list[dict[str, object]]) -> None:
        """Append entries; ``audit_id`` is given by the database."""
        await self._session.execute(insert(AuditRow), values)

    async def count(self, username: str, action: str, since: datetime) -> int:
        """Entries of one kind about a person after a moment."""
        counted = select(func.count()).where(
            AuditRow.username == username, AuditRow.action == action, AuditRow.at > since
        )
        return await self._session.scalar(counted) or 0

    async def since(self, moment: datetime) -> list[AuditEntry]:
        """Entries from a moment on, oldest first."""
        query = select(AuditRow).where(AuditRow.at >= moment).order_by(AuditRow.audit_id)
        return [_entry(row) for row in await self._session.scalars(query)]

    async def list(
        self,
        *,
        username: str | None,
        group: str | None,
        action: str | None,
        before: int | None,
        limit: int,
    ) -> list[AuditEntry]:
        """Newest first."""
        query = select(AuditRow).order_by(AuditRow.audit_id.desc()).limit(limit)
        if username is not None:
            query = query.where(AuditRow.username == username)
        if group is not None:
            query = query.where(AuditRow.group == group)
        if action is not None:
            query = query.where(AuditRow.action == action)
        if before is not None:
            query = query.where(AuditRow.audit_id < before)
        return [_entry(row) for row in await self._session.scalars(query)]


def _entry(row: AuditRow) -> AuditEntry:
    return AuditEntry(
        audit_id=row.audit_id,
        at=row.at,
        actor=row.actor,
        action=row.action,
        username=row.username,
        group=row.group,
        details=row.details,
        request_id=row.request_id,
    )
