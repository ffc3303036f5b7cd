"""Events applied per second, beside a plain insert of as many rows in the same run."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from uuid import uuid4

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import Databases, running_postgres

from benchmarks.report import Row
from dachub import migrations
from dachub.config import Settings
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine, session_maker, transaction
from dachub.model.sessions import (
    EventKind,
    SessionDescription,
    SessionEvent,
    new_session_id,
)
from dachub.server.factory import Factory

NOW = datetime(2027, 3, 10, 12, tzinfo=UTC)
ROUNDS = 5
BATCHES = {1: 300, 200: 6000, 1000: 6000}
"""Events a batch (alone, as the outbox sends them, the most taken at once) -> events a round."""

Batch = Sequence[SessionEvent]
Apply = Callable[[Batch], Awaitable[None]]


def run() -> list[Row]:
    """Each committed to disk; both ways in turns on the same PostgreSQL."""
    with running_postgres(durable=True) as url:
        database = Databases(url).create()
        migrations.upgrade(database)
        return asyncio.run(_measure(database))


async def _measure(database: str) -> list[Row]:
    engine = create_engine(database)
    ways = (_ledger(engine), _plain(engine))
    async with engine.begin() as connection:
        await connection.execute(
            text(
                "create table plain"
                " (event_id uuid primary key, kind text, at timestamptz, body text)"
            )
        )
    try:
        rows = []
        for size, count in BATCHES.items():
            rates: tuple[list[float], list[float]] = ([], [])
            for _ in range(ROUNDS):
                for way, rate in zip(ways, rates, strict=True):
                    told = batches(count, size)
                    start = time.perf_counter()
                    for batch in told:
                        await way(batch)
                    rate.append(count / (time.perf_counter() - start))
            rows.append(
                Row("events", f"applied, {size} a batch, beside plain inserts", "events/s",
                    median(rates[0]), median(rates[1]))
            )  # fmt: skip
        async with transaction(session_maker(engine)) as session:
            ledger = Factory(Settings(), session, HeldClock(NOW)).ledger()
            assert await ledger.check_usage_days() == []
        return rows
    finally:
        await engine.dispose()


def _ledger(engine: AsyncEngine) -> Apply:
    async def apply(batch: Batch) -> None:
        async with transaction(session_maker(engine)) as session:
            receipt = await Factory(Settings(), session, HeldClock(NOW)).ledger().apply(batch)
        assert receipt.accepted == len(batch)

    return apply


def _plain(engine: AsyncEngine) -> Apply:
    async def insert(batch: Batch) -> None:
        async with engine.begin() as connection:
            await connection.execute(
                text("insert into plain values (:event_id, :kind, :at, :body)"),
                [
                    {
                        "event_id": event.event_id,
                        "kind": event.kind.value,
                        "at": event.at,
                        "body": event.model_dump_json(),
                    }
                    for event in batch
                ],
            )

    return insert


def batches(count: int, size: int, now: datetime = NOW) -> list[Batch]:
    """Sessions of an hour, of 40 people in 8 groups: all are requested, then started, then stopped.

    So the three events of a session arrive in different batches, as they mostly do.
    """
    told: list[tuple[SessionEvent, ...]] = []
    for number in range(count // 3):
        requested_at = now - timedelta(days=30, seconds=-(number % 2_000_000))
        started_at = requested_at + timedelta(seconds=4)
        session = SessionDescription(
            session_id=new_session_id(),
            username=f"user-{number % 40}",
            group=f"group-{number % 8}",
            size="small",
            environment="astronomy",
            milli_cores=1000,
            memory_bytes=2**31,
            requested_at=requested_at,
        )
        life = (
            (EventKind.REQUESTED, requested_at, None),
            (EventKind.STARTED, started_at, started_at),
            (EventKind.STOPPED, started_at + timedelta(hours=1), started_at),
        )
        told.append(
            tuple(
                SessionEvent(
                    event_id=uuid4(), kind=kind, session=session, at=at, started_at=started
                )
                for kind, at, started in life
            )
        )
    events = [event for column in zip(*told, strict=True) for event in column]
    return [events[at : at + size] for at in range(0, count, size)]
