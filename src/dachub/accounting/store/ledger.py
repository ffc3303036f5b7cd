"""What the ledger writes. Callers hold the ledger's lock."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from sqlalchemy import (
    ColumnElement,
    Date,
    RowMapping,
    case,
    cast,
    delete,
    func,
    insert,
    or_,
    select,
    text,
    update,
)
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.models import (
    Amounts,
    Charged,
    Counted,
    End,
    Entry,
    Life,
    Start,
    UsageDifference,
    UsageKey,
)
from dachub.accounting.store.corrections import correction_of, latest_corrections
from dachub.accounting.tables import (
    NAMED,
    NOTHING,
    CorrectionRow,
    SegmentRow,
    SessionRow,
    UsageDayRow,
    UsageGroupDayRow,
    UsageMonthRow,
    UsageSums,
)
from dachub.infra.bulk import rows_of
from dachub.infra.parts import in_parts
from dachub.model.sessions import Correction, EndReason, Kind, SessionDescription

LEDGER_LOCK = 0x64616368756201
RECONCILE_LOCK = 0x64616368756202

_FIXED = tuple(SessionDescription.model_fields)
_LIFE = (
    "started_at",
    "start_is_estimate",
    "ended_at",
    "end_reason",
    "end_is_estimate",
    "last_seen_at",
    "image_digest",
)
_RESOURCES = ("milli_cores", "memory_bytes", "gpus")
_KEY = tuple(field.name for field in fields(UsageKey))
_AMOUNTS = ("milli_core_seconds", "memory_byte_seconds", "gpu_seconds")

# What usage_day must be: every segment split at midnights (UTC) as far as it is counted. Most lie
# within a day and need no splitting. The array lets PostgreSQL expect few days, not a thousand.
_DAYS = """
    select day, s.username, s."group", s.kind, s.size, s.environment,
           sum(seconds * piece.milli_cores)::bigint as milli_core_seconds,
           sum(seconds::numeric * piece.memory_bytes) as memory_byte_seconds,
           sum(seconds * piece.gpus)::bigint as gpu_seconds
    from (
        select session_id, milli_cores, memory_bytes, gpus,
               (started_at at time zone 'UTC')::date as day,
               extract(epoch from counted_to - started_at)::bigint as seconds
        from segment
        where (started_at at time zone 'UTC')::date = (counted_to at time zone 'UTC')::date
          and {which}
      union all
        select session_id, milli_cores, memory_bytes, gpus, d::date,
               extract(epoch from least(counted_to at time zone 'UTC', d + interval '1 day')
                                  - greatest(started_at at time zone 'UTC', d))::bigint
        from segment
        cross join lateral unnest(array(select generate_series(
            date_trunc('day', started_at at time zone 'UTC'),
            counted_to at time zone 'UTC', interval '1 day'))) d
        where (started_at at time zone 'UTC')::date < (counted_to at time zone 'UTC')::date
          and {which}
    ) piece
    join session s using (session_id)
    where seconds > 0
    group by 1, 2, 3, 4, 5, 6
"""
_DAYS_OF_ALL = _DAYS.format(which="true")
_DAYS_OF_SOME = _DAYS.format(which="session_id = any(:session_ids)")
_MONTHS = """
    select date_trunc('month', day)::date as day, username, "group", kind, size, environment,
           sum(milli_core_seconds)::bigint as milli_core_seconds,
           sum(memory_byte_seconds) as memory_byte_seconds,
           sum(gpu_seconds)::bigint as gpu_seconds
    from usage_day
    group by 1, 2, 3, 4, 5, 6
"""
_GROUP_DAYS = """
    select "group", day, sum(milli_core_seconds)::bigint as milli_core_seconds,
           sum(memory_byte_seconds) as memory_byte_seconds,
           sum(gpu_seconds)::bigint as gpu_seconds
    from usage_day
    group by 1, 2
"""
_SUMS: Mapping[type[UsageSums], str] = {
    UsageDayRow: _DAYS_OF_ALL,
    UsageMonthRow: _MONTHS,
    UsageGroupDayRow: _GROUP_DAYS,
}
"""What usage is summed in, and what it must be; all but the first are sums of the first."""
# For all of the ledger at once: PostgreSQL may use more memory and helpers, and must not expect
# that looking up millions of sessions one by one is quick.
_LONG = """
    select set_config('statement_timeout', '1h', true), set_config('work_mem', '128MB', true),
           set_config('enable_nestloop', 'off', true),
           set_config('max_parallel_workers_per_gather', '2', true)
"""


class LedgerStore:
    """Sessions, segments and the sums of their usage as one."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def lock(self) -> None:
        """Be the only writer of the ledger until the transaction ends."""
        await self._session.execute(select(func.pg_advisory_xact_lock(LEDGER_LOCK)))

    async def try_lock_reconciliation(self) -> bool:
        """Whether nobody else is reconciling; held until the transaction ends."""
        return bool(
            await self._session.scalar(select(func.pg_try_advisory_xact_lock(RECONCILE_LOCK)))
        )

    async def entries(self, session_ids: Collection[UUID]) -> dict[UUID, Entry]:
        """Sessions by their id, as far as the ledger knows them."""
        if not session_ids:
            return {}
        return await self._entries(SessionRow.session_id == func.any(list(session_ids)))

    async def open_entries(self, kind: Kind) -> dict[UUID, Entry]:
        """All sessions of a kind without an end."""
        return await self._entries(SessionRow.ended_at.is_(None), SessionRow.kind == kind)

    async def uncounted(self, midnight: datetime, now: datetime) -> dict[UUID, Entry]:
        """Open sessions whose segment is counted to before ``midnight``, or into the future.

        They are described with the resources of that segment, should they have had others before.
        """
        return await self._entries(
            SegmentRow.ended_at.is_(None),
            or_(SegmentRow.counted_to < midnight, SegmentRow.counted_to > now),
            resources_of=SegmentRow,
        )

    async def named_sessions(
        self, before: datetime, limit: int, without: Collection[UUID]
    ) -> dict[UUID, str]:
        """The first sessions that ended before a moment under a person's name, with the name."""
        rows = await self._session.execute(
            select(SessionRow.session_id, SessionRow.username)
            .where(SessionRow.ended_at < before, NAMED, SessionRow.session_id.not_in(without))
            # Without an order PostgreSQL would rather read all that were renamed before.
            .order_by(SessionRow.ended_at)
            .limit(limit)
        )
        return dict(rows.all())

    async def in_parts(
        self, session_ids: Sequence[UUID], act: Callable[[Sequence[UUID]], Awaitable[None]]
    ) -> list[tuple[UUID, Exception]]:
        """Act on sessions; gives those with which it does not go, and why."""
        return await in_parts(self._session, session_ids, act)

    async def counted_of(self, session_ids: Collection[UUID]) -> dict[UsageKey, Amounts]:
        """The part of ``usage_day`` that is of these sessions."""
        rows = await self._session.execute(text(_DAYS_OF_SOME), {"session_ids": list(session_ids)})
        return {
            UsageKey(**{name: row[name] for name in _KEY}): Amounts(
                **{name: int(row[name]) for name in _AMOUNTS}
            )
            for row in rows.mappings()
        }

    async def rename(self, session_ids: Collection[UUID], names: Mapping[str, str]) -> None:
        """Put other names in the place of those in sessions; rows of sums that are zero go."""
        await self._session.execute(
            update(SessionRow)
            .where(SessionRow.session_id == func.any(list(session_ids)))
            .values(
                username=case(names, value=SessionRow.username),
                server_name="",
                image=None,
                image_digest=None,
            )
        )
        for table in (UsageDayRow, UsageMonthRow):
            await self._session.execute(delete(table).where(table.username.in_(names), NOTHING))

    async def _entries(
        self,
        *conditions: ColumnElement[bool],
        resources_of: type[SessionRow | SegmentRow] = SessionRow,
    ) -> dict[UUID, Entry]:
        columns = dict(SessionRow.__table__.columns)
        columns |= {name: resources_of.__table__.columns[name] for name in _RESOURCES}
        correction = latest_corrections()
        rows = await self._session.execute(
            select(
                *(columns[name] for name in (*_FIXED, *_LIFE)),
                SegmentRow.segment_id,
                SegmentRow.started_at.label("counted_since"),
                SegmentRow.counted_to,
                *(column for column in correction.c if column.name != "session_id"),
            )
            .outerjoin(SegmentRow, SegmentRow.session_id == SessionRow.session_id)
            .outerjoin(correction, correction.c.session_id == SessionRow.session_id)
            .where(*conditions)
        )
        return {row["session_id"]: _entry(row) for row in rows.mappings()}

    async def count_segments(self, session_id: UUID) -> int:
        """How many segments a session has."""
        counted = select(func.count()).where(SegmentRow.session_id == session_id)
        return await self._session.scalar(counted) or 0

    async def add_correction(self, session_id: UUID, correction: Correction) -> None:
        """Append a correction; the segments are left to the caller."""
        await self._session.execute(
            insert(CorrectionRow).values(session_id=session_id, **correction.model_dump())
        )

    async def add(self, entries: Sequence[Entry]) -> None:
        """Add sessions the ledger does not know."""
        await self._write_sessions(entries, new=True)

    async def change(self, entries: Sequence[Entry]) -> None:
        """Write what is now known of the lives of known sessions."""
        await self._write_sessions(entries, new=False)

    async def _write_sessions(self, entries: Sequence[Entry], *, new: bool) -> None:
        if not entries:
            return
        records = [
            {**_fixed_columns(entry.description), **_life_columns(entry.life)} for entry in entries
        ]
        if new:
            names = (*_FIXED, *_LIFE)
            table = rows_of(SessionRow, names, records)
            await self._session.execute(insert(SessionRow).from_select(list(names), select(table)))
            return
        table = rows_of(SessionRow, ("session_id", *_LIFE), records)
        await self._session.execute(
            update(SessionRow)
            .where(SessionRow.session_id == table.c.session_id)
            .values({name: table.c[name] for name in _LIFE})
            .execution_options(synchronize_session=False)
        )

    async def put_segments(self, entries: Sequence[Entry]) -> None:
        """Write the segments of sessions that have started; those without an id are added."""
        for new in (True, False):
            records = [
                _segment_columns(entry, charged, entry.counted)
                for entry in entries
                if (charged := entry.charged) is not None
                and entry.counted is not None
                and (entry.segment_id is None) is new
            ]
            if not records:
                continue
            if new:
                names = [name for name in records[0] if name != "segment_id"]
                table = rows_of(SegmentRow, names, records)
                await self._session.execute(insert(SegmentRow).from_select(names, select(table)))
                continue
            names = ["segment_id", "started_at", "ended_at", "counted_to"]
            table = rows_of(SegmentRow, names, records)
            await self._session.execute(
                update(SegmentRow)
                .where(SegmentRow.segment_id == table.c.segment_id)
                .values({name: table.c[name] for name in names[1:]})
                .execution_options(synchronize_session=False)
            )

    async def add_usage(self, deltas: Mapping[UsageKey, Amounts]) -> None:
        """Add to all sums; amounts may be negative."""
        records = [
            {
                **{name: getattr(key, name) for name in _KEY},
                **{name: getattr(amounts, name) for name in _AMOUNTS},
            }
            for key, amounts in sorted(deltas.items())
        ]
        if not records:
            return
        names = list(records[0])
        new = rows_of(UsageDayRow, names, records)
        month = cast(func.date_trunc("month", new.c.day), Date)
        for table, day in ((UsageDayRow, new.c.day), (UsageMonthRow, month),
                           (UsageGroupDayRow, new.c.day)):  # fmt: skip
            kept_by = _key(table)
            key = [day if name == "day" else new.c[name] for name in kept_by]
            sums = select(*key, *(func.sum(new.c[name]) for name in _AMOUNTS)).group_by(*key)
            statement = upsert(table).from_select([*kept_by, *_AMOUNTS], sums)
            columns = table.__table__.columns
            await self._session.execute(
                statement.on_conflict_do_update(
                    index_elements=kept_by,
                    set_={name: columns[name] + statement.excluded[name] for name in _AMOUNTS},
                )
            )

    async def rebuild_usage(self) -> int:
        """Replace the sums by what the segments say; returns the number of days' rows."""
        await self._session.execute(text(_LONG))
        counts = []
        for table, expected in _SUMS.items():
            await self._session.execute(delete(table))
            columns = ", ".join(map(_quoted, (*_key(table), *_AMOUNTS)))
            # In the order in which they grow, so that the rows of a period lie side by side.
            made = await self._session.execute(
                text(f"insert into {table.__tablename__} ({columns}) {expected} order by day")
            )
            counts.append(int(getattr(made, "rowcount", 0)))
        return counts[0]

    async def usage_differences(self) -> list[UsageDifference]:
        """Days that differ from what the segments say, and months from what the days say."""
        await self._session.execute(text(_LONG))
        return [difference for table in _SUMS for difference in await self._differences(table)]

    async def _differences(self, table: type[UsageSums]) -> list[UsageDifference]:
        key = ", ".join(map(_quoted, _key(table)))
        rows = await self._session.execute(
            text(f"""
            with expected as ({_SUMS[table]})
            select {key},
                   coalesce(c.milli_core_seconds, 0) as counted,
                   coalesce(e.milli_core_seconds, 0) as expected
            from expected e full join {table.__tablename__} c using ({key})
            where (coalesce(c.milli_core_seconds, 0), coalesce(c.memory_byte_seconds, 0),
                   coalesce(c.gpu_seconds, 0))
               is distinct from
                  (coalesce(e.milli_core_seconds, 0), coalesce(e.memory_byte_seconds, 0),
                   coalesce(e.gpu_seconds, 0))
            order by {key}
            """)  # noqa: S608 - nothing from outside is put in
        )
        return [
            UsageDifference(
                table.__tablename__,
                UsageKey(**{name: row.get(name, "") for name in _KEY}),
                row["counted"],
                row["expected"],
            )
            for row in rows.mappings()
        ]


def _key(table: type[UsageSums]) -> list[str]:
    """What a table of sums is kept by."""
    return [column.name for column in table.__table__.primary_key]


def _quoted(name: str) -> str:
    return f'"{name}"'


def _entry(row: RowMapping) -> Entry:
    fixed = {name: row[name] for name in _FIXED}
    started_at, ended_at = _utc(row["started_at"]), _utc(row["ended_at"])
    counted_since, counted_to = _utc(row["counted_since"]), _utc(row["counted_to"])
    return Entry(
        # Checked when it came in.
        description=SessionDescription.model_construct(
            **{**fixed, "kind": Kind(row["kind"]), "requested_at": _utc(row["requested_at"])}
        ),
        life=Life(
            Start(started_at, row["start_is_estimate"]) if started_at else None,
            End(ended_at, EndReason(row["end_reason"]), row["end_is_estimate"])
            if ended_at
            else None,
            _utc(row["last_seen_at"]),
            row["image_digest"],
        ),
        correction=correction_of(row),
        stored=True,
        segment_id=row["segment_id"],
        counted=Counted(counted_since, counted_to) if counted_since and counted_to else None,
    )


def _utc(moment: datetime | None) -> datetime | None:
    return None if moment is None else moment.astimezone(UTC)


def _fixed_columns(description: SessionDescription) -> dict[str, Any]:
    columns = {name: getattr(description, name) for name in _FIXED}
    return {**columns, "kind": description.kind.value}


def _life_columns(life: Life) -> dict[str, Any]:
    start, end = life.start, life.end
    return {
        "started_at": start and start.at,
        "start_is_estimate": bool(start and start.is_estimate),
        "ended_at": end and end.at,
        "end_reason": end and end.reason.value,
        "end_is_estimate": bool(end and end.is_estimate),
        "last_seen_at": life.seen_at,
        "image_digest": life.image_digest,
    }


def _segment_columns(entry: Entry, charged: Charged, counted: Counted) -> dict[str, Any]:
    return {
        "segment_id": entry.segment_id,
        "session_id": entry.description.session_id,
        "started_at": counted.since,
        "ended_at": charged.until,
        "counted_to": counted.until,
        "milli_cores": entry.description.milli_cores,
        "memory_bytes": entry.description.memory_bytes,
        "gpus": entry.description.gpus,
    }
