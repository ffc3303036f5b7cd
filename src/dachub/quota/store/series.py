"""Series of allocations."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime

from sqlalchemy import ColumnElement, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.allocations import AllocationSeries
from dachub.quota.tables import SeriesRow

SERIES_LOCK = 0x64616368756203


class SeriesStore:
    """Adds and ends series; none is ever removed."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self) -> None:
        """Be the only one to make the allocations of series until the transaction ends."""
        await self._session.execute(select(func.pg_advisory_xact_lock(SERIES_LOCK)))

    async def add(self, series: AllocationSeries) -> AllocationSeries:
        """A new series; its id is drawn."""
        values = series.model_dump(exclude={"series_id"}) | {"policy": series.policy.said()}
        found = await self._session.scalar(
            insert(SeriesRow)
            .values(**values | {"resource": series.resource.value, "every": series.every.value})
            .returning(SeriesRow.series_id)
        )
        return series.model_copy(update={"series_id": found})

    async def end(self, series_id: int, until: datetime, *, by: str, reason: str) -> None:
        """Let no period begin at ``until`` or later."""
        await self._session.execute(
            update(SeriesRow)
            .where(SeriesRow.series_id == series_id)
            .values(until=until, ended_by=by, end_reason=reason)
        )

    async def find(self, series_id: int) -> AllocationSeries | None:
        """One series."""
        found = await self._fetch(SeriesRow.series_id == series_id)
        return found[0] if found else None

    async def of_groups(self, groups: Collection[str] | None) -> list[AllocationSeries]:
        """Series of groups (all: ``None``), by group and the order they were added in."""
        return await self._fetch(*(() if groups is None else (SeriesRow.group.in_(groups),)))

    async def _fetch(self, *conditions: ColumnElement[bool]) -> list[AllocationSeries]:
        rows = await self._session.execute(
            select(*SeriesRow.__table__.columns)
            .where(*conditions)
            .order_by(SeriesRow.group, SeriesRow.series_id)
        )
        return [AllocationSeries.model_validate(dict(row)) for row in rows.mappings()]
