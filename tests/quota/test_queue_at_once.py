"""Many who ask for cores at the same moment, on connections of their own that commit."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import func, select
from tests.accounting.conftest import Describe, event, life

from dachub.accounting.tables import SessionRow
from dachub.config import Settings
from dachub.hub.queue import DECISIONS_AT_ONCE
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.queue import Place, QueueRequest
from dachub.model.sessions import EventKind
from dachub.quota.settings import QuotaSettings
from dachub.server.factory import Process
from dachub.server.hubapi import HubAPI

CORES = 60
SITE = Settings(quota=QuotaSettings(concurrent_milli_cores=CORES * 1000))


@pytest.fixture
async def process(database_url: str, clock: HeldClock) -> AsyncIterator[Process]:
    """A service that commits."""
    made = Process(SITE, create_engine(database_url), hub=HubAPI("", ""), clock=clock)
    yield made
    await made.close()


async def enter(process: Process, number: int) -> Place | None:
    async with process.factory() as services:
        return await services.queue().enter(
            UUID(int=number), username=f"p{number}", server_name="", group="lensing",
            milli_cores=1000, is_rescue=False,
        )  # fmt: skip


async def enter_together(process: Process, numbers: Iterable[int]) -> list[Place | None]:
    """All at once, as a hub asks for them."""
    turns = asyncio.Semaphore(DECISIONS_AT_ONCE)

    async def enter_in_turn(number: int) -> Place | None:
        async with turns:
            return await enter(process, number)

    return await asyncio.gather(*map(enter_in_turn, numbers))


async def ask(process: Process, waiting: list[int]) -> list[int]:
    """Those who were granted what they waited for."""
    async with process.factory() as services:
        answer = await services.queue().ask(
            QueueRequest(waiting=[UUID(int=number) for number in waiting])
        )
    return [number for number in waiting if UUID(int=number) not in answer.places]


async def test_of_many_at_once_as_many_start_as_fit_and_the_others_have_a_place_each(
    process: Process,
) -> None:
    places = await enter_together(process, range(1, 91))
    assert places.count(None) == CORES
    assert sorted(place.number for place in places if place) == list(range(1, 91 - CORES))


async def test_300_who_come_at_once_are_all_served_in_order_and_never_more_than_fit(
    process: Process, describe: Describe, clock: HeldClock
) -> None:
    """Servers start, tell of it late, and end, while the queue moves."""
    people = list(range(1, 301))
    places = await enter_together(process, people)
    order = [
        number
        for number, place in sorted(
            zip(people, places, strict=True), key=lambda one: one[1].number if one[1] else 0
        )
    ]
    served, starting = order[:CORES], order[:CORES]
    waiting, running = order[CORES:], list[int]()
    sessions = {n: describe(session_id=UUID(int=n), username=f"p{n}") for n in people}
    while waiting or starting or running:
        clock.advance(timedelta(seconds=3))
        arrives, starting = starting[:40], starting[40:]
        ends, running = running[:40], [*running[40:], *arrives]

        async def tell(arrives: list[int] = arrives, ends: list[int] = ends) -> None:
            told = [one for n in arrives for one in life(sessions[n], clock.now())]
            told += [
                event(EventKind.STOPPED, sessions[n], clock.now(), started_at=clock.now())
                for n in ends
            ]
            async with process.factory() as services:
                assert not (await services.ledger().apply(told)).refused

        _, granted = await asyncio.gather(tell(), ask(process, waiting))
        served, starting = served + granted, starting + granted
        waiting = [number for number in waiting if number not in granted]
        async with process.sessions() as session:
            in_ledger = await session.scalar(
                select(func.count()).where(SessionRow.ended_at.is_(None))
            )
        assert (in_ledger or 0) + len(starting) <= CORES
    assert served == order


async def test_a_service_that_dies_while_it_gives_cores_away_gave_none(process: Process) -> None:
    class Killed(Exception):
        pass

    async def give_and_die() -> None:
        async with process.factory() as services:
            for number in range(1, CORES + 1):
                await services.queue().enter(
                    UUID(int=number), username=f"p{number}", server_name="", group="lensing",
                    milli_cores=1000, is_rescue=False,
                )  # fmt: skip
            raise Killed

    with pytest.raises(Killed):
        await give_and_die()
    places = await enter_together(process, range(101, 101 + CORES))
    assert places == [None] * CORES
