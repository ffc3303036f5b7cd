"""For any history, what is exported adds up to what the portal shows, to the second."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import OwnLoop
from tests.reports.conftest import OPERATOR, ApelServer, content, ran, session_id, utc

from dachub.config import Settings
from dachub.infra.clock import HeldClock
from dachub.model.exports import ExportFormat
from dachub.reports.formats import slurm
from dachub.reports.services import Output
from dachub.server.factory import Factory

NOW = utc(2028, 4, 20)
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
NOWHERE = Output(Path("/nowhere"))
# A leap day, midnights, ends of months, hours at which clocks are changed elsewhere.
EDGES = [utc(2028, 1, 1), utc(2028, 2, 1), utc(2028, 2, 29), utc(2028, 3, 1), utc(2028, 3, 26, 1),
         utc(2028, 3, 26, 2), utc(2028, 4, 1)]  # fmt: skip
moments = st.one_of(
    st.sampled_from(EDGES),
    st.builds(lambda at, seconds: at + seconds * SECOND, st.sampled_from(EDGES),
              st.integers(-3, 3) | st.integers(-4_000_000, 1_000_000)),
)  # fmt: skip


@st.composite
def histories(draw: st.DrawFn) -> list[tuple[str, datetime, datetime | None, str, str, int]]:
    found = []
    for number in range(draw(st.integers(1, 6))):
        start, end = sorted(draw(st.tuples(moments, moments)))
        found.append(
            (
                f"s{number}",
                start,
                draw(st.sampled_from([end, end, None])),
                draw(st.sampled_from(["ada", "grace"])),
                draw(st.sampled_from(["lensing", "cosmology"])),
                draw(st.sampled_from([1, 250, 1000, 1500, 4000])),
            )
        )
    return found


def months(since: datetime, until: datetime) -> list[tuple[datetime, datetime]]:
    """Calendar months from ``since`` to ``until``."""
    edges = [since]
    while edges[-1] < until:
        edges.append((edges[-1] + 32 * DAY).replace(day=1))
    return list(pairwise(edges))


async def check(
    engine: AsyncEngine,
    history: list[tuple[str, datetime, datetime | None, str, str, int]],
    cut: datetime,
    corrected: list[tuple[int, datetime | None]],
) -> None:
    async with engine.connect() as connection:
        outer = await connection.begin()
        async with AsyncSession(
            connection, expire_on_commit=False, join_transaction_mode="create_savepoint"
        ) as session:
            services = Factory(Settings(), session, HeldClock(NOW))
            for name, start, end, username, group, milli_cores in history:
                await services.ledger().apply(
                    ran(name, start, end, username=username, group=group, milli_cores=milli_cores)
                )
            await check_jobs(services, cut)
            server = ApelServer()
            await send(services, server, cut)
            await check_months(services, server, cut)
            for number, end in corrected:
                await correct(services, history[number % len(history)], end)
            await send(services, server, utc(2028, 4, 1))
            await check_months(services, server, utc(2028, 4, 1))
        await outer.rollback()


async def correct(
    services: Factory,
    told: tuple[str, datetime, datetime | None, str, str, int],
    end: datetime | None,
) -> None:
    """Void it, or let it end elsewhere; what cannot be corrected so stays."""
    name, start, ended, *_ = told
    corrections = services.corrections()
    known = await services.sessions().show(OPERATOR, session_id(name))
    if known.is_void or (end is not None and (ended is None or end == known.ended_at)):
        return
    if end is None:
        await corrections.void(OPERATOR, session_id(name), "a test")
    elif start < end and end not in (ended, known.ended_at):
        await corrections.amend(OPERATOR, session_id(name), "a test", ended_at=end)


async def check_jobs(services: Factory, cut: datetime) -> None:
    """Sums of the lines by person and group are the ledger's of the sessions that ended."""
    lines: Counter[tuple[str, str]] = Counter()
    ledger: Counter[tuple[str, str]] = Counter()
    records = await services.sessions().list(OPERATOR, state="ended", limit=1000)
    for since, until in ((utc(2027, 1, 1), cut), (cut, utc(2028, 4, 15))):
        outcome = await services.exports().prepare(
            OPERATOR, ExportFormat.XDMOD_JOBS, NOWHERE, since, until
        )
        steps = [step.milli_core_seconds for step in outcome.reconciliation]
        used = await services.usage().report(OPERATOR, since=since, until=until)
        assert steps[0] == used.total.milli_core_seconds
        assert sum(steps[:5]) == steps[5]
        assert steps[5] + steps[6] == steps[7]
        if outcome.run is None:
            assert steps[5] == 0
            continue
        assert outcome.run.milli_core_seconds == steps[5]
        (text,) = await content(services, outcome.run)
        await services.exports().conclude(OPERATOR, outcome.run.run_id)
        for line in text.decode().splitlines():
            job = slurm.read_line(line)
            lines[job.user, job.account] += job.seconds
    for record in records:
        assert record.started_at is not None
        assert record.ended_at is not None
        if record.ended_at <= utc(2028, 4, 15):
            ledger[record.username, record.group] += round(
                record.core_seconds * 1000 / record.milli_cores
            )
    assert +lines == +ledger


async def send(services: Factory, server: ApelServer, until: datetime) -> None:
    outcome = await services.exports().prepare(
        OPERATOR, ExportFormat.APEL_CLOUD, NOWHERE, utc(2027, 1, 1), until
    )
    before = server.milli_core_seconds().total()
    if outcome.run is not None:
        server.load(await content(services, outcome.run))
        await services.exports().conclude(OPERATOR, outcome.run.run_id)
        assert server.milli_core_seconds().total() - before == outcome.run.milli_core_seconds


async def check_months(services: Factory, server: ApelServer, told_until: datetime) -> None:
    """Each month that is over is charged as in the portal."""
    charged = server.milli_core_seconds()
    for since, until in months(utc(2027, 1, 1), told_until):
        if until <= told_until:
            used = await services.usage().report(OPERATOR, since=since, until=until)
            assert charged[since.year, since.month] == used.total.milli_core_seconds, since


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    history=histories(),
    cut=st.sampled_from([utc(2028, 2, 1), utc(2028, 2, 29), utc(2028, 3, 1), utc(2028, 3, 26, 1)]),
    corrected=st.lists(st.tuples(st.integers(0, 5), st.none() | moments), max_size=3),
)
def test_lines_and_months_add_up_to_the_ledger(
    history: list[tuple[str, datetime, datetime | None, str, str, int]],
    cut: datetime,
    corrected: list[tuple[int, datetime | None]],
    own_loop: OwnLoop,
) -> None:
    loop, engine = own_loop
    loop.run_until_complete(check(engine, history, cut, corrected))
