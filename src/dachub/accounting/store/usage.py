"""Reads usage in one statement: whole months and days from their sums, the rest from segments."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TypeVar

from pydantic import TypeAdapter
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from dachub.model.people import UNKNOWN_INSTITUTION
from dachub.model.units import day_start
from dachub.model.usage import Usage, UsageDimension, UsageRow

DAY = timedelta(days=1)
SECOND = timedelta(seconds=1)

_ROWS = TypeAdapter(list[UsageRow])
Moment = TypeVar("Moment", date, datetime)

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
_KEPT: Mapping[UsageDimension, str] = {
    "user": "username",
    "group": '"group"',
    "kind": "kind",
    "size": "size",
    "environment": "environment",
    "institution": "username",
}
"""What a dimension needs beside the day; the less is read, the more an index can answer alone."""
# By person first: there are many rows of each.
_INSTITUTIONS = """(
    select {at} {kept} sum(milli_core_seconds) as milli_core_seconds,
           sum(memory_byte_seconds) as memory_byte_seconds, sum(gpu_seconds) as gpu_seconds
    from part group by {at} {kept} ()
) part left join unnest(cast(:usernames as text[]), cast(:institutions as text[]))
                 as person(username, institution) using (username)"""

# Pieces of segments are what the sums cannot tell: the edges of the period that are no whole days,
# and, on whole days, what they do not hold yet of open segments. One statement is one snapshot:
# nothing is seen twice or missed because a session ends meanwhile. Days are looked up in the index
# (``offset 0`` sees to it): PostgreSQL cannot tell how few lie between two dates. The array lets it
# expect a few days of each piece, not a thousand, and so add up without sorting first.
_SQL = """
with piece as (
    {edges}
    select {of_session} g.milli_cores, g.memory_bytes, g.gpus,
           greatest(g.counted_to, cast(:whole_since as timestamptz)) as since,
           least(:now, :whole_until) as until
    from segment g join session s using (session_id)
    where g.ended_at is null and {filter}
), part as (
    select d::date as day, {kept} seconds * milli_cores as milli_core_seconds,
           seconds::numeric * memory_bytes as memory_byte_seconds,
           seconds * gpus as gpu_seconds
    from piece
    cross join lateral unnest(array(select generate_series(
        date_trunc('day', since at time zone 'UTC'),
        until at time zone 'UTC', interval '1 day'))) d
    cross join lateral (select extract(epoch from
        least(until at time zone 'UTC', d + interval '1 day')
        - greatest(since at time zone 'UTC', d))::bigint as seconds) t
    where seconds > 0
  union all
    {counted}
)
select {selected} coalesce(sum(milli_core_seconds), 0)::bigint as milli_core_seconds,
       coalesce(sum(memory_byte_seconds), 0) as memory_byte_seconds,
       coalesce(sum(gpu_seconds), 0)::bigint as gpu_seconds
from {summed}
{grouped}
"""
_EDGES = """
    select {of_session} g.milli_cores, g.memory_bytes, g.gpus,
           greatest(g.started_at, edge.since) as since,
           least(coalesce(g.ended_at, :now), edge.until) as until
    from unnest(cast(:edge_since as timestamptz[]), cast(:edge_until as timestamptz[]))
         as edge(since, until)
    join segment g on tstzrange(g.started_at, g.ended_at) && tstzrange(edge.since, edge.until)
    join session s using (session_id)
    where {filter}
  union all"""
_BY_GROUP = """
    select day, {kept} milli_core_seconds, memory_byte_seconds, gpu_seconds
    from usage_group_day s
    where day >= :first_day and day < :end_day and {filter}"""
_BY_ALL = """
    select counted.*
    from unnest(cast(:day_since as date[]), cast(:day_until as date[])) as days(since, until)
    cross join lateral (
        select day, {kept} milli_core_seconds, memory_byte_seconds, gpu_seconds from usage_day s
        where day >= days.since and day < days.until and {filter} offset 0
    ) counted
  union all
    select day, {kept} milli_core_seconds, memory_byte_seconds, gpu_seconds
    from usage_month s
    where day >= :month_since and day < :month_until and {filter}"""


@dataclass(frozen=True, slots=True)
class Cut:
    """A period cut into what is summed up already, and the rest.

    Attributes
    ----------
    since, until
        Its whole days, midnight to midnight; equal where there are none.
    months
        Of them the whole months: their first day, and the day after their last.
    days
        Of them the days before and after those months, in the same way.
    edges
        What is left of the period at its ends.
    """

    since: datetime
    until: datetime
    months: tuple[date, date]
    days: tuple[tuple[date, date], ...]
    edges: tuple[tuple[datetime, datetime], ...]

    @classmethod
    def of(cls, since: datetime, until: datetime, *, by_day: bool = False) -> Cut:
        """Cut [since, until); ``by_day`` leaves the months in days."""
        first, last = day_start(since - SECOND) + DAY, day_start(until)
        if last < first:
            return cls(since, since, (since.date(), since.date()), (), ((since, until),))
        days = first.date(), last.date()
        first_of_next = ((days[0] - DAY).replace(day=1) + 31 * DAY).replace(day=1)
        months = first_of_next, days[1].replace(day=1)
        if by_day or months[0] >= months[1]:
            months = days[0], days[0]
        return cls(
            first,
            last,
            months,
            _not_empty((days[0], months[0]), (months[1], days[1])),
            _not_empty((since, first), (last, until)),
        )


def _not_empty(*stretches: tuple[Moment, Moment]) -> tuple[tuple[Moment, Moment], ...]:
    return tuple((since, until) for since, until in stretches if since < until)


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
        cut = Cut.of(since, until, by_day="day" in dimensions)
        columns = ", ".join(_COLUMNS[dimension] for dimension in dimensions)
        kept = dict.fromkeys(_KEPT[dimension] for dimension in dimensions if dimension in _KEPT)
        places = ", ".join(str(place + 1) for place in range(len(dimensions)))
        clauses = {
            "filter": " and ".join(f"{column} = :filter_{i}" for i, column in enumerate(given))
            or "true",
            "kept": "".join(f"{name}, " for name in kept),
            "of_session": "".join(f"s.{name}, " for name in kept),
        }
        by_group = {*kept, *given} <= {'"group"', 's."group"'}
        statement = _SQL.format(
            **clauses,
            counted=(_BY_GROUP if by_group else _BY_ALL).format(**clauses),
            edges=_EDGES.format(**clauses) if cut.edges else "",
            selected=f"{columns}, " if columns else "",
            summed=_INSTITUTIONS.format(
                **clauses, at="day, " if {"day", "month"} & {*dimensions} else ""
            )
            if "institution" in dimensions
            else "part",
            grouped=f"group by {places} order by {places}" if places else "",
        )
        told = dict(institutions or {})
        rows = await self._session.execute(
            text(statement),
            {
                "now": now,
                "whole_since": cut.since,
                "whole_until": cut.until,
                "first_day": cut.since.date(),
                "end_day": cut.until.date(),
                "month_since": cut.months[0],
                "month_until": cut.months[1],
                "day_since": [days[0] for days in cut.days],
                "day_until": [days[1] for days in cut.days],
                "edge_since": [edge[0] for edge in cut.edges],
                "edge_until": [edge[1] for edge in cut.edges],
                "usernames": [*told],
                "institutions": [*told.values()],
                **{f"filter_{i}": value for i, value in enumerate(given.values())},
            },
        )
        return _ROWS.validate_python([dict(row) for row in rows.mappings()])

    async def total(self, group: str, since: datetime, until: datetime, now: datetime) -> Usage:
        """What a group used in [since, until)."""
        return (await self.rows(since=since, until=until, now=now, group=group))[0]
