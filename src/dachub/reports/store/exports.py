"""Reads and writes what was exported."""

from __future__ import annotations

import zlib
from collections.abc import Collection, Sequence
from datetime import date, datetime
from uuid import UUID

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.exports import ExportFile, ExportFormat, ExportRun
from dachub.reports.models import Draft, DraftFile, Item
from dachub.reports.tables import ExportFileRow, ExportItemRow, ExportRunRow

ITEMS_AT_ONCE = 2000


class ExportStore:
    """Runs, their files, and what was sent of each session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def prepare(self, draft: Draft, destination: str, by: str, at: datetime) -> int:
        """Record what is going to be written; returns the run's number."""
        run_id: int | None = await self._session.scalar(
            insert(ExportRunRow)
            .values(
                format=draft.format.value,
                since=draft.since,
                until=draft.until,
                state="prepared",
                destination=destination,
                records=draft.records,
                milli_core_seconds=draft.milli_core_seconds,
                exported_milli_core_seconds=draft.exported_milli_core_seconds,
                prepared_at=at,
                prepared_by=by,
            )
            .returning(ExportRunRow.run_id)
        )
        assert run_id is not None  # noqa: S101  an insert that returns
        for file in draft.files:
            await self._session.execute(
                insert(ExportFileRow).values(
                    run_id=run_id,
                    name=file.name,
                    size_bytes=len(file.content),
                    sha256=file.sha256,
                    content=zlib.compress(file.content),
                )
            )
        for first in range(0, len(draft.items), ITEMS_AT_ONCE):
            await self._session.execute(
                insert(ExportItemRow),
                [
                    {
                        "run_id": run_id,
                        "format": draft.format.value,
                        "session_id": item.session_id,
                        "month": item.month,
                        "status": item.status,
                        "started_at": item.started_at,
                        "measured_at": item.measured_at,
                        "seconds": item.seconds,
                        "milli_core_seconds": item.milli_core_seconds,
                        "sha256": item.sha256,
                    }
                    for item in draft.items[first : first + ITEMS_AT_ONCE]
                ],
            )
        return run_id

    async def contents(self, run_id: int) -> list[DraftFile]:
        """Files of a run that is not done yet."""
        rows = await self._session.scalars(
            select(ExportFileRow)
            .where(ExportFileRow.run_id == run_id, ExportFileRow.content.is_not(None))
            .order_by(ExportFileRow.name)
        )
        return [DraftFile(row.name, zlib.decompress(row.content or b"")) for row in rows]

    async def move(self, run_id: int, destination: str, name: str | None) -> None:
        """Have a prepared run written elsewhere; its only file perhaps under another name."""
        await self._session.execute(
            update(ExportRunRow)
            .where(ExportRunRow.run_id == run_id)
            .values(destination=destination)
        )
        if name is not None:
            await self._session.execute(
                update(ExportFileRow).where(ExportFileRow.run_id == run_id).values(name=name)
            )

    async def conclude(self, run_id: int, at: datetime) -> None:
        """Note that all files are where they belong."""
        await self._session.execute(
            update(ExportRunRow)
            .where(ExportRunRow.run_id == run_id)
            .values(state="done", done_at=at)
        )
        await self._session.execute(
            update(ExportFileRow).where(ExportFileRow.run_id == run_id).values(content=None)
        )

    async def runs(
        self,
        *,
        export_format: ExportFormat | None = None,
        state: str | None = None,
        run_id: int | None = None,
        limit: int | None = None,
    ) -> list[ExportRun]:
        """Runs, newest first."""
        found = select(ExportRunRow).order_by(ExportRunRow.run_id.desc()).limit(limit)
        if export_format is not None:
            found = found.where(ExportRunRow.format == export_format.value)
        if state is not None:
            found = found.where(ExportRunRow.state == state)
        if run_id is not None:
            found = found.where(ExportRunRow.run_id == run_id)
        rows = list(await self._session.scalars(found))
        files: dict[int, list[ExportFile]] = {}
        kept = await self._session.execute(
            select(
                ExportFileRow.run_id,
                ExportFileRow.name,
                ExportFileRow.size_bytes,
                ExportFileRow.sha256,
            )
            .where(ExportFileRow.run_id.in_([row.run_id for row in rows]))
            .order_by(ExportFileRow.name)
        )
        for file in kept.mappings():
            files.setdefault(file["run_id"], []).append(ExportFile.model_validate(dict(file)))
        return [_run(row, files.get(row.run_id, [])) for row in rows]

    async def first_since(self, export_format: ExportFormat) -> datetime | None:
        """From when on anything was exported in a format."""
        return await self._session.scalar(
            select(func.min(ExportRunRow.since)).where(ExportRunRow.format == export_format.value)
        )

    async def sent(
        self, export_format: ExportFormat, session_ids: Collection[UUID]
    ) -> dict[UUID, dict[date, Item]]:
        """What was last sent of these sessions, by the first day of its month."""
        rows = await self._session.scalars(
            select(ExportItemRow)
            .where(
                ExportItemRow.format == export_format.value,
                ExportItemRow.session_id == func.any(list(session_ids)),
            )
            .order_by(ExportItemRow.item_id)
        )
        found: dict[UUID, dict[date, Item]] = {}
        for item in map(_item, rows):
            found.setdefault(item.session_id, {})[item.month] = item
        return found

    async def sent_ids(self, export_format: ExportFormat, first: date, last: date) -> set[UUID]:
        """Sessions of which something was sent for the months from ``first`` to ``last``."""
        rows = await self._session.scalars(
            select(ExportItemRow.session_id).where(
                ExportItemRow.format == export_format.value,
                ExportItemRow.month.between(first, last),
            )
        )
        return set(rows)

    async def sent_in(self, export_format: ExportFormat, first: date, last: date) -> Sequence[Item]:
        """What was sent for the months from ``first`` to ``last``, in the order it was sent."""
        rows = await self._session.scalars(
            select(ExportItemRow)
            .where(
                ExportItemRow.format == export_format.value,
                ExportItemRow.month.between(first, last),
            )
            .order_by(ExportItemRow.item_id)
        )
        return [_item(row) for row in rows]


def _run(row: ExportRunRow, files: list[ExportFile]) -> ExportRun:
    return ExportRun.model_validate(
        {
            **{name: getattr(row, name) for name in ExportRun.model_fields if name != "files"},
            "files": files,
        }
    )


def _item(row: ExportItemRow) -> Item:
    return Item(
        session_id=row.session_id,
        month=row.month,
        status=row.status,
        started_at=row.started_at,
        measured_at=row.measured_at,
        seconds=row.seconds,
        milli_core_seconds=row.milli_core_seconds,
        sha256=row.sha256,
        run_id=row.run_id,
    )
