"""A ledger of several years, made up in the database itself, the same for the same sizes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

YEARS = 5
GROUPS = 20
PEOPLE = 3000
RUNNING = 200
CLUSTER_SEGMENTS = 10
"""A fifth of all segments are of clusters, with so many each."""


@dataclass(frozen=True, slots=True)
class History:
    """What is in the database."""

    segments: int
    until: datetime

    @property
    def since(self) -> datetime:
        """When the first sessions start."""
        return self.until - timedelta(days=365 * YEARS)

    @property
    def sessions(self) -> int:
        """Notebooks, with one segment each, and clusters."""
        return self.segments * 4 // 5 + self.segments // 5 // CLUSTER_SEGMENTS


# People differ: a tenth of them use a third of the service. Most work in one group, some in two.
# Starts are in the order of time, as a ledger is written, give or take a day.
_SESSIONS = """
insert into session (session_id, username, "group", kind, server_name, size, environment,
                     milli_cores, memory_bytes, gpus, requested_at, started_at, start_is_estimate,
                     ended_at, end_reason, end_is_estimate, last_seen_at)
select md5('session ' || i)::uuid, 'user-' || person,
       'group-' || (person + case when elsewhere < 0.1 then 7 else 0 end) %% {groups},
       kind, '', (array['small', 'medium', 'large'])[size],
       (array['astronomy', 'beta'])[1 + (beta < 0.15)::int],
       (array[1000, 4000, 16000])[size], (array[4, 16, 64])[size] * 2::bigint ^ 30,
       (size = 3)::int, at - interval '20 seconds', at, false,
       ends, 'stopped', false, ends
from (
    select i, case when i %% 41 = 0 then 'dask' else 'notebook' end as kind,
           floor({people} * person ^ 1.6)::int as person, elsewhere, beta,
           1 + (size > 0.7)::int + (size > 0.95)::int as size,
           at, least(%(now)s, at + date_trunc('second',
                   interval '1 second' * least(-ln(1 - lasts) * 9000, 2592000))) as ends
    from (select i, date_trunc('second', %(since)s::timestamptz
                     + i * (%(span)s / %(count)s::float8) + random() * interval '1 day') as at,
                 random() as person, random() as elsewhere, random() as beta, random() as size,
                 random() as lasts
          from generate_series(1, %(count)s) i offset 0) drawn
) made
"""

_SEGMENTS = f"""
insert into segment (session_id, started_at, ended_at, counted_to, milli_cores, memory_bytes, gpus)
select session_id, started_at + date_trunc('second', lasts * part / parts), until, until,
       milli_cores, memory_bytes, gpus
from (select session_id, started_at, ended_at - started_at as lasts, milli_cores, memory_bytes,
             gpus, case kind when 'dask' then {CLUSTER_SEGMENTS} else 1 end as parts
      from session where ended_at is not null) s
cross join lateral generate_series(0, parts - 1) part
cross join lateral (
    select started_at + date_trunc('second', lasts * (part + 1) / parts) as until) ends
"""

_RUNNING = """
with started as (
    insert into session (session_id, username, "group", kind, server_name, size, environment,
                         milli_cores, memory_bytes, gpus, requested_at, started_at,
                         start_is_estimate, end_is_estimate, last_seen_at)
    select md5('running ' || i)::uuid, 'user-' || i, 'group-' || i %% {groups}, 'notebook', '',
           'small', 'astronomy', 1000, 4 * 2::bigint ^ 30, 0,
           at, at, false, false, %(now)s
    from (select i, %(now)s::timestamptz - i * interval '10 minutes' as at
          from generate_series(1, {running}) i) made
    returning *
)
insert into segment (session_id, started_at, counted_to, milli_cores, memory_bytes, gpus)
select session_id, started_at, greatest(started_at, date_trunc('day', %(now)s::timestamptz)),
       milli_cores, memory_bytes, gpus
from started
"""

_DIRECTORY = """
insert into research_group (slug, title, description, created_at)
select 'group-' || i, 'Group ' || i, '', %(since)s from generate_series(0, {groups} - 1) i;
insert into person (username, issuer, subject, full_name, email, is_administrator, created_at)
select 'user-' || i, 'https://idp.example', 'subject-' || i, 'Person ' || i, '', i = 0, %(since)s
from generate_series(0, {people} - 1) i;
insert into affiliation (username, value, asserted_by, first_asserted_at, last_asserted_at)
select 'user-' || i, 'member@university-' || i %% 30 || '.ac.uk', 'https://idp.example',
       %(since)s, %(now)s
from generate_series(0, {people} - 1) i;
insert into membership (username, "group", role, source, valid_from)
select 'user-' || i, 'group-' || i %% {groups},
       case when i < {groups} then 'pi' else 'member' end, 'local', %(since)s
from generate_series(0, {people} - 1) i
"""


def fill(url: str, segments: int) -> History:
    """Fill a migrated, empty database; ``usage_day`` is left to be made from the segments."""
    history = History(segments, datetime.now(UTC).replace(microsecond=0))
    values = {
        "count": history.sessions,
        "since": history.since,
        "span": history.until - history.since - timedelta(days=1),
        "now": history.until,
    }
    sizes = {"groups": GROUPS, "people": PEOPLE, "running": RUNNING}
    with psycopg.connect(url) as connection:
        connection.execute("set timezone = 'UTC'")
        connection.execute("set synchronous_commit = off")
        connection.execute("set maintenance_work_mem = '512MB'")
        for statement in _DIRECTORY.split(";"):
            connection.execute(_sized(statement, sizes), values)
        again = _drop_indexes(connection)
        connection.execute("select setseed(0.42)")
        connection.execute(_sized(_SESSIONS, sizes), values)
        connection.execute(_SEGMENTS)
        for statement in again:
            connection.execute(statement)  # type: ignore[arg-type]
        connection.execute(_sized(_RUNNING, sizes), values)
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("vacuum analyze")
    return history


def _sized(statement: str, sizes: dict[str, int]) -> bytes:
    return statement.format(**sizes).encode()


def _drop_indexes(connection: psycopg.Connection) -> list[str]:
    """Drop what slows down loading; returns the statements that make it again."""
    tables = "('session'::regclass, 'segment'::regclass)"
    constraints = connection.execute(
        "select conrelid::regclass::text, conname, pg_get_constraintdef(oid) from pg_constraint"
        f" where contype in ('p', 'u', 'f') and conrelid in {tables}"
        " order by contype = 'f'"
    ).fetchall()
    indexes = connection.execute(
        "select indexrelid::regclass::text, pg_get_indexdef(indexrelid) from pg_index"
        f" where indrelid in {tables} and not exists"
        " (select from pg_constraint where conindid = indexrelid)"
    ).fetchall()
    for name, _ in indexes:
        connection.execute(f"drop index {name}".encode())
    for table, name, _ in reversed(constraints):
        connection.execute(f"alter table {table} drop constraint {name} cascade".encode())
    return [
        *(f"alter table {table} add constraint {name} {made}" for table, name, made in constraints),
        *(made for _, made in indexes),
    ]
