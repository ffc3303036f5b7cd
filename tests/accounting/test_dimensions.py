"""Whatever usage is summed by, the sums are the same; and the older sums were carried over."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import combinations
from typing import get_args

import psycopg
import pytest
from alembic import command
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, Describe, life
from tests.conftest import Databases

from dachub import migrations
from dachub.accounting.services import Accounting
from dachub.directory.tables import AffiliationRow
from dachub.infra.clock import HeldClock
from dachub.model.people import institution
from dachub.model.usage import UsageDimension

HOUR = timedelta(hours=1)
EVERY: tuple[UsageDimension, ...] = get_args(UsageDimension)


async def affiliate(
    db: AsyncSession, username: str, value: str, asserted_at: datetime, *, withdrawn: bool = False
) -> None:
    """Have an affiliation asserted of a person."""
    await db.execute(
        insert(AffiliationRow).values(
            username=username,
            value=value,
            asserted_by="https://idp.example",
            first_asserted_at=asserted_at,
            last_asserted_at=asserted_at,
            withdrawn_at=asserted_at if withdrawn else None,
        )
    )


@pytest.fixture
async def used(
    services: Accounting, lensing: str, describe: Describe, db: AsyncSession, clock: HeldClock
) -> None:
    """Three people's sessions in two months, of two sizes and environments, one of them running."""
    await affiliate(db, "grace", "member@ed.ac.uk", clock.now())
    await affiliate(db, "grace", "staff@roe.ac.uk", clock.now() - timedelta(days=9))
    await affiliate(db, "ada", "staff@old.example", clock.now(), withdrawn=True)
    start = datetime(2027, 2, 28, 20, tzinfo=UTC)
    for username, size, environment, hours in [
        ("grace", "small", "astronomy", 10),
        ("grace", "large", "astronomy", 3),
        ("ada", "small", "beta", 5),
        ("stranger", "small", "astronomy", 1),
    ]:
        session = describe(
            username=username, size=size, environment=environment, requested_at=start
        )
        await services.ledger().apply(life(session, start, start + hours * HOUR))
    running = describe(requested_at=clock.now() - 2 * HOUR)
    await services.ledger().apply(life(running, running.requested_at))


async def test_sums_by_any_dimensions_agree(
    services: Accounting, used: None, clock: HeldClock
) -> None:
    since = datetime(2027, 2, 28, 21, tzinfo=UTC)
    for count in (0, 1, 2, len(EVERY)):
        for dimensions in combinations(EVERY, count):
            report = await services.usage().report(
                ADMINISTRATOR, since=since, until=clock.now(), dimensions=dimensions
            )
            assert report.total.core_hours == 9 + 2 + 4 + 2


async def test_each_dimension_tells_who_and_what(
    services: Accounting, used: None, clock: HeldClock
) -> None:
    async def by(dimension: UsageDimension, name: str) -> dict[object, float]:
        report = await services.usage().report(
            ADMINISTRATOR,
            since=datetime(2027, 2, 1, tzinfo=UTC),
            until=clock.now(),
            dimensions=[dimension],
        )
        return {getattr(row, name): row.core_hours for row in report.rows}

    assert await by("size", "size") == {"large": 3, "small": 18}
    assert await by("environment", "environment") == {"astronomy": 16, "beta": 5}
    assert await by("institution", "institution") == {"ed.ac.uk": 15, "unknown": 6}
    assert await by("month", "month") == {date(2027, 2, 1): 12, date(2027, 3, 1): 9}


@pytest.mark.parametrize(
    ("current", "told"),
    [
        ([], "unknown"),
        ([" "], "unknown"),
        (["staff@ED.ac.uk", "member@roe.ac.uk"], "ed.ac.uk"),
        (["University of Edinburgh", "staff@ed.ac.uk"], "ed.ac.uk"),
        (["University of Edinburgh"], "University of Edinburgh"),
        (["staff@"], "staff@"),
        (["a@b@ed.ac.uk "], "ed.ac.uk"),
    ],
)
def test_everybody_counts_under_one_institution(current: list[str], told: str) -> None:
    assert institution(current) == told


def test_days_summed_before_sizes_were_kept_are_split_by_the_migration(
    databases: Databases,
) -> None:
    url = databases.create()
    with migrations._connected(url) as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.commit()
    with psycopg.connect(url) as before:
        for size, day in (("small", 9), ("large", 9), ("small", 10)):
            before.execute(
                'with made as (insert into session (session_id, username, "group", kind,'
                " server_name, size, environment, milli_cores, memory_bytes, gpus, requested_at,"
                " start_is_estimate, end_is_estimate)"
                " values (gen_random_uuid(), 'grace', 'lensing', 'notebook', '', %(size)s, 'beta',"
                " 1000, 1, 0, %(start)s, false, false) returning session_id)"
                " insert into segment (session_id, started_at, ended_at, counted_to, milli_cores,"
                " memory_bytes, gpus) select session_id, %(start)s, %(end)s, %(end)s, 1000, 1, 0"
                " from made",
                {
                    "size": size,
                    "start": datetime(2027, 3, day, 23, tzinfo=UTC),
                    "end": datetime(2027, 3, day + 1, 2, tzinfo=UTC),
                },
            )
        before.execute(
            "insert into usage_day values ('2027-03-09', 'grace', 'lensing', 'notebook', 1, 1, 1)"
        )
    migrations.upgrade(url)
    with psycopg.connect(url) as after:
        kept = after.execute(
            "select day::text, size, environment, milli_core_seconds / 3600000 from usage_day"
            " order by 1, 2"
        ).fetchall()
    assert kept == [
        ("2027-03-09", "large", "beta", 1),
        ("2027-03-09", "small", "beta", 1),
        ("2027-03-10", "large", "beta", 2),
        ("2027-03-10", "small", "beta", 3),
        ("2027-03-11", "small", "beta", 2),
    ]
