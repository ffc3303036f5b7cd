"""Reads sessions, and when the platform is to stop them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from dataclasses import fields
from datetime import datetime
from itertools import groupby
from operator import itemgetter
from typing import Any, Literal
from uuid import UUID

from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Select,
    and_,
    case,
    cast,
    func,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
    update,
)
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.models import ChargedSession, Segment
from dachub.accounting.store.corrections import correction_of, latest_corrections
from dachub.accounting.tables import LONG, LONG_FROM, NAMED, SegmentRow, SessionRow
from dachub.infra.bulk import rows_of
from dachub.model.sessions import Correction, CorrectionAction, EndReason, SessionRecord
from dachub.model.units import core_seconds

State = Literal["requested", "running", "ended"]

AT_ONCE = 5000
"""Sessions that are read in one go where all of a period are wanted."""
SCHEDULED = (
    EndReason.LEFT_GROUP,
    EndReason.DISABLED,
    EndReason.QUOTA,
    EndReason.MAINTENANCE,
)

_SEGMENT = tuple(field.name for field in fields(Segment))
_END = ("ended_at", "end_reason", "stop_due_at", "stop_due_reason")
_OF_MAINTENANCE = {
    "stop_due_at": SessionRow.maintenance_at,
    "stop_due_reason": case(
        (SessionRow.maintenance_at.is_not(None), EndReason.MAINTENANCE), else_=None
    ),
}
_TOLD = tuple(
    field.name for field in fields(ChargedSession) if field.name not in ("end_reason", "segments")
)
_STATES: dict[State, ColumnElement[bool]] = {
    "requested": and_(SessionRow.started_at.is_(None), SessionRow.ended_at.is_(None)),
    "running": and_(SessionRow.started_at.is_not(None), SessionRow.ended_at.is_(None)),
    "ended": SessionRow.ended_at.is_not(None),
}


class SessionStore:
    """Sessions as records."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def records(
        self,
        *,
        now: datetime,
        username: str | None = None,
        group: str | None = None,
        state: State | None = None,
        since: datetime | None = None,
        until: datetime | None = None,
        before: UUID | None = None,
        largest_first: bool = False,
        limit: int | None = None,
    ) -> list[SessionRecord]:
        """Sessions, newest or largest first, that overlap [since, until)."""
        found = _select(now)
        if username is not None:
            found = found.where(SessionRow.username == username)
        if group is not None:
            found = found.where(SessionRow.group == group)
        if state is not None:
            found = found.where(_STATES[state])
        if since is not None:
            found = found.where(
                SessionRow.requested_at >= await self._earliest(since),
                or_(SessionRow.ended_at.is_(None), SessionRow.ended_at > since),
            )
        if until is not None:
            found = found.where(SessionRow.requested_at < until)
        if before is not None:
            here = select(SessionRow.requested_at, SessionRow.session_id)
            found = found.where(
                tuple_(SessionRow.requested_at, SessionRow.session_id)
                < here.where(SessionRow.session_id == before).scalar_subquery()
            )
        if largest_first:
            found = found.order_by(literal_column("milli_core_seconds").desc())
        return await self._fetch(
            found.order_by(SessionRow.requested_at.desc(), SessionRow.session_id.desc()).limit(
                limit
            )
        )

    async def _earliest(self, since: datetime) -> datetime:
        """A moment before which no session was requested that had not ended by ``since``.

        With it sessions of a period are found by when they were requested, and older ones not read.
        PostgreSQL would read them in that order for the first, too (the offset keeps it from that).
        """
        requested = select(SessionRow.requested_at)
        still_there = union_all(
            requested.where(SessionRow.ended_at.is_(None)),
            requested.where(SessionRow.ended_at > since, LONG),
        )
        found: datetime | None = await self._session.scalar(
            select(func.min(still_there.offset(0).subquery().c.requested_at))
        )
        earliest = since - LONG_FROM
        return earliest if found is None else min(earliest, found)

    async def overlapping(self, since: datetime, until: datetime) -> AsyncIterator[Sequence[UUID]]:
        """Sessions with charged time in [since, until), some at a time, in the order of ids."""
        found = await self._session.stream_scalars(
            select(SegmentRow.session_id)
            .where(_overlaps(since, until))
            .distinct()
            .order_by(SegmentRow.session_id)
            .execution_options(yield_per=AT_ONCE)
        )
        async for ids in found.partitions():
            yield ids

    async def count_overlapping(self, since: datetime, until: datetime) -> int:
        """How many sessions have charged time in [since, until)."""
        counted = select(func.count(SegmentRow.session_id.distinct()))
        return await self._session.scalar(counted.where(_overlaps(since, until))) or 0

    async def by_ids(self, session_ids: Collection[UUID], now: datetime) -> list[SessionRecord]:
        """Some sessions, in the order of their numbers."""
        return await self._fetch(
            _select(now)
            .where(SessionRow.session_id == func.any(list(session_ids)))
            .order_by(SessionRow.export_id)
        )

    async def charged(self, session_ids: Collection[UUID]) -> list[ChargedSession]:
        """Those of some sessions that started, in the order of their ids."""
        # Looked up one by one: in an array so long PostgreSQL sees a reason to read everything.
        asked = rows_of(SessionRow, ["session_id"], [{"session_id": one} for one in session_ids])
        session, segment = SessionRow.__table__, SegmentRow.__table__
        rows = await self._session.execute(
            select(
                *(session.c[name] for name in (*_TOLD, *_END)),
                *(segment.c[name] for name in _SEGMENT),
            )
            .select_from(asked)
            .join(session, session.c.session_id == asked.c.session_id)
            .join(segment, segment.c.session_id == session.c.session_id)
            .order_by(session.c.session_id, segment.c.started_at, segment.c.segment_id)
        )
        of_each = groupby(rows, itemgetter(0))
        return [_charged([*of_one]) for _, of_one in of_each]

    async def find(self, session_id: UUID, now: datetime) -> SessionRecord | None:
        """One session."""
        found = await self._fetch(_select(now).where(SessionRow.session_id == session_id))
        return found[0] if found else None

    async def due_for_stop(self, now: datetime) -> list[SessionRecord]:
        """Open sessions whose time to be stopped has come."""
        return await self._fetch(
            _select(now)
            .where(SessionRow.ended_at.is_(None), SessionRow.stop_due_at <= now)
            .order_by(SessionRow.stop_due_at)
        )

    async def stopped(
        self, reason: EndReason, since: datetime, now: datetime
    ) -> list[SessionRecord]:
        """Sessions of people with names that were stopped for a reason and ended after a moment."""
        found = await self._fetch(
            _select(now)
            .where(NAMED, SessionRow.ended_at > since, SessionRow.stop_due_reason == reason)
            .order_by(SessionRow.ended_at, SessionRow.session_id)
        )
        return [session for session in found if session.end_reason is reason]

    async def count_open(self) -> dict[tuple[str, ...], int]:
        """(state, size) -> sessions that start or run."""
        state = case((SessionRow.started_at.is_(None), "requested"), else_="running")
        rows = await self._session.execute(
            select(state, SessionRow.size, func.count())
            .where(SessionRow.ended_at.is_(None))
            .group_by(state, SessionRow.size)
        )
        return {(state, size): count for state, size, count in rows}

    async def arrived(self, session_ids: Collection[UUID]) -> frozenset[UUID]:
        """Those of some ids that there are."""
        found = await self._session.scalars(
            select(SessionRow.session_id).where(
                SessionRow.session_id == func.any(list(session_ids))
            )
        )
        return frozenset(found)

    async def open_milli_cores(self) -> dict[str, int]:
        """Group -> milli-cores of its sessions that start or run."""
        rows = await self._session.execute(
            select(SessionRow.group, func.sum(SessionRow.milli_cores))
            .where(SessionRow.ended_at.is_(None))
            .group_by(SessionRow.group)
        )
        return {group: int(milli_cores) for group, milli_cores in rows}

    async def schedule_stop(
        self, session_id: UUID, at: datetime | None, reason: str | None
    ) -> bool:
        """Set or lift the moment an open session is to be stopped; whether there is such a one.

        Lifted, it is that of its machine's maintenance, where that is due.
        """
        if at is None:
            return await self._change_stop(session_id, **_OF_MAINTENANCE)
        return await self._change_stop(session_id, stop_due_at=at, stop_due_reason=reason)

    async def schedule_maintenance(self, session_id: UUID, at: datetime | None) -> bool:
        """Set or lift when its machine is taken out of service; the earlier stop holds."""
        found = await self._change_stop(session_id, maintenance_at=at)
        gives_way = or_(
            SessionRow.stop_due_at.is_(None),
            SessionRow.stop_due_reason == EndReason.MAINTENANCE,
            SessionRow.stop_due_at > SessionRow.maintenance_at,
        )
        await self._session.execute(
            update(SessionRow)
            .where(SessionRow.session_id == session_id, SessionRow.ended_at.is_(None), gives_way)
            .values(**_OF_MAINTENANCE)
        )
        return found

    async def _change_stop(self, session_id: UUID, **values: Any) -> bool:
        changed = await self._session.execute(
            update(SessionRow)
            .where(SessionRow.session_id == session_id, SessionRow.ended_at.is_(None))
            .values(**values)
            .returning(SessionRow.session_id)
        )
        return changed.first() is not None

    async def _fetch(self, statement: Select[Any]) -> list[SessionRecord]:
        rows = await self._session.execute(statement)
        return [_record(row) for row in rows.mappings()]


def _overlaps(since: datetime, until: datetime) -> ColumnElement[bool]:
    span = func.tstzrange(SegmentRow.started_at, SegmentRow.ended_at)
    return span.op("&&")(func.tstzrange(since, until))


def _select(now: datetime) -> Select[Any]:
    length = func.extract("epoch", func.coalesce(SegmentRow.ended_at, now) - SegmentRow.started_at)
    used = (
        select(
            func.coalesce(
                func.sum(SegmentRow.milli_cores * func.greatest(0, cast(length, BigInteger))), 0
            )
        )
        .where(SegmentRow.session_id == SessionRow.session_id)
        .scalar_subquery()
    )
    correction = latest_corrections()
    return select(
        *SessionRow.__table__.columns,
        used.label("milli_core_seconds"),
        *(column for column in correction.c if column.name != "session_id"),
    ).outerjoin(correction, correction.c.session_id == SessionRow.session_id)


def _end_reason(row: Mapping[Any, Any]) -> str | None:
    """The hub tells of a stop; if it was one the service had scheduled, why is known here."""
    reason: str | None = row["end_reason"]
    if (
        reason == EndReason.STOPPED
        and row["stop_due_reason"] in SCHEDULED
        and row["ended_at"] >= row["stop_due_at"].replace(microsecond=0)  # ends are whole seconds
    ):
        return str(row["stop_due_reason"])
    return reason


def _charged(rows: Sequence[Sequence[Any]]) -> ChargedSession:
    """One session from the rows of its segments: what it was, how it ended, the segment."""
    row = rows[0]
    ended = len(_TOLD)
    reason = _end_reason(dict(zip(_END, row[ended : -len(_SEGMENT)], strict=True)))
    told = (
        *row[:ended],
        None if reason is None else EndReason(reason),
        [Segment(*one[-len(_SEGMENT) :]) for one in rows],
    )
    return ChargedSession(*told)


def _record(row: Mapping[str, Any]) -> SessionRecord:
    state: State = "requested"
    if row["ended_at"] is not None:
        state = "ended"
    elif row["started_at"] is not None:
        state = "running"
    correction = correction_of(row)
    values = {**row, "correction": correction}
    if correction is not None and correction.action is CorrectionAction.AMEND:
        values |= _amended(row, correction)
    started_at, ended_at = values["started_at"], values["ended_at"]
    # The row keeps what was reported; a clock that ran backwards makes no negative time.
    if started_at is not None and ended_at is not None and ended_at < started_at:
        values |= {"ended_at": started_at, "end_is_estimate": True}
    return SessionRecord.model_validate(
        {
            **values,
            "end_reason": _end_reason(row),
            "state": state,
            "core_seconds": core_seconds(int(row["milli_core_seconds"])),
        }
    )


def _amended(row: Mapping[str, Any], correction: Correction) -> dict[str, Any]:
    """What a correction says instead of the row; what it leaves open stays as reported."""
    values: dict[str, Any] = {}
    if correction.started_at is not None:
        values |= {
            "started_at": correction.started_at,
            "start_is_estimate": False,
            "reported_started_at": row["started_at"],
        }
    if correction.ended_at is not None and row["ended_at"] is not None:
        values |= {
            "ended_at": correction.ended_at,
            "end_is_estimate": False,
            "reported_ended_at": row["ended_at"],
        }
    return values
