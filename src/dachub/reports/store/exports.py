"""Reads and writes what was exported."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator, Collection, Sequence
from dataclasses import fields
from datetime import date, datetime
from itertools import starmap
from operator import attrgetter
from typing import Any
from uuid import UUID

from sqlalchemy import Select, and_, delete, func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.infra.bulk import copy_rows, rows_of
from dachub.model.exports import ExportFile, ExportFormat, ExportRun
from dachub.reports.models import Draft, Item
from dachub.reports.tables import ExportFileRow, ExportItemRow, ExportPartRow, ExportRunRow

AT_ONCE = 5000
"""Sessions, or what was sent of them, that are read in one go."""
_ITEM = tuple(field.name for field in fields(Item) if field.name != "run_id")
_item_columns = attrgetter(*_ITEM)


class ExportStore:
    """Runs, their files, and what was sent of each session."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def begin(self, draft: Draft, destination: str, by: str, at: datetime) -> int:
        """Record that something is going to be written; returns the run's number."""
        run_id: int | None = await self._session.scalar(
            insert(ExportRunRow)
            .values(
                format=draft.format.value,
                since=draft.since,
                until=draft.until,
                state="prepared",
                destination=destination,
                records=0,
                milli_core_seconds=0,
                exported_milli_core_seconds=0,
                prepared_at=at,
                prepared_by=by,
            )
            .returning(ExportRunRow.run_id)
        )
        assert run_id is not None  # noqa: S101  an insert that returns
        return run_id

    async def keep_part(self, run_id: int, file: int, part: int, content: bytes) -> None:
        """Keep the next part of a file."""
        await self._session.execute(
            insert(ExportPartRow).values(
                run_id=run_id,
                file=file,
                part=part,
                content=zlib.compress(content, zlib.Z_BEST_SPEED),
            )
        )

    async def keep_file(self, run_id: int, number: int, file: ExportFile) -> None:
        """Keep what a file is called, once all of its parts are there."""
        await self._session.execute(
            insert(ExportFileRow).values(run_id=run_id, number=number, **file.model_dump())
        )

    async def keep_items(
        self, run_id: int, export_format: ExportFormat, items: Sequence[Item]
    ) -> None:
        """Keep what was sent of sessions."""
        of_run = (run_id, export_format.value)
        await copy_rows(
            self._session,
            ExportItemRow,
            ("run_id", "format", *_ITEM),
            (of_run + _item_columns(item) for item in items),
        )

    async def complete(self, run_id: int, draft: Draft) -> None:
        """Record what a run came to, once all of it is kept."""
        await self._session.execute(
            update(ExportRunRow)
            .where(ExportRunRow.run_id == run_id)
            .values(
                records=draft.records,
                milli_core_seconds=draft.milli_core_seconds,
                exported_milli_core_seconds=draft.exported_milli_core_seconds,
            )
        )

    async def content(self, run_id: int, name: str) -> AsyncIterator[bytes]:
        """A file of a run that is not done yet, part by part."""
        parts = await self._session.stream_scalars(
            select(ExportPartRow.content)
            .join(
                ExportFileRow,
                and_(
                    ExportFileRow.run_id == ExportPartRow.run_id,
                    ExportFileRow.number == ExportPartRow.file,
                ),
            )
            .where(ExportPartRow.run_id == run_id, ExportFileRow.name == name)
            .order_by(ExportPartRow.part)
            .execution_options(yield_per=1)
        )
        async for part in parts:
            yield zlib.decompress(part)

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
        await self._session.execute(delete(ExportPartRow).where(ExportPartRow.run_id == run_id))

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
        rows = await self._session.execute(_sent(export_format, session_ids, (*_ITEM, "run_id")))
        found: dict[UUID, dict[date, Item]] = {}
        for item in starmap(Item, rows):
            found.setdefault(item.session_id, {})[item.month] = item
        return found

    async def sent_of(
        self, export_format: ExportFormat, session_ids: Collection[UUID]
    ) -> set[UUID]:
        """Those of some sessions of which something was sent."""
        rows = await self._session.scalars(_sent(export_format, session_ids, ["session_id"]))
        return set(rows)

    async def sent_ids(
        self, export_format: ExportFormat, first: date, last: date
    ) -> AsyncIterator[Sequence[UUID]]:
        """Sessions of which something was sent for the months from ``first`` to ``last``.

        Some at a time, in the order of their ids.
        """
        rows = await self._session.stream_scalars(
            select(ExportItemRow.session_id)
            .where(
                ExportItemRow.format == export_format.value,
                ExportItemRow.month.between(first, last),
            )
            .distinct()
            .order_by(ExportItemRow.session_id)
            .execution_options(yield_per=AT_ONCE)
        )
        async for ids in rows.partitions():
            yield ids

    async def sent_in(
        self, export_format: ExportFormat, first: date, last: date
    ) -> AsyncIterator[Sequence[Item]]:
        """What was sent for the months from ``first`` to ``last``, in the order it was sent.

        Some at a time.
        """
        rows = await self._session.stream(
            select(*(ExportItemRow.__table__.columns[name] for name in (*_ITEM, "run_id")))
            .where(
                ExportItemRow.format == export_format.value,
                ExportItemRow.month.between(first, last),
            )
            .order_by(ExportItemRow.item_id)
            .execution_options(yield_per=AT_ONCE)
        )
        async for some in rows.partitions():
            yield [Item(*row) for row in some]


def _sent(
    export_format: ExportFormat, session_ids: Collection[UUID], names: Sequence[str]
) -> Select[Any]:
    """What was sent of some sessions, in the order it was sent.

    They are looked up one by one, by their ids alone (the offset sees to it): of what was sent just
    now PostgreSQL has no statistics yet, and would rather read everything.
    """
    asked = rows_of(ExportItemRow, ["session_id"], [{"session_id": one} for one in session_ids])
    of_one = select(ExportItemRow).where(ExportItemRow.session_id == asked.c.session_id)
    sent = of_one.offset(0).lateral()
    return (
        select(*(sent.c[name] for name in names))
        .select_from(asked)
        .join(sent, sent.c.format == export_format.value)
        .order_by(sent.c.item_id)
    )


def _run(row: ExportRunRow, files: list[ExportFile]) -> ExportRun:
    return ExportRun.model_validate(
        {
            **{name: getattr(row, name) for name in ExportRun.model_fields if name != "files"},
            "files": files,
        }
    )
