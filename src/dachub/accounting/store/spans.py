"""What groups and people used in many spans at once, and what they run: quotas rest on it."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, Select, String, bindparam, func, literal_column, select, text, true
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.models import Rate, Span
from dachub.accounting.store.usage import Cut
from dachub.accounting.tables import SegmentRow, SessionRow
from dachub.model.units import day_start
from dachub.model.usage import Usage

_GROUPS = bindparam("groups", type_=ARRAY(String))

# Whole days come from their sums, of persons with whole months before them; what these do not hold
# yet of open segments, and the edges of spans that are no whole days, from the segments. A span
# that ends now has no edge there: nothing lies behind it, so today's row is taken as it is.
# Lateral, so that each stretch is looked up in the index: PostgreSQL cannot tell how few rows lie
# between two dates, nor how many sessions run. All parts in one parameter: about a JSON text it
# expects the same each time, so that it plans this once for a connection; planning took as long as
# answering.
_USED = text("""
with part as materialized (
    select id, sums, "group", username, since, until,
           (since at time zone 'UTC')::date as since_day,
           (until at time zone 'UTC')::date as until_day
    from jsonb_to_recordset(cast(:parts as jsonb))
         as part(id int, sums text, "group" text, username text,
                 since timestamptz, until timestamptz)
), running as materialized (
    select s."group", s.username, g.*
    from session s
    cross join lateral (
        select counted_to, milli_cores, memory_bytes, gpus from segment
        where session_id = s.session_id and ended_at is null offset 0) g
    where s.ended_at is null and s."group" in (select "group" from part)
), piece as (
    select part.id, g.milli_cores, g.memory_bytes, g.gpus,
           greatest(g.started_at, part.since) as since,
           least(coalesce(g.ended_at, :now), part.until) as until
    from part
    cross join lateral (
        select * from segment
        where tstzrange(started_at, ended_at) && tstzrange(part.since, part.until) offset 0) g
    join session s on s.session_id = g.session_id and s."group" = part."group"
                      and (part.username is null or s.username = part.username)
    where part.sums = 'edge'
  union all
    select part.id, running.milli_cores, running.memory_bytes, running.gpus,
           greatest(running.counted_to, part.since), least(:now, part.until)
    from running
    join part on part.sums = 'open' and running."group" = part."group"
                 and (part.username is null or running.username = part.username)
), used as (
    select id, seconds * milli_cores as milli_core_seconds,
           seconds * memory_bytes as memory_byte_seconds, seconds * gpus as gpu_seconds
    from piece
    cross join lateral (select greatest(0, extract(epoch from until - since)) as seconds) length
  union all
    select id, kept.* from part cross join lateral (
        select sum(milli_core_seconds), sum(memory_byte_seconds), sum(gpu_seconds)
        from usage_group_day u
        where u."group" = part."group" and u.day >= since_day and u.day < until_day) kept
    where part.sums = 'group-days'
  union all
    select id, kept.* from part cross join lateral (
        select sum(milli_core_seconds), sum(memory_byte_seconds), sum(gpu_seconds)
        from usage_day u
        where u."group" = part."group" and u.day >= since_day and u.day < until_day
              and u.username = part.username) kept
    where part.sums = 'days'
  union all
    select id, kept.* from part cross join lateral (
        select sum(milli_core_seconds), sum(memory_byte_seconds), sum(gpu_seconds)
        from usage_month u
        where u."group" = part."group" and u.day >= since_day and u.day < until_day
              and u.username = part.username) kept
    where part.sums = 'months'
)
select id, coalesce(sum(milli_core_seconds), 0)::bigint as milli_core_seconds,
       coalesce(sum(memory_byte_seconds), 0)::numeric(38, 0) as memory_byte_seconds,
       coalesce(sum(gpu_seconds), 0)::bigint as gpu_seconds
from used group by id
""")


class SpanStore:
    """Reads for many groups in one statement."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def used(self, spans: Sequence[Span], now: datetime) -> list[Usage]:
        """Usage in each span, open sessions counted to ``now``."""
        parts = [part for i, span in enumerate(spans) for part in _parts(i, span, now)]
        if not parts:
            return [Usage() for _ in spans]
        rows = await self._session.execute(_USED, {"now": now, "parts": json.dumps(parts)})
        found = {row["id"]: Usage.model_validate(dict(row)) for row in rows.mappings()}
        return [found.get(i, Usage()) for i in range(len(spans))]

    async def rates(self, groups: Collection[str] | None) -> list[Rate]:
        """What people run at the moment on groups (all: ``None``)."""
        rows = await self._session.execute(
            _running(of_all=groups is None), {"groups": list(groups or ())}
        )
        return [Rate(**row) for row in rows.mappings()]


@cache
def _running(*, of_all: bool) -> Select[*tuple[Any, ...]]:
    """Made once, and of tables: all that is done in making it costs more than asking."""
    sessions, segments = SessionRow.__table__.c, SegmentRow.__table__.c
    key = [sessions.group, sessions.username]
    # Lateral as in what is used.
    segment = (
        select(segments.milli_cores, segments.memory_bytes, segments.gpus)
        .where(segments.session_id == sessions.session_id, segments.ended_at.is_(None))
        .offset(literal_column("0"))
        .lateral()
    )
    found = (
        select(*key, *(func.sum(column).label(column.name) for column in segment.c))
        .join_from(SessionRow.__table__, segment, true())
        .where(sessions.ended_at.is_(None))
        .group_by(*key)
    )
    return found if of_all else found.where(sessions.group == func.any(_GROUPS))


def _parts(i: int, span: Span, now: datetime) -> Iterator[dict[str, object]]:
    """What to add up for the span of this number, and from what."""
    until = span.until if span.until < now else day_start(now) + timedelta(days=2)
    if span.since >= until:
        return
    cut = Cut.of(span.since, until)
    stretches: list[tuple[str, datetime | date, datetime | date]] = [
        ("open", cut.since, cut.until),
        *(("edge", *edge) for edge in cut.edges),
    ]
    if span.username is None:
        stretches.append(("group-days", cut.since, cut.until))
    else:
        stretches.append(("months", *cut.months))
        stretches += [("days", *days) for days in cut.days]
    for sums, since, end in stretches:
        yield {
            "id": i,
            "sums": sums,
            "group": span.group,
            "username": span.username,
            "since": since.isoformat(),
            "until": end.isoformat(),
        }
