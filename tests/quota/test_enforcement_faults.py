"""Clocks, backups, outages and kills stop nobody."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, Describe
from tests.quota.conftest import Services
from tests.quota.test_series import PI
from tests.quota.watchman import HOUR, MINUTE, Watchman, give, runs

from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine, session_maker, transaction
from dachub.model.people import Role
from dachub.model.problems import PermissionDenied
from dachub.model.usage import QuotaState
from dachub.quota.models import Vigil


async def test_a_clock_that_jumps_forward_stops_nobody(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 24)
    session = await runs(watchman, describe)
    await watchman.minutes(5)
    watchman.clock.jump(timedelta(days=2))  # by this clock the session used 48 core-hours
    outcome = await watchman.look()
    assert outcome.startswith("held: the clock was set forward by 2 days")
    outcome = await watchman.minutes(30)
    assert "dachub allocation trust" in outcome
    assert (await watchman.due(session)).stop_due_at is None
    assert await watchman.told() == []
    watchman.clock.jump(timedelta(days=-2))  # put right
    assert (await watchman.look()).startswith("held: the clock was set back by 2 days")
    with pytest.raises(PermissionDenied):
        await watchman.services.enforcement().trust(PI, "I think so")
    await watchman.services.enforcement().trust(ADMINISTRATOR, "NTP works again")
    assert not (await watchman.minutes(5)).startswith("held")
    assert await watchman.state() is QuotaState.OK


async def test_a_clock_that_jumps_between_notice_and_stop_shortens_no_notice(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.05)
    session = await runs(watchman, describe)
    await watchman.minutes(4)
    assert (await watchman.due(session)).stop_due_at is not None
    watchman.clock.jump(4 * MINUTE)
    assert await watchman.stopped() == []
    await watchman.minutes(4)  # settles
    began = watchman.clock.monotonic()
    for _ in range(40):
        await watchman.minutes(1)
        if await watchman.stopped():
            break
    assert watchman.clock.monotonic() - began >= 840  # the rest of a whole notice
    assert watchman.clock.monotonic() - began <= 960


async def test_a_restarted_service_gives_the_notice_anew(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.05)
    session = await runs(watchman, describe)
    await watchman.minutes(17)
    watchman.vigil = Vigil()
    await watchman.minutes(2)
    assert (await watchman.due(session)).stop_due_at <= watchman.clock.now()  # type: ignore[operator]
    assert await watchman.stopped() == []
    assert (await watchman.due(session)).stop_due_at > watchman.clock.now()  # type: ignore[operator]
    await watchman.minutes(15)
    assert len(await watchman.stopped()) == 1


async def test_after_an_outage_nothing_happens_before_two_clean_comparisons(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 1)
    session = await runs(watchman, describe)
    await watchman.minutes(5)
    watchman.clock.advance(3 * HOUR)  # service and database were away; the server has long ended
    watchman.away.add(session.session_id)
    assert (await watchman.look()).startswith("held: nobody looked for 3:00:00")
    assert (await watchman.minutes(1)).startswith("held")
    assert (await watchman.due(session)).state == "ended"  # when it was last seen alive
    assert not (await watchman.minutes(4)).startswith("held")
    assert await watchman.state() is QuotaState.OK
    assert await watchman.told() == []


async def test_while_servers_are_missing_at_the_hub_nothing_is_enforced(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.1)
    session = await runs(watchman, describe)
    await watchman.minutes(3)
    watchman.away.add(session.session_id)
    watchman.clock.advance(5 * MINUTE)
    outcome = await watchman.look()
    assert outcome == "held: servers that the ledger charges are missing at the hub"
    assert await watchman.told() == []


async def test_without_a_fresh_comparison_nothing_is_stopped(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.05)
    await runs(watchman, describe)
    await watchman.minutes(18)
    for _ in range(5):  # the hub does not answer
        watchman.clock.advance(MINUTE)
        watchman.vigil, outcome = await watchman.services.enforcement().run(watchman.vigil)
    assert outcome.startswith("held: ledger and running servers were last compared")
    assert await watchman.stopped() == []
    await watchman.minutes(1)
    assert len(await watchman.stopped()) == 1


async def test_a_database_from_a_backup_is_noticed_and_nothing_done_on_it(
    watchman: Watchman, describe: Describe, db: AsyncSession
) -> None:
    allocation = await give(watchman, 0.05)
    session = await runs(watchman, describe)
    await watchman.minutes(4)
    backup = await db.begin_nested()
    await watchman.services.allocations().adjust(ADMINISTRATOR, allocation, 10, "extension")
    await watchman.minutes(14)
    assert (await watchman.due(session)).stop_due_at is None
    await backup.rollback()  # restored: the extension is lost, the notice is back
    assert (await watchman.due(session)).stop_due_at is not None
    watchman.clock.advance(2 * MINUTE)
    assert await watchman.stopped() == []
    assert (await watchman.look()).startswith("held: the database is older than what was written")
    assert await watchman.stopped() == []


async def test_a_backup_that_another_process_starts_on_is_noticed_by_its_age(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.05)
    await runs(watchman, describe)
    await watchman.minutes(4)
    watchman.clock.advance(timedelta(days=1))
    watchman.vigil = Vigil()
    await watchman.reconcile()
    assert await watchman.stopped() == []
    assert (await watchman.look()).startswith("held: nobody looked for 1 day")


async def test_a_run_killed_anywhere_has_happened_wholly_or_not_at_all(
    database_url: str, clock: HeldClock, describe: Describe
) -> None:
    """Killed before each of its writes in turn: nothing of it stays, the next run does it all."""
    engine = create_engine(database_url)
    sessions = session_maker(engine)
    async with transaction(sessions) as session:
        watchman = await _commissioned(Services(session, clock), session, clock, describe)
    vigil = watchman.vigil

    async def fail_after(writes: int) -> bool:
        """Whether the run got as far as that write, and was killed there."""
        async with sessions() as session:
            await session.begin()
            count = 0
            plain = session.execute
            plain_scalars = session.scalars

            async def execute(statement: object, *args: object, **kwargs: object) -> object:
                nonlocal count
                count += _writes(statement)
                if count > writes:
                    raise KeyboardInterrupt
                return await plain(statement, *args, **kwargs)  # type: ignore[call-overload]

            async def scalars(statement: object, *args: object, **kwargs: object) -> object:
                nonlocal count
                count += _writes(statement)
                if count > writes:
                    raise KeyboardInterrupt
                return await plain_scalars(statement, *args, **kwargs)  # type: ignore[call-overload]

            session.execute, session.scalars = execute, scalars  # type: ignore[method-assign,assignment]
            try:
                await Services(session, clock).enforcement().run(vigil)
            except KeyboardInterrupt:
                await session.rollback()
                return True
            await session.rollback()
            return False

    before = await _contents(sessions)
    writes = 0
    while await fail_after(writes):
        assert await _contents(sessions) == before
        writes += 1
    assert writes >= 5  # watch, standing, notices, audit, stop, outcome
    async with transaction(sessions) as session:
        await Services(session, clock).enforcement().run(vigil)
    after = await _contents(sessions)
    assert after["notice"] == before["notice"] + 3
    async with transaction(sessions) as session:
        await Services(session, clock).enforcement().run(vigil)
    assert await _contents(sessions) == after
    await engine.dispose()


async def test_two_processes_at_once_enforce_once(
    database_url: str, clock: HeldClock, describe: Describe
) -> None:
    engine = create_engine(database_url)
    sessions = session_maker(engine)
    async with transaction(sessions) as session:
        watchman = await _commissioned(Services(session, clock), session, clock, describe)
    before = await _contents(sessions)

    async def run() -> str:
        async with transaction(sessions) as session:
            return (await Services(session, clock).enforcement().run(watchman.vigil))[1]

    outcomes = await asyncio.gather(*(run() for _ in range(4)))
    assert sum("1 servers given notice" in outcome for outcome in outcomes) == 1
    after = await _contents(sessions)
    assert after["notice"] == before["notice"] + 3
    await engine.dispose()


async def _commissioned(
    services: Services, session: AsyncSession, clock: HeldClock, describe: Describe
) -> Watchman:
    """A trusted watchman, and a group that is just about to be told to stop."""
    await services._groups.create(ADMINISTRATOR, "lensing", "Lensing")
    for username in ("ada", "grace"):
        await session.execute(
            text(
                "insert into person (username, issuer, subject, full_name, email, is_administrator,"
                " created_at) values (:name, 'local', :name, '', '', false, :now)"
            ),
            {"name": username, "now": clock.now()},
        )
    for username, role in [("ada", Role.PI), ("grace", Role.MEMBER)]:
        await services._groups.put_member(ADMINISTRATOR, "lensing", username, role)
    watchman = Watchman(services, clock)
    await watchman.look()
    await watchman.minutes(3)
    await give(watchman, 0.01)
    await runs(watchman, describe)
    clock.advance(MINUTE)
    await watchman.reconcile()
    return watchman


def _writes(statement: object) -> bool:
    return getattr(statement, "is_insert", False) or getattr(statement, "is_update", False)


async def _contents(sessions: object) -> dict[str, int]:
    """How many rows tables have that the enforcement writes, and how many stops are scheduled."""
    counted = {}
    async with sessions() as session:  # type: ignore[operator]
        for table in ("notice", "audit", "quota_standing"):
            counted[table] = await session.scalar(text(f"select count(*) from {table}"))
        counted["stops"] = await session.scalar(text("select count(stop_due_at) from session"))
    return counted


async def test_a_group_and_a_person_that_nobody_knows_hold_up_no_other(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 1)
    await runs(watchman, describe, group="ghosts", username="nobody-knows")
    await runs(watchman, describe)
    assert not (await watchman.minutes(61)).startswith("held")
    assert await watchman.state() is QuotaState.STOPPING
