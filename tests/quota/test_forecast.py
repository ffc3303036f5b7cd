"""How long what is left lasts: for a server that starts now, and at the rate of late."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, Describe, event, life
from tests.quota.conftest import OFFER, Services
from tests.quota.test_quota import ask, grant

from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.model.people import Role
from dachub.model.sessions import EventKind
from dachub.model.site import Size
from dachub.model.usage import Policy, Resource
from dachub.quota.services.wording import duration
from dachub.quota.settings import QuotaSettings

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
PI = Principal("ada", PrincipalKind.PERSON, roles={"lensing": Role.PI})


async def spent(services: Services, describe: Describe, clock: HeldClock, hours: int) -> None:
    start = clock.now() - 50 * HOUR
    session = describe(requested_at=start)
    await services.ledger().apply(life(session, start, start + hours * HOUR))


async def test_six_core_hours_are_enough_for_four_cores_for_an_hour_and_a_half(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await grant(services, 26)
    await spent(services, describe, clock, 20)
    decision = await services.quota().authorize(ask(size="large"))
    assert decision.allowed
    assert decision.message.endswith(
        "For a server of this size (large) what is left is enough for 1.5 hours, until 13:30 UTC."
    )
    assert decision.balance is not None
    (large,) = decision.balance.forecasts
    assert (large.alone_seconds, large.lasts_seconds) == (5400, 5400)
    assert large.reached_at == clock.now() + 1.5 * HOUR


async def test_what_the_group_runs_now_brings_the_limit_nearer(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await grant(services, 26)
    await spent(services, describe, clock, 20)
    running = describe(milli_cores=8000, username="ada")
    await services.ledger().apply(life(running, clock.now()))
    options = await services.quota().start_options("grace")
    small, large = options.groups[0].forecasts
    assert large.text == (
        "enough for 1.5 hours; beside what runs now (8 cores) for 30 minutes, until 12:30 UTC"
    )
    assert small.text == (
        "enough for 6 hours; beside what runs now (8 cores) for 40 minutes, until 12:40 UTC"
    )
    assert options.groups[0].running_milli_cores == 8000
    clock.advance(timedelta(minutes=30))
    later = (await services.quota().start_options("grace")).groups[0].forecasts[1]
    assert (later.alone_seconds, later.lasts_seconds) == (1800, 600)


async def test_the_persons_own_limit_may_come_first(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await grant(services, 1000)
    await services.limits().set(PI, "lensing", "grace", Resource.CORE_HOURS, 2, "fair share")
    assert (await services.quota().authorize(ask(size="large"))).message.endswith(
        "enough for 30 minutes, until 12:30 UTC."
    )
    assert (await services.quota().authorize(ask("ada", size="large"))).message == ""


async def test_what_lasts_beyond_the_period_is_no_limit(
    services: Services, lensing: str, clock: HeldClock
) -> None:
    await grant(services, 100, ends_at=clock.now() + 10 * HOUR)
    small, large = (await services.quota().start_options("grace")).groups[0].forecasts
    assert (small.text, small.lasts_seconds, small.reached_at) == ("", None, None)
    assert large.text == ""
    await grant(services, 1, Policy.ALLOW)
    assert (await services.quota().authorize(ask())).message == ""


async def test_where_nothing_is_left_no_time_is_promised(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await grant(services, 20, Policy.WARN)
    await spent(services, describe, clock, 20)
    decision = await services.quota().authorize(ask())
    assert decision.message.startswith("The group 'lensing' has used 20.0 of its 20.0 core-hours: ")
    assert "enough" not in decision.message
    assert decision.balance is not None
    assert decision.balance.forecasts[0].alone_seconds == 0


async def test_a_waiting_or_failed_start_consumes_nothing(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await grant(services, 10)
    waiting, failed = describe(milli_cores=4000), describe(milli_cores=4000)
    await services.ledger().apply(
        [
            event(EventKind.REQUESTED, waiting, clock.now()),
            event(EventKind.REQUESTED, failed, clock.now()),
            event(EventKind.FAILED, failed, clock.now()),
        ]
    )
    clock.advance(5 * HOUR)
    balance = await services.quota().balance("lensing")
    assert (balance.used, balance.running_milli_cores) == (0, 0)


async def test_exhaustion_is_projected_from_the_last_fourteen_days(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await grant(services, 1000)
    clock.advance(timedelta(hours=12))  # midnight: the fourteen days are whole
    now = clock.now()
    old = describe(requested_at=now - 40 * DAY, milli_cores=8000)
    new = describe(requested_at=now - 10 * DAY, milli_cores=14000)
    await services.ledger().apply(
        [
            *life(old, old.requested_at, old.requested_at + 50 * HOUR),
            *life(new, new.requested_at, new.requested_at + 20 * HOUR),
        ]
    )
    balance = await services.quota().balance("lensing")
    # 280 core-hours in 14 days are 20 a day; of 1000 there are 320 left.
    assert balance.projected_exhaustion_at == now + 16 * DAY
    await grant(services, 9000)
    assert (await services.quota().balance("lensing")).projected_exhaustion_at is None


async def test_every_resource_that_a_size_consumes_is_checked(
    db: AsyncSession, lensing: str, describe: Describe, clock: HeldClock, services: Services
) -> None:
    gpu = Size(name="gpu", milli_cores=1000, memory_bytes=2**30, gpus=2)
    services._offer = replace(OFFER, sizes=(*OFFER.sizes, gpu))
    await grant(services, 100)
    for resource, amount in [(Resource.GPU_HOURS, 4), (Resource.MEMORY_HOURS, 1000)]:
        await services.allocations().create(
            ADMINISTRATOR, group="lensing", resource=resource, amount=amount,
            starts_at=clock.now() - DAY, ends_at=clock.now() + 100 * DAY, reason="panel A",
        )  # fmt: skip
    decision = await services.quota().authorize(ask(size="gpu"))
    assert "(gpu) what is left is enough for 2 hours" in decision.message
    session = describe(gpus=2, requested_at=clock.now() - 2 * HOUR)
    await services.ledger().apply(life(session, session.requested_at))
    decision = await services.quota().authorize(ask(size="gpu"))
    assert (decision.allowed, decision.code) == (False, "allocation-spent")
    assert "has used 4.0 of its 4.0 GPU-hours: nothing is left" in decision.message
    assert (await services.quota().authorize(ask(size="small"))).allowed
    resources = (await services.quota().start_options("grace")).resources
    assert [(one.resource, one.used / one.resource.base_units) for one in resources] == [
        (Resource.GPU_HOURS, 4), (Resource.MEMORY_HOURS, 4),
    ]  # fmt: skip


async def test_a_later_resource_needs_no_other_tables(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    """Memory came after cores and GPUs: one line says where it is measured."""
    made = await services.allocations().create(
        ADMINISTRATOR, group="lensing", resource=Resource.MEMORY_HOURS, amount="6.5",
        starts_at=clock.now() - DAY, ends_at=clock.now() + DAY, reason="panel A",
    )  # fmt: skip
    session = describe(requested_at=clock.now() - 3 * HOUR)  # 2 GiB
    await services.ledger().apply(life(session, session.requested_at))
    decision = await services.quota().authorize(ask())
    assert decision.allowed
    assert "has used 6.0 of its 6.5 GiB-hours: 0.500 are left." in decision.message
    shown = await services.allocations().show(ADMINISTRATOR, made.allocation_id)
    assert (shown.used, shown.amount) == (6 * 3600 * 2**30, 6.5 * 3600 * 2**30)


async def test_where_the_site_denies_without_allocation_memory_is_still_free(
    db: AsyncSession, lensing: str, clock: HeldClock
) -> None:
    services = Services(db, clock, QuotaSettings(without_allocation=Policy.DENY))
    await grant(services, 10)
    assert (await services.quota().authorize(ask())).allowed


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (59, "0 minutes"),
        (60, "1 minute"),
        (3599, "59 minutes"),
        (3600, "1 hour"),
        (5400, "1.5 hours"),
        (5759, "1.5 hours"),
        (172_800, "2 days"),
    ],
)
def test_a_duration_is_never_told_longer_than_it_is(seconds: int, said: str) -> None:
    assert duration(seconds) == said
