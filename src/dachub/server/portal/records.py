"""What downloads consist of: usage and sessions, read piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from operator import attrgetter
from typing import Any

from dachub.model.sessions import SessionRecord
from dachub.model.usage import Resource, UsageDimension, UsageRow
from dachub.server.portal.downloads import Column, Type
from dachub.server.portal.pages import Visit
from dachub.server.portal.periods import Period

SESSIONS_PER_BATCH = 1000
DAYS_PER_BATCH = 31


def _columns(types: dict[str, Type]) -> list[Column]:
    """Columns named as the attributes they hold."""
    return [Column(name, type_, attrgetter(name)) for name, type_ in types.items()]


_DIMENSIONS: dict[UsageDimension, Column] = {
    "day": Column("day", Type.DAY, attrgetter("day")),
    "user": Column("username", Type.TEXT, attrgetter("username")),
    **{
        name: Column(name, Type.TEXT, attrgetter(name))
        for name in ("group", "kind", "size", "environment", "institution")
    },
}
_AMOUNTS = [
    Column("milli_core_seconds", Type.INTEGER, attrgetter("milli_core_seconds")),
    Column("gpu_seconds", Type.INTEGER, attrgetter("gpu_seconds")),
    Column("memory_byte_seconds", Type.LARGE, attrgetter("memory_byte_seconds")),
    Column("core_hours", Type.NUMBER, lambda row: round(row.core_hours, 6)),
    Column(
        "memory_gibibyte_hours",
        Type.NUMBER,
        lambda row: round(row.memory_byte_seconds / Resource.MEMORY_HOURS.base_units, 6),
    ),
]
SESSION_COLUMNS = [
    Column("session_id", Type.TEXT, lambda session: str(session.session_id)),
    *_columns(
        {
            "export_id": Type.INTEGER,
            "username": Type.TEXT,
            "group": Type.TEXT,
            "kind": Type.TEXT,
            "server_name": Type.TEXT,
            "size": Type.TEXT,
            "environment": Type.TEXT,
            "milli_cores": Type.INTEGER,
            "memory_bytes": Type.INTEGER,
            "gpus": Type.INTEGER,
            "state": Type.TEXT,
            "requested_at": Type.MOMENT,
            "started_at": Type.MOMENT,
            "start_is_estimate": Type.FLAG,
            "ended_at": Type.MOMENT,
            "end_is_estimate": Type.FLAG,
            "end_reason": Type.TEXT,
        }
    ),
    Column("milli_core_seconds", Type.INTEGER, lambda session: round(session.core_seconds * 1000)),
    Column("core_hours", Type.NUMBER, lambda session: round(session.core_seconds / 3600, 6)),
    Column("correction", Type.TEXT, lambda session: _corrected(session, "action")),
    Column("correction_reason", Type.TEXT, lambda session: _corrected(session, "reason")),
]


def _corrected(session: SessionRecord, what: str) -> str | None:
    return None if session.correction is None else getattr(session.correction, what)


def usage_columns(dimensions: Sequence[UsageDimension]) -> list[Column]:
    """Columns of a download of usage."""
    return [*(_DIMENSIONS[dimension] for dimension in dimensions), *_AMOUNTS]


async def usage_batches(
    visit: Visit, period: Period, dimensions: Sequence[UsageDimension], **of: Any
) -> AsyncIterator[Sequence[UsageRow]]:
    """Usage, a month of days at a time where it is by day, in a transaction each.

    Parameters
    ----------
    of
        Whose; passed on to the service, which says who may see it.
    """
    step = timedelta(days=DAYS_PER_BATCH) if "day" in dimensions else period.until - period.since
    for since in _moments(period.since, min(period.until, _end(visit.now, period)), step):
        async with visit.process.factory() as factory:
            report = await factory.usage().report(
                visit.caller,
                since=since,
                until=min(since + step, period.until),
                dimensions=dimensions,
                **of,
            )
        yield report.rows


def _end(now: datetime, period: Period) -> datetime:
    """Nothing is used after now, but the first batch is always read: it says who may."""
    return max(now, period.since + timedelta(seconds=1))


def _moments(since: datetime, until: datetime, step: timedelta) -> Sequence[datetime]:
    moments = []
    while since < until:
        moments.append(since)
        since += step
    return moments


async def session_batches(
    visit: Visit, period: Period, **of: Any
) -> AsyncIterator[Sequence[SessionRecord]]:
    """Sessions that overlap a period, newest first, a thousand at a time."""
    before = None
    while True:
        async with visit.process.factory() as factory:
            found = await factory.sessions().list(
                visit.caller, since=period.since, until=period.until, before=before,
                limit=SESSIONS_PER_BATCH, **of,
            )  # fmt: skip
        yield found
        if len(found) < SESSIONS_PER_BATCH:
            return
        before = found[-1].session_id
