"""What groups and people used in many spans at once, and what they run: quotas rest on it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import date, datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import ARRAY, Select, String, bindparam, func, select, text
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.accounting.models import Rate, Span
from dachub.accounting.store.usage import Cut
from dachub.accounting.tables import SegmentRow, SessionRow
from dachub.model.units import day_start
from dachub.model.usage import Usage

_GROUPS = bindparam("groups", type_=ARRAY(String))
_Part = tuple[int, Span, date, date]

# Whole months and days come from their sums; what these do not hold yet of open segments, and the
# edges of spans that are no whole days, from the segments. A span that ends now has no edge there:
# nothing lies behind it, so today's row is taken as it is. Lateral, so that each stretch is looked
# up in the index: PostgreSQL cannot tell how few rows lie between two dates it does not know.
# Memory is read only where it is allocated: the index has none.
_USED = """
with span as (
    select * from unnest(cast(:id as int[]), cast(:group as text[]), cast(:username as text[]),
                         cast(:since as timestamptz[]), cast(:until as timestamptz[]))
             as span(id, "group", username, since, until)
), months as (
    select * from unnest(cast(:month_id as int[]), cast(:month_group as text[]),
                         cast(:month_username as text[]), cast(:month_since as date[]),
                         cast(:month_until as date[]))
             as months(id, "group", username, since, until)
), days as (
    select * from unnest(cast(:day_id as int[]), cast(:day_group as text[]),
                         cast(:day_username as text[]), cast(:day_since as date[]),
                         cast(:day_until as date[]))
             as days(id, "group", username, since, until)
), edge as (
    select * from unnest(cast(:edge_id as int[]), cast(:edge_group as text[]),
                         cast(:edge_username as text[]), cast(:edge_since as timestamptz[]),
                         cast(:edge_until as timestamptz[]))
             as edge(id, "group", username, since, until)
), piece as (
    select edge.id, g.milli_cores, {bytes} as memory_bytes, g.gpus,
           greatest(g.started_at, edge.since) as since,
           least(coalesce(g.ended_at, :now), edge.until) as until
    from edge
    cross join lateral (
        select * from segment
        where tstzrange(started_at, ended_at) && tstzrange(edge.since, edge.until) offset 0) g
    join session s on s.session_id = g.session_id and s."group" = edge."group"
                      and (edge.username is null or s.username = edge.username)
  union all
    select span.id, g.milli_cores, {bytes} as memory_bytes, g.gpus,
           greatest(g.counted_to, span.since), least(:now, span.until)
    from segment g
    join session s using (session_id)
    join span on s."group" = span."group"
                 and (span.username is null or s.username = span.username)
    where g.ended_at is null and s.ended_at is null
), part as (
    select id, seconds * milli_cores as milli_core_seconds,
           seconds * memory_bytes as memory_byte_seconds, seconds * gpus as gpu_seconds
    from piece
    cross join lateral (select greatest(0, extract(epoch from until - since)) as seconds) length
  union all
    select id, sums.* from days cross join lateral (
        select sum(milli_core_seconds), {byte_seconds}, sum(gpu_seconds)
        from usage_day u
        where u."group" = days."group" and u.day >= days.since and u.day < days.until
              and (days.username is null or u.username = days.username)) sums
  union all
    select id, sums.* from months cross join lateral (
        select sum(milli_core_seconds), {byte_seconds}, sum(gpu_seconds)
        from usage_month u
        where u."group" = months."group" and u.day >= months.since and u.day < months.until
              and (months.username is null or u.username = months.username)) sums
)
select id, coalesce(sum(milli_core_seconds), 0)::bigint as milli_core_seconds,
       coalesce(sum(memory_byte_seconds), 0)::numeric(38, 0) as memory_byte_seconds,
       coalesce(sum(gpu_seconds), 0)::bigint as gpu_seconds
from part group by id
"""

_USED_WITH_MEMORY = text(
    _USED.format(bytes="g.memory_bytes", byte_seconds="sum(memory_byte_seconds)")
)
_USED_WITHOUT_MEMORY = text(_USED.format(bytes="0", byte_seconds="0::numeric"))


class SpanStore:
    """Reads for many groups in one statement."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def used(
        self, spans: Sequence[Span], now: datetime, *, with_memory: bool = True
    ) -> list[Usage]:
        """Usage in each span, open sessions counted to ``now``; memory only where it is wanted."""
        if not spans:
            return []
        whole: list[_Part] = []
        months: list[_Part] = []
        days: list[_Part] = []
        edges: list[_Part] = []
        for i, span in enumerate(spans):
            until = span.until if span.until < now else day_start(now) + timedelta(days=2)
            if span.since >= until:
                continue
            cut = Cut.of(span.since, until)
            whole.append((i, span, cut.since, cut.until))
            months.append((i, span, *cut.months))
            days += [(i, span, *stretch) for stretch in cut.days]
            edges += [(i, span, *edge) for edge in cut.edges]
        rows = await self._session.execute(
            _USED_WITH_MEMORY if with_memory else _USED_WITHOUT_MEMORY,
            {
                "now": now,
                **_columns("", whole),
                **_columns("month_", months),
                **_columns("day_", days),
                **_columns("edge_", edges),
            },
        )
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
    """Made once: every decision on a start asks for it, and making it costs more than asking."""
    key = [SessionRow.group, SessionRow.username]
    segment = SegmentRow.__table__.columns
    totals = [
        func.sum(segment[name]).label(name) for name in ("milli_cores", "memory_bytes", "gpus")
    ]
    found = (
        select(*key, *totals)
        .join_from(SegmentRow, SessionRow, SegmentRow.session_id == SessionRow.session_id)
        .where(SegmentRow.ended_at.is_(None), SessionRow.ended_at.is_(None))
        .group_by(*key)
    )
    return found if of_all else found.where(SessionRow.group == func.any(_GROUPS))


def _columns(prefix: str, parts: Sequence[_Part]) -> dict[str, list[object]]:
    return {
        f"{prefix}id": [i for i, *_ in parts],
        f"{prefix}group": [span.group for _, span, *_ in parts],
        f"{prefix}username": [span.username for _, span, *_ in parts],
        f"{prefix}since": [since for *_, since, _ in parts],
        f"{prefix}until": [until for *_, until in parts],
    }
