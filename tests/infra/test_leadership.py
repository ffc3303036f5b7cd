"""One leads: by a lock that dies with its connection, by a lease, and by a fence around writes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import psycopg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.harness.waiting import waits_for_a_lock

from dachub.infra import leadership
from dachub.infra.database import create_engine, session_maker, transaction
from dachub.infra.leadership import NotLeading, Seat, Term, leaders

WORKERS = [{"name": "mails", "failures": 0}]


@pytest.fixture
async def engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    made = create_engine(database_url)
    yield made
    await made.dispose()


@pytest.fixture
async def seats(database_url: str) -> AsyncIterator[tuple[Seat, Seat]]:
    """Two processes that stand for the same lead."""
    one, two = Seat(database_url, "service", "one"), Seat(database_url, "service", "two")
    async with AsyncExitStack() as open_ones:
        for seat in (one, two):
            await open_ones.enter_async_context(seat.connected())
        yield one, two


async def taken(seat: Seat) -> Term:
    term = await seat.take()
    assert term is not None
    return term


def cut(database_url: str, seat: Seat) -> None:
    """End the session of a seat, as an administrator or a failover may."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute(
            "select pg_terminate_backend(%s, 5000)", [seat._connection.info.backend_pid]
        )


async def test_one_takes_the_lead_and_tells_of_it(
    seats: tuple[Seat, Seat], engine: AsyncEngine
) -> None:
    one, two = seats
    term = await taken(one)
    assert not term.after_another
    assert await two.take() is None
    await one.renew(term, WORKERS)
    async with transaction(session_maker(engine)) as session:
        (leader,) = await leaders(session)
    assert (leader.kind, leader.replica, leader.workers) == ("service", "one", WORKERS)


async def test_each_kind_of_work_has_a_leader_of_its_own(
    seats: tuple[Seat, Seat], database_url: str
) -> None:
    await taken(seats[0])
    other = Seat(database_url, "storage", "two")
    async with other.connected():
        assert await other.take() is not None


async def test_who_left_in_order_is_followed_without_a_pause(seats: tuple[Seat, Seat]) -> None:
    one, two = seats
    await one.leave(await taken(one))
    assert not (await taken(two)).after_another


async def test_who_was_cut_off_notices_at_once_and_the_next_one_knows_of_it(
    seats: tuple[Seat, Seat], database_url: str
) -> None:
    one, two = seats
    term = await taken(one)
    pausing = asyncio.create_task(one.pause(30))
    await asyncio.to_thread(cut, database_url, one)
    with pytest.raises(psycopg.OperationalError):
        await pausing
    with pytest.raises(psycopg.OperationalError):
        await one.renew(term, WORKERS)
    assert (await taken(two)).after_another


async def test_a_leader_that_says_nothing_loses_its_seat(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    impatient = leadership._CONNECTION | {"options": "-c idle_session_timeout=100ms"}
    monkeypatch.setattr(leadership, "_CONNECTION", impatient)
    one = Seat(database_url, "service", "one")
    async with one.connected():
        await taken(one)
        with pytest.raises(psycopg.OperationalError):
            await one.pause(30)


async def test_the_next_one_waits_for_what_the_leader_had_begun_to_write(
    seats: tuple[Seat, Seat], engine: AsyncEngine, database_url: str
) -> None:
    one, two = seats
    term = await taken(one)
    async with transaction(session_maker(engine)) as session:
        await term.require(session)
        await asyncio.to_thread(cut, database_url, one)
        following = asyncio.create_task(two.take())
        await waits_for_a_lock(engine)
        await session.execute(text("insert into worker_run values ('x', now(), '', true)"))
    assert await following is not None


async def test_renewing_does_not_wait_for_the_workers(
    seats: tuple[Seat, Seat], engine: AsyncEngine
) -> None:
    term = await taken(seats[0])
    async with transaction(session_maker(engine)) as session:
        await term.require(session)
        await seats[0].renew(term, WORKERS)


async def test_nothing_is_written_by_who_leads_no_more(
    seats: tuple[Seat, Seat], engine: AsyncEngine, database_url: str
) -> None:
    one, two = seats
    term = await taken(one)
    await asyncio.to_thread(cut, database_url, one)
    new = await taken(two)
    with pytest.raises(NotLeading):
        async with transaction(session_maker(engine)) as session:
            await term.require(session)
    with pytest.raises(NotLeading):
        await two.renew(term, WORKERS)
    await two.renew(new, WORKERS)


async def test_a_transaction_that_froze_does_not_hold_up_the_next_leader_for_long(
    seats: tuple[Seat, Seat], engine: AsyncEngine
) -> None:
    term = await taken(seats[0])
    async with transaction(session_maker(engine)) as session:
        await term.require(session)
        shown = await session.scalar(text("show idle_in_transaction_session_timeout"))
    assert shown == "30s"
