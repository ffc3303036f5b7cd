"""SQL of those who are to be forgotten."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.directory.tables import ForgettingRow, PersonRow
from dachub.privacy.models import Forgetting


class ForgettingStore:
    """One row for each, until it is done."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def add(
        self, username: str, *, asked_by: str, at: datetime, reason: str, delete_home: bool
    ) -> bool:
        """Note that somebody is to be forgotten; ``False`` if that is noted already."""
        added = await self._session.scalar(
            insert(ForgettingRow)
            .values(
                username=username,
                asked_by=asked_by,
                asked_at=at,
                reason=reason,
                delete_home=delete_home,
            )
            .on_conflict_do_nothing(index_elements=["username"])
            .returning(ForgettingRow.username)
        )
        return added is not None

    async def pending(self) -> list[Forgetting]:
        """All of them, the first asked for first."""
        rows = await self._session.execute(
            select(ForgettingRow, PersonRow.disable_enforced_at)
            .join(PersonRow, PersonRow.username == ForgettingRow.username)
            .order_by(ForgettingRow.asked_at, ForgettingRow.username)
        )
        return [_forgetting(row, enforced_at) for row, enforced_at in rows]

    async def lock(self, username: str) -> Forgetting | None:
        """One of them, ours until the transaction ends; ``None`` if it is done already."""
        row = (
            await self._session.execute(
                select(ForgettingRow, PersonRow.disable_enforced_at)
                .join(PersonRow, PersonRow.username == ForgettingRow.username)
                .where(ForgettingRow.username == username)
                .with_for_update()
            )
        ).first()
        return None if row is None else _forgetting(*row)


def _forgetting(row: ForgettingRow, enforced_at: datetime | None) -> Forgetting:
    return Forgetting(
        username=row.username,
        asked_by=row.asked_by,
        asked_at=row.asked_at,
        reason=row.reason,
        delete_home=row.delete_home,
        ready=enforced_at is not None,
    )
