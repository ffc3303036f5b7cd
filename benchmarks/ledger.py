"""Quotas, reports and exports from a ledger of years: 10 million segments where asked for."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import TypeVar

import httpx
import psycopg
from sqlalchemy.ext.asyncio import AsyncEngine
from tests.conftest import Databases, running_postgres
from tests.harness.waiting import until
from tests.server.service import HUB_TOKEN, Service

from benchmarks import events
from benchmarks.history import GROUPS, PEOPLE, History, fill
from benchmarks.report import Row, percentile
from dachub import migrations
from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine, session_maker, transaction
from dachub.model.exports import ExportFormat
from dachub.model.usage import Policy, Resource, Usage, UsageDimension
from dachub.reports.services.exports import Output
from dachub.server.factory import Factory

BY = Principal("operator:bench", PrincipalKind.OPERATOR)
REPEATS = 7
WARM_UP = 100
DECISIONS = 1000
BATCH, BATCHES = 200, 15
CHECK_DEADLINE_SECONDS = 1200

Result = TypeVar("Result")

# The same year without any sums: what every report would cost that added up segments.
_SCAN = """
select coalesce(sum(g.milli_cores * extract(epoch from
           least(coalesce(g.ended_at, %(now)s), %(until)s) - greatest(g.started_at, %(since)s)
       )::bigint), 0)
from segment g join session s using (session_id)
where s."group" = %(group)s and g.started_at < %(until)s
      and coalesce(g.ended_at, %(now)s) > %(since)s
"""


def run(segments: int) -> list[Row]:
    """Everything on one ledger, each write committed to disk."""
    with running_postgres(durable=True) as maintenance_url:
        url = Databases(maintenance_url).create()
        migrations.upgrade(url)
        history = fill(url, segments)
        rows = asyncio.run(_in_process(url, history))
        rows += _over_http(url)
    return [Row(f"ledger, {segments:,}", row.what, row.unit, row.dachub, row.plain, row.goal)
            for row in rows]  # fmt: skip


class _Ledger:
    """The services on the history, at the moment at which it ends."""

    def __init__(self, engine: AsyncEngine, history: History) -> None:
        self._engine = engine
        self._clock = HeldClock(history.until)

    async def timed(self, work: Callable[[Factory], Awaitable[Result]]) -> tuple[float, Result]:
        """Seconds that one transaction took, and what came of it."""
        start = time.perf_counter()
        async with transaction(session_maker(self._engine)) as session:
            result = await work(Factory(Settings(), session, self._clock))
        return time.perf_counter() - start, result

    async def report(
        self, history: History, by: Sequence[UsageDimension], group: str | None
    ) -> tuple[float, Usage]:
        """Median time of a report on the last year; the total."""
        since, until = _year(history)
        seconds = []
        for _ in range(REPEATS):
            took, report = await self.timed(
                lambda services: services.usage().report(
                    BY, since=since, until=until, dimensions=by, group=group
                )
            )
            seconds.append(took)
        return median(seconds), report.total


def _year(history: History) -> tuple[datetime, datetime]:
    """The last 365 days, today included."""
    until = history.until.replace(hour=0, minute=0, second=0) + timedelta(days=1)
    return until - timedelta(days=365), until


async def _in_process(url: str, history: History) -> list[Row]:
    engine = create_engine(url)
    ledger = _Ledger(engine, history)
    try:
        rebuilt, count = await ledger.timed(lambda services: services.ledger().rebuild_usage_days())
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("vacuum analyze")
        checked, differences = await ledger.timed(
            lambda services: services.ledger().check_usage_days()
        )
        assert differences == []
        await ledger.timed(lambda services: _allocate(services, history))
        return [
            Row("", f"usage made anew from the segments ({count:,} rows by day)", "s", rebuilt),
            Row("", "all sums compared with the segments", "s", checked),
            *await _reports(url, history, ledger),
            await _ingest(history, ledger),
            await _export(history, ledger, "Open XDMoD", ExportFormat.XDMOD_JOBS),
            await _export(history, ledger, "APEL", ExportFormat.APEL_CLOUD),
        ]
    finally:
        await engine.dispose()


async def _allocate(services: Factory, history: History) -> None:
    """Of every group: years, a quarter, two top-ups that overlap; limits for some members."""
    day = timedelta(days=1)
    for number in range(GROUPS):
        group = f"group-{number}"
        since, until = _year(history)
        periods = [(since - years * 365 * day, until - years * 365 * day) for years in range(5)]
        periods += [(until - 60 * day, until + 30 * day), (until - 10 * day, until + 20 * day),
                    (until - 100 * day, until + 5 * day)]  # fmt: skip
        for starts_at, ends_at in periods:
            await services.allocations().create(
                BY, group=group, resource=Resource.CORE_HOURS, amount=10**8, starts_at=starts_at,
                ends_at=ends_at, policy=Policy.DENY, reason="bench", tell=False,
            )  # fmt: skip
        for member in range(number, PEOPLE, GROUPS * 10):
            await services.limits().set(
                BY, group, f"user-{member}", Resource.CORE_HOURS, 10**6, "bench"
            )


async def _reports(url: str, history: History, ledger: _Ledger) -> list[Row]:
    group = "group-3"
    since, until = _year(history)
    with psycopg.connect(url) as connection:
        start = time.perf_counter()
        row = connection.execute(
            _SCAN, {"group": group, "since": since, "until": until, "now": history.until}
        ).fetchone()
        scan = time.perf_counter() - start
    assert row is not None
    asked: list[tuple[str, list[UsageDimension], str | None, str]] = [
        ("a group's year: total", [], group, "< 50"),
        ("a group's year by month and member", ["month", "user"], group, "< 50"),
        ("a group's year by day", ["day"], group, "< 50"),
        ("a group's year by day and member", ["day", "user"], group, ""),
        ("the service's year by month and group", ["month", "group"], None, ""),
        ("the service's year by institution, size and environment",
         ["institution", "size", "environment"], None, ""),
        ("the service's year by day", ["day"], None, ""),
    ]  # fmt: skip
    rows = [Row("", "a group's year by adding up segments (scan)", "ms", 1000 * scan)]
    for what, dimensions, whose, goal in asked:
        took, total = await ledger.report(history, dimensions, whose)
        if whose is not None:
            assert total.milli_core_seconds == row[0], "the report and the scan differ"
            ratio = f"{scan / took:.0f} x as fast as the scan (goal: 100)"
            goal = f"{goal} ms; {ratio}" if goal else ratio
        rows.append(Row("", what, "ms", 1000 * took, goal=goal))
    return rows


async def _ingest(history: History, ledger: _Ledger) -> Row:
    batches = events.batches(BATCH * BATCHES, BATCH, history.until)
    seconds = 0.0
    for batch in batches:
        took, receipt = await ledger.timed(lambda services, b=batch: services.ledger().apply(b))
        assert receipt.refused == []
        seconds += took
    return Row("", f"events applied, {BATCH} a batch", "events/s", BATCH * BATCHES / seconds)


async def _export(history: History, ledger: _Ledger, to: str, form: ExportFormat) -> Row:
    """The month before the last one, prepared in the database up to the writing of the files."""
    last = (history.until.replace(day=1) - timedelta(days=1)).replace(day=1)
    month = (last - timedelta(days=1)).replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    took, outcome = await ledger.timed(
        lambda services: services.exports().prepare(
            BY, form, Output(Path("/nonexistent")), month,
            last.replace(hour=0, minute=0, second=0, microsecond=0),
        )
    )  # fmt: skip
    records = outcome.run.records if outcome.run else 0
    return Row("", f"a month for {to}, prepared ({records:,} records)", "s", took)


@contextmanager
def _service(url: str) -> Iterator[Service]:
    """The service as it runs, once it has compared all sums after its start."""
    with tempfile.TemporaryDirectory(prefix="dachub-bench-", dir="/tmp") as directory:
        service = Service(Path(directory), url)
        started = datetime.now(UTC)
        service.start()
        try:
            service.until_health(200, seconds=120)
            until(lambda: _checked(url, started), "comparison of sums", CHECK_DEADLINE_SECONDS)
            yield service
        finally:
            service.stop()


def _checked(url: str, since: datetime) -> bool:
    with psycopg.connect(url) as connection:
        row = connection.execute(
            "select 1 from worker_run where name = 'check-usage-days' and succeeded_at >= %s",
            [since.replace(microsecond=0)],
        ).fetchone()
    return row is not None


def _over_http(url: str) -> list[Row]:
    """Decisions for people and groups at random, one after the other, as the hub asks for them."""
    chance = random.Random(42)
    with _service(url) as service, httpx.Client(
        base_url=f"http://127.0.0.1:{service.port}/services/dac/api/v1",
        headers={"Authorization": f"Bearer {HUB_TOKEN}"},
    ) as hub:  # fmt: skip
        decisions, peers = [], []
        for number in range(WARM_UP + DECISIONS):
            person = chance.randrange(PEOPLE)
            body = {
                "username": f"user-{person}",
                "choice": {"group": f"group-{person % GROUPS}", "size": "small"},
            }
            start = time.perf_counter()
            answer = hub.post("/sessions/authorize", json=body)
            between = time.perf_counter()
            assert hub.get("/health").status_code == 200
            end = time.perf_counter()
            assert answer.status_code == 200, answer.text
            assert answer.json()["allowed"], answer.text
            if number >= WARM_UP:
                decisions.append(between - start)
                peers.append(end - between)
    return [
        Row("", f"quota decision over HTTP, beside GET /health: p{percent}", "ms",
            1000 * percentile(decisions, percent), 1000 * percentile(peers, percent), goal)
        for percent, goal in ((50, ""), (99, "< 10"))
    ]  # fmt: skip
