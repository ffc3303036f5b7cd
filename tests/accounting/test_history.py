"""Any history, told in any order, with repetitions and losses, ends in the same ledger."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import permutations
from uuid import UUID, uuid5

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, accounting, event
from tests.conftest import OwnLoop

from dachub.accounting.models import End, Life, Start
from dachub.accounting.services import Accounting
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine, session_maker, transaction
from dachub.model.sessions import EndReason, EventKind, SessionDescription, SessionEvent
from dachub.model.usage import Usage, UsageDimension

NOW = datetime(2028, 3, 2, 0, 0, 30, tzinfo=UTC)
SPACE = UUID(int=0)
SECOND = timedelta(seconds=1)


@dataclass(frozen=True)
class Ran:
    """A session as it really was; ``stop`` counts from the start, ``None`` while it runs."""

    session: SessionDescription
    start: datetime | None
    end: datetime | None
    estimates: tuple[datetime, ...]
    ends_exactly: bool

    @property
    def told(self) -> list[SessionEvent]:
        """All that the hub has to tell of it."""
        told = [event(EventKind.REQUESTED, self.session, self.session.requested_at)]
        if self.start is None:
            if self.end is not None:
                told.append(event(EventKind.FAILED, self.session, self.end))
            return told
        told.append(event(EventKind.STARTED, self.session, self.start, started_at=self.start))
        told += [
            event(EventKind.STOPPED, self.session, at, started_at=self.start, estimate=True)
            for at in self.estimates
        ]
        if self.end is not None and self.ends_exactly:
            told.append(event(EventKind.STOPPED, self.session, self.end, started_at=self.start))
        return told


def expected(told: Sequence[SessionEvent]) -> tuple[datetime, datetime] | None:
    """What is to be charged for a session of which only ``told`` is known: [start, end)."""
    starts = [one.started_at for one in told if one.started_at is not None]
    if not starts:
        return None
    stops = [one for one in told if one.kind is EventKind.STOPPED]
    exact = [one.at for one in stops if not one.end_is_estimate]
    if exact:
        return starts[0], min(exact)
    return starts[0], max((one.at for one in stops), default=NOW)


seconds = st.integers(0, 4 * 86400) | st.sampled_from([0, 1, 30, 31, 86400, 86430, 86431, 172830])


@st.composite
def histories(draw: st.DrawFn) -> list[Ran]:
    ran = []
    for number in range(draw(st.integers(1, 5))):
        age = draw(seconds)
        requested_at = NOW - age * SECOND
        waits = draw(st.integers(0, age)) * SECOND
        start = draw(st.sampled_from([requested_at + waits, requested_at + waits, None]))
        lasts = draw(st.none() | st.integers(0, int((NOW - requested_at - waits).total_seconds())))
        end = None if lasts is None else requested_at + waits + lasts * SECOND
        estimates = ()
        if start is not None and end is not None:
            spans = draw(st.lists(st.integers(0, lasts or 0), max_size=2))
            estimates = tuple(start + span * SECOND for span in spans)
        ran.append(
            Ran(
                SessionDescription(
                    session_id=uuid5(SPACE, str(number)),
                    username=draw(st.sampled_from(["ada", "grace"])),
                    group=draw(st.sampled_from(["lensing", "cosmology"])),
                    kind=draw(st.sampled_from(["notebook", "dask"])),
                    size="small",
                    environment="astronomy",
                    milli_cores=draw(st.sampled_from([1, 250, 4000])),
                    memory_bytes=draw(st.sampled_from([1, 2**33])),
                    gpus=draw(st.integers(0, 2)),
                    requested_at=requested_at,
                ),
                start,
                end,
                estimates,
                draw(st.booleans()),
            )
        )
    return ran


async def in_own_transaction(engine: AsyncEngine) -> AsyncSession:
    session = AsyncSession(engine, expire_on_commit=False)
    await session.begin()
    return session


async def check_agreement(services: Accounting, told: Sequence[SessionEvent]) -> None:
    """Every way to sum up agrees with the histories, to the unit."""
    by_session: dict[UUID, list[SessionEvent]] = {}
    for one in told:
        by_session.setdefault(one.session.session_id, []).append(one)
    by_day: Counter[tuple[str, str, str, str]] = Counter()
    spans: dict[UUID, tuple[datetime, datetime]] = {}
    total, memory, gpus = 0, 0, 0
    for session_id, known in by_session.items():
        span = expected(known)
        if span is None:
            continue
        spans[session_id] = span
        one = known[0].session
        length = int((span[1] - span[0]).total_seconds())
        total += length * one.milli_cores
        memory += length * one.memory_bytes
        gpus += length * one.gpus
        at = span[0]
        while at < span[1]:
            midnight = at.replace(hour=0, minute=0, second=0) + timedelta(days=1)
            until = min(midnight, span[1])
            key = (str(at.date()), one.username, one.group, one.kind.value)
            by_day[key] += int((until - at).total_seconds()) * one.milli_cores
            at = until
    since, until = NOW - timedelta(days=30), NOW + timedelta(days=30)
    report = services.usage().report
    every: list[UsageDimension] = ["day", "user", "group", "kind", "size", "environment"]
    full = await report(ADMINISTRATOR, since=since, until=until, dimensions=every)
    assert full.total == Usage(
        milli_core_seconds=total, memory_byte_seconds=memory, gpu_seconds=gpus
    )
    assert {
        (str(row.day), str(row.username), str(row.group), str(row.kind)): row.milli_core_seconds
        for row in full.rows
        if row.milli_core_seconds
    } == +by_day
    for dimension in every:
        assert (
            await report(ADMINISTRATOR, since=since, until=until, dimensions=[dimension])
        ).total == full.total
    records = await services.sessions().list(ADMINISTRATOR, limit=1000)
    assert sum(round(record.core_seconds * 1000) for record in records) == total
    for record in records:
        span = spans.get(record.session_id)
        assert record.started_at == (span[0] if span else None)
    # Any cut of time gives parts that add up.
    cut = NOW - timedelta(days=1, seconds=17)
    parts = [
        (await report(ADMINISTRATOR, since=a, until=b)).total.milli_core_seconds
        for a, b in ((since, cut), (cut, NOW - SECOND), (NOW - SECOND, until))
    ]
    assert sum(parts) == total
    assert await services.ledger().check_usage_days() == []


async def tell_and_check(
    engine: AsyncEngine, batches: Sequence[Sequence[SessionEvent]], midnight_after: int
) -> None:
    clock = HeldClock(NOW)
    session = await in_own_transaction(engine)
    try:
        services = accounting(session, clock)
        told: list[SessionEvent] = []
        for number, batch in enumerate(batches):
            assert (await services.ledger().apply(batch)).refused == []
            told += batch
            if number == midnight_after:
                await services.ledger().count_open_days()
        await check_agreement(services, told)
        await services.ledger().count_open_days()
        await check_agreement(services, told)
    finally:
        await session.rollback()
        await session.close()


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories(), data=st.data())
def test_sums_by_day_user_group_and_session_always_agree(
    history: list[Ran],
    data: st.DataObject,
    own_loop: OwnLoop,
) -> None:
    loop, engine = own_loop
    told = [one for ran in history for one in ran.told]
    kept = data.draw(st.lists(st.sampled_from(told), min_size=1, max_size=2 * len(told)))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(kept)), max_size=3)))
    batches = [kept[a:b] for a, b in zip([0, *cuts], [*cuts, len(kept)], strict=True)]
    midnight_after = data.draw(st.integers(0, len(batches)))
    loop.run_until_complete(tell_and_check(engine, batches, midnight_after))


moments = st.integers(0, 20).map(lambda n: NOW + n * SECOND)
lives = st.one_of(
    st.builds(lambda at, estimate: Life(Start(at, estimate)), moments, st.booleans()),
    st.builds(lambda at: Life(seen_at=at), moments),
    st.builds(lambda digest: Life(image_digest=digest), st.sampled_from(["sha256:a", "sha256:b"])),
    st.builds(
        lambda at, reason, estimate: Life(end=End(at, reason, estimate)),
        moments,
        st.sampled_from(EndReason),
        st.booleans(),
    ),
)


@settings(max_examples=300, deadline=None)
@given(st.lists(lives, min_size=1, max_size=4))
def test_what_is_known_does_not_depend_on_the_order(known: list[Life]) -> None:
    results = set()
    for order in permutations(known):
        merged = Life()
        for each in order:
            merged = merged.merge(each)
        results.add(merged)
        again = merged
        for each in order:
            again = again.merge(each)
        assert again == merged
    assert len(results) == 1


async def test_two_batches_at_once_count_once(database_url: str) -> None:
    engine = create_engine(database_url)
    clock = HeldClock(NOW)
    told: list[SessionEvent] = []
    for number in range(60):
        requested_at = NOW - timedelta(hours=30, seconds=number)
        session = SessionDescription(
            session_id=uuid5(SPACE, f"at-once-{number}"),
            username=f"user-{number % 3}",
            group="lensing",
            size="small",
            environment="astronomy",
            milli_cores=1000,
            memory_bytes=1,
            requested_at=requested_at,
        )
        end = requested_at + timedelta(hours=26)
        told += Ran(session, requested_at, end, (end - SECOND,), ends_exactly=True).told

    async def deliver(events: Sequence[SessionEvent]) -> int:
        async with transaction(session_maker(engine)) as session:
            return (await accounting(session, clock).ledger().apply(events)).accepted

    try:
        orders = [told, told[::-1], told[1::2] + told[::2], told[len(told) // 2 :]]
        accepted = await asyncio.gather(*(deliver(order) for order in orders))
        assert accepted == [len(order) for order in orders]
        async with AsyncSession(engine) as session:
            await check_agreement(accounting(session, clock), told)
    finally:
        await engine.dispose()
