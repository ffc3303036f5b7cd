"""Whatever is allocated and used: nothing is charged twice, nothing is lost, all sums agree."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import UUID, uuid5

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, life
from tests.conftest import OwnLoop
from tests.quota.conftest import Services

from dachub.accounting.models import Span
from dachub.accounting.store.spans import SpanStore
from dachub.infra.clock import HeldClock
from dachub.model.sessions import SessionDescription
from dachub.model.usage import Policy, QuotaPolicy, Resource
from dachub.quota.models import Grant
from dachub.quota.services.balance import left_of, pool, stretches, stretches_of

NOW = datetime(2028, 3, 1, 7, 30, tzinfo=UTC)  # the day after a leap day
DAYS = 20


def day(number: int) -> datetime:
    return datetime(2028, 2, 15, tzinfo=UTC) + timedelta(days=number)


grants_of_days = st.lists(
    st.builds(
        lambda first, length, amount: Grant(day(first), day(first + length), amount, QuotaPolicy()),
        st.integers(0, DAYS - 1),
        st.integers(1, DAYS),
        st.integers(0, 60),
    ),
    max_size=5,
)
use_of_days = st.lists(st.integers(0, 30), min_size=DAYS, max_size=DAYS)


def left_by_the_day(grants: Sequence[Grant], use: Sequence[int], until: int) -> list[int]:
    """What is left of each when every day's use is charged as it happens."""
    left = [grant.amount for grant in grants]
    for number in range(until):
        in_force = sorted(
            (i for i, grant in enumerate(grants) if grant.since <= day(number) < grant.until),
            key=lambda i: grants[i].until,
        )
        amount = use[number]
        for i in in_force:
            charged = min(amount, max(left[i], 0))
            left[i] -= charged
            amount -= charged
        if in_force:
            left[in_force[-1]] -= amount
    return left


def used(
    cut: Sequence[tuple[datetime, datetime]], use: Sequence[int]
) -> list[tuple[datetime, int]]:
    return [
        (since, sum(use[n] for n in range(DAYS) if since <= day(n) < until)) for since, until in cut
    ]


@settings(max_examples=200, deadline=None)
@given(grants_of_days, use_of_days, st.integers(0, DAYS - 1))
def test_charging_stretch_by_stretch_is_charging_day_by_day(
    grants: list[Grant], use: list[int], now: int
) -> None:
    result = pool(grants, used(stretches(grants, day(now)), use), day(now))
    left = left_by_the_day(grants, use, now)
    in_force = [i for i, grant in enumerate(grants) if grant.since <= day(now) < grant.until]
    assert (result is None) is (in_force == [])
    if result is not None:
        # Equal ends may be charged in another order, but together they have the same left.
        assert result.left == sum(left[i] for i in in_force)
        assert result.allocated == sum(grants[i].amount for i in in_force)


@settings(max_examples=150, deadline=None)
@given(grants_of_days, use_of_days)
def test_all_that_is_used_while_something_is_allocated_is_charged_exactly_once(
    grants: list[Grant], use: list[int]
) -> None:
    left = left_by_the_day(grants, use, DAYS)
    charged = sum(grant.amount for grant in grants) - sum(left)
    covered = sum(
        use[n] for n in range(DAYS) if any(grant.since <= day(n) < grant.until for grant in grants)
    )
    assert charged == covered
    for one in grants:
        if one.until <= day(DAYS) and sum(other.until == one.until for other in grants) == 1:
            found = left_of(grants, used(stretches_of(grants, one), use), one)
            assert found == left[next(i for i, grant in enumerate(grants) if grant is one)]


seconds = st.integers(0, 14 * 86400)
ran = st.lists(
    st.tuples(
        seconds,  # how long ago it started
        st.none() | seconds,  # how long it ran
        st.sampled_from(["ada", "grace"]),
        st.sampled_from([250, 1000, 4000]),
        st.integers(0, 2),
        st.booleans(),  # whether it is voided afterwards
    ),
    max_size=6,
)
cuts = st.lists(st.integers(1, 14 * 86400 - 1), max_size=4, unique=True).map(sorted)
changes = st.lists(st.integers(-50, 100), max_size=5)


@settings(
    max_examples=20,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=ran, ages=cuts, appended=changes, is_counted=st.booleans())
def test_allocations_members_and_reports_agree_to_the_unit(
    history: list[tuple[int, int | None, str, int, int, bool]],
    ages: list[int],
    appended: list[int],
    is_counted: bool,
    own_loop: OwnLoop,
) -> None:
    loop, engine = own_loop

    async def check() -> None:
        async with AsyncSession(engine, expire_on_commit=False) as session:
            await session.begin()
            services = Services(session, HeldClock(NOW))
            await _happen(services, history)
            if is_counted:
                await services.ledger().count_open_days()
            await _check_spans(services, session, ages)
            await _check_allocations(services, ages, appended)
            await session.rollback()

    loop.run_until_complete(check())


async def _happen(
    services: Services, history: list[tuple[int, int | None, str, int, int, bool]]
) -> None:
    await services._groups.create(ADMINISTRATOR, "lensing", "Lensing")
    for number, (ago, length, username, milli_cores, gpus, is_void) in enumerate(history):
        start = NOW - timedelta(seconds=ago)
        end = None if length is None else min(start + timedelta(seconds=length), NOW)
        session = SessionDescription(
            session_id=uuid5(UUID(int=0), str(number)), username=username, group="lensing",
            size="small", environment="astronomy", milli_cores=milli_cores, memory_bytes=2**30,
            gpus=gpus, requested_at=start,
        )  # fmt: skip
        assert (await services.ledger().apply(life(session, start, end))).refused == []
        if is_void:
            await services.corrections().void(ADMINISTRATOR, session.session_id, "a fault of ours")


async def _check_spans(services: Services, session: AsyncSession, ages: list[int]) -> None:
    """Spans of quotas say what reports say, and parts and people add up to the whole."""
    moments = [NOW - timedelta(days=15), *(NOW - timedelta(seconds=age) for age in ages[::-1]), NOW]
    spans = [
        Span("lensing", since, until, username)
        for since, until in pairwise(moments)
        for username in (None, "ada", "grace")
    ]
    whole = Span("lensing", moments[0], NOW)
    found = await SpanStore(session).used([*spans, whole], NOW)
    for span, usage in zip(spans, found, strict=False):
        report = await services.usage().report(
            ADMINISTRATOR, since=span.since, until=span.until, group="lensing",
            username=span.username,
        )  # fmt: skip
        assert usage == report.total
    for resource in (Resource.CORE_HOURS, Resource.GPU_HOURS, Resource.MEMORY_HOURS):
        by_part = [resource.used(usage) for usage in found[:-1]]
        assert sum(by_part[::3]) == sum(by_part[1::3]) + sum(by_part[2::3])
        assert sum(by_part[::3]) == resource.used(found[-1])


async def _check_allocations(services: Services, ages: list[int], appended: list[int]) -> None:
    """Successive allocations share out what was used; each is the sum of what was appended."""
    edges = [NOW - timedelta(days=15), *(NOW - timedelta(seconds=age) for age in ages[::-1])]
    edges.append(NOW + timedelta(days=1))
    for since, until in pairwise(edges):
        made = await services.allocations().create(
            ADMINISTRATOR, group="lensing", resource=Resource.CORE_HOURS, amount=1000,
            starts_at=since, ends_at=until, policy=Policy.WARN, reason="part",
        )  # fmt: skip
    accepted = [1000]
    for change in appended:
        if change:
            await services.allocations().adjust(
                ADMINISTRATOR, made.allocation_id, change, f"change by {change}"
            )
            accepted.append(change)
    records = await services.allocations().list(ADMINISTRATOR, group="lensing")
    report = await services.usage().report(
        ADMINISTRATOR, since=edges[0], until=edges[-1], group="lensing"
    )
    assert sum(record.used for record in records) == report.total.milli_core_seconds
    last = next(record for record in records if record.allocation_id == made.allocation_id)
    assert [one.amount // 3_600_000 for one in last.adjustments] == accepted
    assert last.amount == sum(accepted) * 3_600_000
    balance = await services.quota().balance("lensing")
    assert (balance.used, balance.allocated) == (last.used, last.amount)
    assert balance.left == last.amount - last.used
