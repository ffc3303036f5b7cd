"""Counts for those who watch the service."""

from __future__ import annotations

from sqlalchemy import case, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.tables import AllocationRequestRow, SessionRow, StandingRow
from dachub.model.requests import RequestState


class FigureStore:
    """One cheap statement each."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def open_sessions(self) -> dict[tuple[str, ...], int]:
        """(state, size) -> sessions that start or run."""
        state = case((SessionRow.started_at.is_(None), "requested"), else_="running")
        rows = await self._session.execute(
            select(state, SessionRow.size, func.count())
            .where(SessionRow.ended_at.is_(None))
            .group_by(state, SessionRow.size)
        )
        return {(state, size): count for state, size, count in rows}

    async def standings(self) -> dict[tuple[str, ...], int]:
        """(resource, state) -> groups that stand so with their quota."""
        rows = await self._session.execute(
            select(StandingRow.resource, StandingRow.state, func.count())
            .where(StandingRow.username == "")
            .group_by(StandingRow.resource, StandingRow.state)
        )
        return {(resource, state): count for resource, state, count in rows}

    async def open_requests(self) -> int:
        """Requests that wait for a decision."""
        waiting = select(func.count()).where(AllocationRequestRow.state == RequestState.OPEN.value)
        return await self._session.scalar(waiting) or 0
