"""What a decision on a start costs while 300 people wait for cores."""  # noqa: A005

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from statistics import median
from uuid import UUID, uuid4

from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import Databases, running_postgres

from benchmarks.report import Row, percentile
from dachub import migrations
from dachub.config import Settings
from dachub.hub.queue import DECISIONS_AT_ONCE
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine, session_maker, transaction
from dachub.model.people import ClaimedMembership, LoginRecord
from dachub.model.queue import QueueRequest
from dachub.model.site import ServerChoice
from dachub.model.usage import AuthorizeRequest
from dachub.quota.settings import QuotaSettings
from dachub.server.factory import Factory

NOW = datetime(2027, 3, 10, 9, tzinfo=UTC)
WAITING = 300
ROUNDS = 60
FREE = Settings()
FULL = Settings(quota=QuotaSettings(concurrent_milli_cores=1000))

Act = Callable[[Factory], Awaitable[object]]


def run() -> list[Row]:
    """Each in a transaction committed to disk; decisions beside those of a site without limits."""
    with running_postgres(durable=True) as url:
        database = Databases(url).create()
        migrations.upgrade(database)
        return asyncio.run(_measure(database))


async def _measure(database: str) -> list[Row]:
    engine = create_engine(database)
    people = [f"user{number:03}" for number in range(WAITING + 1)]
    waiting = [UUID(int=number) for number in range(WAITING + 1)]
    try:
        for username in people:
            await _timed(engine, FREE, lambda services, name=username: _sign_in(services, name))
        begin = time.perf_counter()
        turns = asyncio.Semaphore(DECISIONS_AT_ONCE)  # as the hub asks

        async def decide(username: str, session_id: UUID) -> float:
            async with turns:
                return await _timed(engine, FULL, _decide(username, session_id))

        together = await asyncio.gather(*map(decide, people, waiting))
        storm_seconds = time.perf_counter() - begin
        queued, free, asked = [], [], []
        for round_ in range(ROUNDS):
            number = 1 + round_ % WAITING
            queued.append(await _timed(engine, FULL, _decide(people[number], waiting[number])))
            free.append(await _timed(engine, FREE, _decide(people[number], uuid4())))
            asked.append(await _timed(engine, FULL, _ask(waiting[1:])))
        return [
            Row("queue", f"decision with {WAITING} waiting, beside one without limits", "ms",
                median(queued), median(free)),
            Row("queue", f"one request for all {WAITING} who wait, p95", "ms",
                percentile(asked, 95)),
            Row("queue", f"{WAITING + 1} decisions at once, all of them", "s", storm_seconds),
            Row("queue", "the slowest of these, of its hub's 10 s", "s", max(together) / 1000),
        ]  # fmt: skip
    finally:
        await engine.dispose()


async def _timed(engine: AsyncEngine, settings: Settings, act: Act) -> float:
    """Milliseconds that something takes in a transaction."""
    begin = time.perf_counter()
    async with transaction(session_maker(engine)) as session:
        await act(Factory(settings, session, HeldClock(NOW)))
    return 1000 * (time.perf_counter() - begin)


async def _sign_in(services: Factory, username: str) -> None:
    await services.logins().record(
        LoginRecord(
            issuer="https://idp.example", subject=username, candidate=username, at=NOW,
            memberships=[ClaimedMembership(provider_name="survey")],
        )
    )  # fmt: skip


def _decide(username: str, session_id: UUID) -> Act:
    request = AuthorizeRequest(username=username, choice=ServerChoice(), session_id=session_id)

    async def decide(services: Factory) -> None:
        decision = await services.quota().authorize(request)
        assert decision.allowed, decision.message

    return decide


def _ask(waiting: list[UUID]) -> Act:
    async def ask(services: Factory) -> None:
        answer = await services.queue().ask(QueueRequest(waiting=waiting))
        assert len(answer.places) == len(waiting)

    return ask
