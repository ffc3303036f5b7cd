"""Requests for more, and what was decided on them."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.requests import AllocationRequest, RequestState
from dachub.model.usage import Resource
from dachub.quota.tables import AllocationRequestRow as Row

REQUESTS_LOCK = 0x64616368756205


class RequestStore:
    """One row a request."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock_group(self, group: str) -> None:
        """Be the only one to ask for a group until the transaction ends."""
        lock = func.pg_advisory_xact_lock(func.hashtextextended(group, REQUESTS_LOCK))
        await self._session.execute(select(lock))

    async def add(
        self,
        *,
        group: str,
        resource: Resource,
        amount: int,
        own_limit: bool,
        reason: str,
        username: str,
        at: datetime,
    ) -> AllocationRequest:
        """A new request, open."""
        row = Row(
            group=group,
            resource=resource.value,
            amount=amount,
            own_limit=own_limit,
            reason=reason,
            username=username,
            created_at=at,
        )
        self._session.add(row)
        await self._session.flush()
        return _request(row)

    async def decide(
        self,
        request_id: int,
        state: RequestState,
        *,
        by: str,
        at: datetime,
        reason: str,
        granted: int | None = None,
        allocation_id: int | None = None,
    ) -> None:
        """Write down what became of a request."""
        await self._session.execute(
            update(Row)
            .where(Row.request_id == request_id)
            .values(
                state=state.value,
                decided_by=by,
                decided_at=at,
                decision_reason=reason,
                granted=granted,
                allocation_id=allocation_id,
            )
        )

    async def find(self, request_id: int, *, lock: bool = False) -> AllocationRequest | None:
        """One request; locked, it waits for who decides on it just now."""
        query = select(Row).where(Row.request_id == request_id)
        if lock:
            query = query.with_for_update()
        row = await self._session.scalar(query.execution_options(populate_existing=True))
        return None if row is None else _request(row)

    async def count_open(self, group: str | None = None) -> int:
        """How many requests, of a group or all, wait for a decision."""
        query = select(func.count()).where(Row.state == RequestState.OPEN.value)
        if group is not None:
            query = query.where(Row.group == group)
        return await self._session.scalar(query) or 0

    async def count_since(self, group: str, since: datetime) -> int:
        """How many requests of a group were made since a moment, whatever became of them."""
        return (
            await self._session.scalar(
                select(func.count()).where(Row.group == group, Row.created_at > since)
            )
            or 0
        )

    async def list(
        self,
        *,
        username: str | None,
        groups: Collection[str] | None,
        group: str | None,
        state: RequestState | None,
        own_limit: bool | None,
        before: int | None,
        limit: int,
    ) -> list[AllocationRequest]:
        """Requests, newest first: of ``username``, and all of ``groups`` (all there are: ``None``).

        ``group``, ``state`` and ``own_limit`` choose among them.
        """
        query = select(Row).order_by(Row.request_id.desc()).limit(limit)
        if groups is not None:
            query = query.where(or_(Row.username == username, Row.group.in_(groups)))
        if group is not None:
            query = query.where(Row.group == group)
        if state is not None:
            query = query.where(Row.state == state.value)
        if own_limit is not None:
            query = query.where(Row.own_limit == own_limit)
        if before is not None:
            query = query.where(Row.request_id < before)
        rows = await self._session.scalars(query.execution_options(populate_existing=True))
        return [_request(row) for row in rows]


def _request(row: Row) -> AllocationRequest:
    return AllocationRequest(
        request_id=row.request_id,
        group=row.group,
        resource=Resource(row.resource),
        amount=row.amount,
        own_limit=row.own_limit,
        reason=row.reason,
        username=row.username,
        created_at=row.created_at,
        state=RequestState(row.state),
        decided_by=row.decided_by,
        decided_at=row.decided_at,
        decision_reason=row.decision_reason,
        granted=row.granted,
        allocation_id=row.allocation_id,
    )
