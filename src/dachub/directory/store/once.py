"""SQL of what was sent once."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.directory.tables import SentRow


class OnceStore:
    """One row a key of a person."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def claim(self, username: str, key: str, contents: str, at: datetime) -> bool:
        """Whether the key is new; waits for whoever is working under it just now."""
        claimed = await self._session.scalar(
            insert(SentRow)
            .values(username=username, key=key, contents=contents, answer="", at=at)
            .on_conflict_do_nothing()
            .returning(SentRow.key)
        )
        return claimed is not None

    async def keep(self, username: str, key: str, answer: str) -> None:
        """Keep what was answered."""
        await self._session.execute(
            update(SentRow)
            .where(SentRow.username == username, SentRow.key == key)
            .values(answer=answer)
        )

    async def earlier(self, username: str, key: str) -> tuple[str, str]:
        """Contents and answer of what was sent under a key that was claimed before."""
        found = await self._session.execute(
            select(SentRow.contents, SentRow.answer).where(
                SentRow.username == username, SentRow.key == key
            )
        )
        contents, answer = found.one()
        return contents, answer
