"""Reads usage: whole days from ``usage_day``, the rest from the segments, in one statement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.people import UNKNOWN_INSTITUTION
from dachub.model.units import day_start
from dachub.model.usage import Usage, UsageDimension, UsageRow

_COLUMNS: Mapping[UsageDimension, str] = {
    "day": "day",
    "month": "date_trunc('month', day)::date as month",
    "user": "username",
    "group": '"group"',
    "kind": "kind",
    "size": "size",
    "environment": "environment",
    "institution": f"coalesce(institution, '{UNKNOWN_INSTITUTION}') as institution",
}
_INSTITUTIONS = """
    left join unnest(cast(:usernames as text[]), cast(:institutions as text[]))
              as person(username, institution) using (username)"""

# Pieces of segments are what usage_day cannot tell: the edges of the period that are no whole days,
# and, on whole days, what it does not hold yet of open segments. One statement is one snapshot:
# nothing is seen twice or missed because a session ends meanwhile.
_SQL = """
with piece as (
    select s.username, s."group", s.kind, s.size, s.environment,
           g.milli_cores, g.memory_bytes, g.gpus,
           greatest(g.started_at, edge.since) as since,
           least(coalesce(g.ended_at, :now), edge.until) as until
    from unnest(cast(:edge_since as timestamptz[]), cast(:edge_until as timestamptz[]))
         as edge(since, until)
    join segment g on tstzrange(g.started_at, g.ended_at) && tstzrange(edge.since, edge.until)
    join session s using (session_id)
    where {filter}
  union all
    select s.username, s."group", s.kind, s.size, s.environment,
           g.milli_cores, g.memory_bytes, g.gpus,
           greatest(g.counted_to, cast(:whole_since as timestamptz)), least(:now, :whole_until)
    from segment g join session s using (session_id)
    where g.ended_at is null and {filter}
), part as (
    select d::date as day, username, "group", kind, size, environment,
           seconds::numeric * milli_cores as milli_core_seconds,
           seconds::numeric * memory_bytes as memory_byte_seconds,
           seconds::numeric * gpus as gpu_seconds
    from piece
    cross join lateral generate_series(date_trunc('day', since at time zone 'UTC'),
                                       until at time zone 'UTC', interval '1 day') d
    cross join lateral (select extract(epoch from
        least(until at time zone 'UTC', d + interval '1 day')
        - greatest(since at time zone 'UTC', d))::bigint as seconds) t
    where seconds > 0
  union all
    select day, username, "group", kind, size, environment,
           milli_core_seconds, memory_byte_seconds, gpu_seconds
    from usage_day s
    where day >= (cast(:whole_since as timestamptz) at time zone 'UTC')::date
      and day < (cast(:whole_until as timestamptz) at time zone 'UTC')::date and {filter}
)
select {selected} coalesce(sum(milli_core_seconds), 0) as milli_core_seconds,
       coalesce(sum(memory_byte_seconds), 0) as memory_byte_seconds,
       coalesce(sum(gpu_seconds), 0) as gpu_seconds
from part {joined}
{grouped}
"""


class UsageStore:
    """Usage in any period, by any dimensions."""

    def __init__(self, session: AsyncSession) -> None:
        self._session = session

    async def rows(
        self,
        *,
        since: datetime,
        until: datetime,
        now: datetime,
        dimensions: Sequence[UsageDimension] = (),
        username: str | None = None,
        group: str | None = None,
        kind: str | None = None,
        institutions: Mapping[str, str] | None = None,
    ) -> list[UsageRow]:
        """Usage in [since, until), open sessions counted to ``now``; one row without dimensions.

        ``institutions`` tells the institution of a username, for the dimension of that name.
        """
        filters = {"s.username": username, 's."group"': group, "s.kind": kind}
        given = {column: value for column, value in filters.items() if value is not None}
        whole_since, whole_until, edges = split(since, until)
        columns = ", ".join(_COLUMNS[dimension] for dimension in dimensions)
        places = ", ".join(str(place + 1) for place in range(len(dimensions)))
        statement = _SQL.format(
            filter=" and ".join(f"{column} = :filter_{i}" for i, column in enumerate(given))
            or "true",
            selected=f"{columns}, " if columns else "",
            joined=_INSTITUTIONS if "institution" in dimensions else "",
            grouped=f"group by {places} order by {places}" if places else "",
        )
        told = dict(institutions or {})
        rows = await self._session.execute(
            text(statement),
            {
                "now": now,
                "whole_since": whole_since,
                "whole_until": whole_until,
                "edge_since": [edge[0] for edge in edges],
                "edge_until": [edge[1] for edge in edges],
                "usernames": [*told],
                "institutions": [*told.values()],
                **{f"filter_{i}": value for i, value in enumerate(given.values())},
            },
        )
        return [UsageRow.model_validate(dict(row)) for row in rows.mappings()]

    async def total(self, group: str, since: datetime, until: datetime, now: datetime) -> Usage:
        """What a group used in [since, until)."""
        return (await self.rows(since=since, until=until, now=now, group=group))[0]


def split(
    since: datetime, until: datetime
) -> tuple[datetime, datetime, list[tuple[datetime, datetime]]]:
    """Whole days [first, last) of a period, and what is left of it at its edges."""
    first = day_start(since)
    if first < since:
        first += timedelta(days=1)
    last = day_start(until)
    if last < first:
        return since, since, [(since, until)]
    edges = [(since, first), (last, until)]
    return first, last, [edge for edge in edges if edge[0] < edge[1]]
