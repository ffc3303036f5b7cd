"""Recurring allocations: made exactly once, whatever happens, and what is left carried over."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import text
from tests.accounting.conftest import ADMINISTRATOR, Describe, life
from tests.quota.conftest import Services

from dachub.accounting.models import InvalidPeriod
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine, session_maker, transaction
from dachub.model.allocations import AllocationSeries, Recurrence
from dachub.model.people import Role
from dachub.model.problems import Conflict, InvalidInput, NotFound, PermissionDenied
from dachub.model.usage import AllocationRecord, Policy, QuotaPolicy, Resource
from dachub.quota.models import InvalidAmount
from dachub.server.factory import Process
from dachub.server.hubapi import HubAPI

HOUR = timedelta(hours=1)
PI = Principal("ada", PrincipalKind.PERSON, roles={"lensing": Role.PI})
CORE_HOUR = 3_600_000


async def add(services: Services, **changes: Any) -> AllocationSeries:
    given: dict[str, Any] = {
        "group": "lensing",
        "resource": Resource.CORE_HOURS,
        "amount": 100,
        "every": Recurrence.MONTH,
        "reason": "call 2027A",
    }
    return await services.series().add(ADMINISTRATOR, **{**given, **changes})


async def made(services: Services) -> list[AllocationRecord]:
    """All allocations of the group, the earliest first."""
    found = await services.allocations().list(ADMINISTRATOR, group="lensing")
    return sorted(found, key=lambda record: record.starts_at)


def months(records: list[AllocationRecord]) -> list[str]:
    return [f"{record.starts_at:%Y-%m}" for record in records]


async def use(services: Services, describe: Describe, start: datetime, hours: float) -> None:
    session = describe(requested_at=start)
    await services.ledger().apply(life(session, start, start + hours * HOUR))


async def test_the_periods_of_now_and_next_are_there_at_once(
    services: Services, lensing: str, clock: HeldClock
) -> None:
    policy = QuotaPolicy(when_spent=Policy.STOP, grace_percent=10)
    series = await add(services, policy=policy)
    now, later = await made(services)
    assert months([now, later]) == ["2027-03", "2027-04"]
    assert (now.ends_at, later.starts_at) == (later.starts_at, datetime(2027, 4, 1, tzinfo=UTC))
    assert (now.amount, now.policy, now.rules.grace_percent) == (100 * CORE_HOUR, "stop", 10)
    assert (now.series_id, now.adjustments[0].author) == (series.series_id, "root-admin")
    assert "call 2027A (series" in now.adjustments[0].reason
    assert await services.series().list(PI) == [series]


async def test_after_an_outage_of_months_every_period_is_made_once(
    services: Services, lensing: str, clock: HeldClock
) -> None:
    await add(services, until=datetime(2027, 9, 1, tzinfo=UTC))
    clock.advance(timedelta(days=130))
    for _ in range(3):
        await services.series().materialise()
    clock.advance(timedelta(days=400))
    await services.series().materialise()
    assert months(await made(services)) == [f"2027-{month:02}" for month in range(3, 9)]


async def test_two_processes_at_once_make_each_period_once(
    database_url: str, clock: HeldClock
) -> None:
    from dachub.config import Settings

    process = Process(Settings(), create_engine(database_url), hub=HubAPI("", ""), clock=clock)
    async with process.factory() as factory:
        await factory.groups().create(Principal("o", PrincipalKind.OPERATOR), "lensing", "L")
        await factory.series().add(
            ADMINISTRATOR, group="lensing", resource=Resource.CORE_HOURS, amount=1,
            every=Recurrence.MONTH, carry_over_percent=None, reason="r",
        )  # fmt: skip
    clock.advance(timedelta(days=100))

    async def materialise() -> str:
        async with process.factory() as factory:
            return await factory.series().materialise()

    outcomes = await asyncio.gather(*(materialise() for _ in range(4)))
    assert min(outcomes).startswith("0 allocations made, 0 adjusted")
    async with process.factory() as factory:
        found = await factory.allocations().list(ADMINISTRATOR)
    await process.close()
    assert sorted(f"{one.starts_at:%m}" for one in found) == ["03", "04", "05", "06", "07"]
    assert sorted(len(one.adjustments) for one in found) == [1, 1, 2, 2, 2]


async def test_a_run_that_was_killed_is_made_up_for(database_url: str, clock: HeldClock) -> None:
    engine = create_engine(database_url)
    sessions = session_maker(engine)
    async with transaction(sessions) as session:
        services = Services(session, clock)
        await services._groups.create(ADMINISTRATOR, "lensing", "Lensing")
        await add(services)
    clock.advance(timedelta(days=40))

    async def killed_before_the_commit() -> None:
        async with transaction(sessions) as session:
            await Services(session, clock).series().materialise()
            raise RuntimeError("killed")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="killed"):
            await killed_before_the_commit()
    async with transaction(sessions) as session:
        assert months(await made(Services(session, clock))) == ["2027-03", "2027-04"]
        await Services(session, clock).series().materialise()
        assert months(await made(Services(session, clock))) == ["2027-03", "2027-04", "2027-05"]
    await engine.dispose()


@pytest.mark.parametrize(("percent", "carried"), [(None, 70), (0, 0), (50, 50), (100, 70)])
async def test_what_was_not_spent_is_carried_over(
    services: Services, lensing: str, describe: Describe, clock: HeldClock,
    percent: int | None, carried: int,
) -> None:  # fmt: skip
    await add(services, carry_over_percent=percent)
    march = clock.now()
    clock.advance(timedelta(days=25))
    await use(services, describe, march, 30)
    for _ in range(2):
        await services.series().materialise()
    _, april, _ = await made(services)
    assert april.amount == (100 + carried) * CORE_HOUR
    if carried:
        assert april.adjustments[-1].reason == (
            "carried over from the period of 1 March 2027, not used"
        )


async def test_a_late_event_corrects_what_was_carried_over_down_the_chain(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await add(services, carry_over_percent=None)
    march = clock.now()
    clock.advance(timedelta(days=60))
    await services.series().materialise()
    before = {f"{one.starts_at:%m}": one.amount // CORE_HOUR for one in await made(services)}
    assert before == {"03": 100, "04": 200, "05": 300, "06": 100}
    await use(services, describe, march, 40)  # the hub's outbox delivers late
    await services.series().materialise()
    after = {f"{one.starts_at:%m}": one for one in await made(services)}
    assert {month: one.amount // CORE_HOUR for month, one in after.items()} == {
        "03": 100, "04": 160, "05": 260, "06": 100,
    }  # fmt: skip
    assert [(one.amount // CORE_HOUR, one.key) for one in after["05"].adjustments] == [
        (100, "series"), (200, "carry-over:1"), (-40, "carry-over:2"),
    ]  # fmt: skip
    assert "corrected" in after["05"].adjustments[-1].reason
    assert (await services.series().materialise()).endswith("0 adjusted by what was left")


async def test_a_session_over_the_boundary_is_split_between_the_periods(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await add(services, carry_over_percent=None)
    april = datetime(2027, 4, 1, tzinfo=UTC)
    clock.advance(april + 5 * HOUR - clock.now())
    session = describe(requested_at=april - 3 * HOUR, milli_cores=2000)
    await services.ledger().apply(life(session, april - 3 * HOUR))
    await services.series().materialise()
    march, this, _ = await made(services)
    assert (march.used, this.used) == (6 * CORE_HOUR, 10 * CORE_HOUR)
    assert this.amount == (100 + 94) * CORE_HOUR
    balance = await services.quota().balance("lensing")
    assert (balance.used, balance.left) == (10 * CORE_HOUR, 184 * CORE_HOUR)
    assert balance.since == april


async def test_a_top_up_beside_the_series_is_charged_first_and_not_carried_over(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await add(services, carry_over_percent=None)
    await services.allocations().create(
        ADMINISTRATOR, group="lensing", resource=Resource.CORE_HOURS, amount=20,
        starts_at=clock.now() - HOUR, ends_at=clock.now() + 9 * HOUR, reason="top-up",
    )  # fmt: skip
    march = clock.now()
    clock.advance(timedelta(days=25))
    await use(services, describe, march, 8)
    await services.series().materialise()
    april = next(one for one in await made(services) if f"{one.starts_at:%m}" == "04")
    assert april.amount == 200 * CORE_HOUR


async def test_an_ended_series_keeps_its_period_and_takes_back_the_next(
    services: Services, lensing: str, clock: HeldClock
) -> None:
    series = await add(services)
    ended = await services.series().end(ADMINISTRATOR, series.series_id, "the project is over")
    assert (ended.until, ended.ended_by) == (clock.now(), "root-admin")
    march, april = await made(services)
    assert (march.amount, april.amount) == (100 * CORE_HOUR, 0)
    assert april.adjustments[-1].reason == "the project is over"
    clock.advance(timedelta(days=100))
    await services.series().materialise()
    assert months(await made(services)) == ["2027-03", "2027-04"]
    with pytest.raises(Conflict):
        await services.series().end(ADMINISTRATOR, series.series_id, "again")


async def test_what_is_granted_while_a_series_ends_is_taken_back_too(
    database_url: str, clock: HeldClock
) -> None:
    engine = create_engine(database_url)
    sessions = session_maker(engine)
    async with transaction(sessions) as session:
        services = Services(session, clock)
        await services._groups.create(ADMINISTRATOR, "lensing", "Lensing")
        series = await add(services)
        _, april = await made(services)

    async def ends() -> None:
        async with transaction(sessions) as session:
            await Services(session, clock).series().end(ADMINISTRATOR, series.series_id, "over")

    async with transaction(sessions) as session:
        await (
            Services(session, clock)
            .allocations()
            .adjust(ADMINISTRATOR, april.allocation_id, -60, "less")
        )
        ending = asyncio.create_task(ends())
        waiting = text("select count(*) from pg_locks where not granted")
        while not await session.scalar(waiting):
            assert not ending.done()
    await ending
    async with transaction(sessions) as session:
        assert (await made(Services(session, clock)))[1].amount == 0
    await engine.dispose()


async def test_nothing_is_carried_over_into_a_period_that_was_taken_back(
    services: Services, lensing: str, clock: HeldClock
) -> None:
    series = await add(services, carry_over_percent=None)
    await services.series().end(ADMINISTRATOR, series.series_id, "the project is over")
    clock.advance(timedelta(days=40))
    await services.series().materialise()
    assert [record.amount for record in await made(services)] == [100 * CORE_HOUR, 0]


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"amount": 0}, InvalidAmount),
        ({"amount": -1}, InvalidAmount),
        ({"carry_over_percent": 101}, InvalidInput),
        ({"group": "no-such"}, NotFound),
        ({"reason": " "}, InvalidInput),
        ({"first": datetime(2027, 1, 1)}, InvalidPeriod),  # noqa: DTZ001
        ({"until": datetime(2026, 1, 1, tzinfo=UTC)}, InvalidPeriod),
        ({"first": datetime(1990, 1, 1, tzinfo=UTC)}, InvalidPeriod),
    ],
)
async def test_nonsense_is_refused(
    services: Services, lensing: str, changes: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await add(services, **changes)


async def test_only_administrators_grant_and_end(services: Services, lensing: str) -> None:
    series = await add(services)
    with pytest.raises(PermissionDenied):
        await services.series().end(PI, series.series_id, "mine")
    with pytest.raises(PermissionDenied):
        await services.series().add(
            PI, group="lensing", resource=Resource.CORE_HOURS, amount=1,
            every=Recurrence.YEAR, reason="more",
        )  # fmt: skip
    with pytest.raises(PermissionDenied):
        await services.series().list(Principal("eve", PrincipalKind.PERSON), group="lensing")
