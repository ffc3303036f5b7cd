"""When background workers last succeeded."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ColumnElement, select, true
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.models import WorkerRun
from dachub.accounting.tables import WorkerRunRow


class WorkerStore:
    """One row a worker."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def record(
        self, name: str, at: datetime, outcome: str = "", *, is_clean: bool = True
    ) -> None:
        """Note a success."""
        statement = insert(WorkerRunRow).values(
            name=name, succeeded_at=at, outcome=outcome, is_clean=is_clean
        )
        await self._session.execute(
            statement.on_conflict_do_update(
                index_elements=["name"],
                set_={
                    "succeeded_at": statement.excluded.succeeded_at,
                    "outcome": statement.excluded.outcome,
                    "is_clean": statement.excluded.is_clean,
                },
            )
        )

    async def last(self, name: str) -> WorkerRun | None:
        """The last success of a worker."""
        runs = await self._runs(WorkerRunRow.name == name)
        return runs[0] if runs else None

    async def all(self) -> list[WorkerRun]:
        """The last success of every worker, by name."""
        return await self._runs(true())

    async def _runs(self, condition: ColumnElement[bool]) -> list[WorkerRun]:
        rows = await self._session.scalars(
            select(WorkerRunRow).where(condition).order_by(WorkerRunRow.name)
        )
        return [WorkerRun(row.name, row.succeeded_at, row.outcome, row.is_clean) for row in rows]
