"""Two who do something at the same moment: nobody is lost, nobody exceeds what may be."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import UUID

import pytest
from tests.accounting.conftest import Describe, event, life
from tests.harness.waiting import waits_for_a_lock

from dachub.accounting.store.sessions import SessionStore
from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.allocations import Recurrence
from dachub.model.people import ClaimedMembership, LoginRecord, Role
from dachub.model.sessions import EventKind
from dachub.model.usage import Resource
from dachub.quota.models import TooManyRequests
from dachub.quota.services.requests import A_DAY_MAX, OPEN_MAX
from dachub.quota.store.allocations import AllocationStore
from dachub.server.factory import Factory, Process
from dachub.server.hubapi import HubAPI
from dachub.server.stopping import notice_leavers
from dachub.server.workers import keep_series

OPERATOR = Principal("operator:root", PrincipalKind.OPERATOR)
GRACE = Principal("grace", PrincipalKind.PERSON, roles={"lensing": Role.MEMBER})


@pytest.fixture
async def process(database_url: str, clock: HeldClock) -> AsyncIterator[Process]:
    """A service that commits, with grace in the group lensing."""
    made = Process(Settings(), create_engine(database_url), hub=HubAPI("", ""), clock=clock)
    await _sign_in(made, "lensing")
    yield made
    await made.close()


async def _sign_in(process: Process, *groups: str) -> None:
    async with process.factory() as services:
        await services.logins().record(
            LoginRecord(
                issuer="https://idp.example", subject="grace", candidate="grace",
                at=process.clock.now(),
                memberships=[ClaimedMembership(provider_name=group) for group in groups],
            )
        )  # fmt: skip


async def _give_notice(process: Process) -> None:
    async with process.factory() as services:
        await services.enforcement()._give_notice({("lensing", Resource.CORE_HOURS, ""): 900}, {})


async def _notice_leavers(process: Process) -> None:
    await _sign_in(process)
    await notice_leavers(process)


@pytest.mark.parametrize("stops", [_give_notice, _notice_leavers])
@pytest.mark.parametrize("reverse", [False, True])
async def test_stops_and_events_of_the_same_servers_do_not_wait_for_each_other_in_a_circle(
    process: Process,
    describe: Describe,
    monkeypatch: pytest.MonkeyPatch,
    stops: Callable[[Process], Awaitable[None]],
    reverse: bool,
) -> None:
    process.clock.advance(timedelta(hours=1))  # type: ignore[attr-defined]
    now = process.clock.now()
    running = [describe(session_id=UUID(int=number + 1)) for number in range(2)]
    async with process.factory() as services:
        for session in running:
            await services.ledger().apply(life(session, now))

    async def batch() -> None:
        async with process.factory() as services:
            for session in sorted(running, key=lambda one: one.session_id, reverse=reverse):
                stopped = event(EventKind.STOPPED, session, now, started_at=now)
                assert not (await services.ledger().apply([stopped])).refused

    schedule, batches = SessionStore.schedule_stop, []

    async def then_comes_a_batch(self: SessionStore, *about: object) -> bool:
        done = await schedule(self, *about)  # type: ignore[arg-type]
        if not batches:
            batches.append(asyncio.create_task(batch()))
            await waits_for_a_lock(process.engine)
        return done

    monkeypatch.setattr(SessionStore, "schedule_stop", then_comes_a_batch)
    await stops(process)
    await batches[0]
    async with process.factory() as services:
        assert await services.sessions().running() == []


@pytest.mark.parametrize(
    ("made_before", "decided", "most"), [(OPEN_MAX - 1, 0, 1), (A_DAY_MAX - 1, A_DAY_MAX - 1, 1)]
)
async def test_many_who_ask_at_once_do_not_exceed_what_a_group_may_ask(
    process: Process, made_before: int, decided: int, most: int
) -> None:
    async def ask(services: Factory) -> int:
        made = await services.requests().ask(
            GRACE, group="lensing", resource=Resource.CORE_HOURS, amount=5, reason="more"
        )
        return made.request_id

    async with process.factory() as services:
        for number in range(made_before):
            request_id = await ask(services)
            if number < decided:
                await services.requests().withdraw(GRACE, request_id)

    async def at_once() -> bool:
        try:
            async with process.factory() as services:
                await ask(services)
        except TooManyRequests:
            return False
        return True

    assert sum(await asyncio.gather(*(at_once() for _ in range(6)))) == most


async def test_a_limit_that_several_raise_at_once_grows_by_what_each_granted(
    process: Process,
) -> None:
    async with process.factory() as services:
        await services.limits().set(
            OPERATOR, "lensing", "grace", Resource.CORE_HOURS, 10, "a fair share"
        )
        requests = [
            await services.requests().ask(
                GRACE, group="lensing", resource=Resource.CORE_HOURS, amount=amount,
                reason="more", own_limit=True,
            )
            for amount in (1, 2, 4, 8)
        ]  # fmt: skip

    async def grant(request_id: int) -> None:
        async with process.factory() as services:
            await services.requests().grant(OPERATOR, request_id)

    await asyncio.gather(*(grant(request.request_id) for request in requests))
    async with process.factory() as services:
        limit = await services.limits().of("lensing", "grace", Resource.CORE_HOURS)
    assert limit.amount == 25 * Resource.CORE_HOURS.base_units


async def test_what_is_carried_over_is_taken_back_no_further_than_to_nothing(
    process: Process,
    clock: HeldClock,
    describe: Describe,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A late event shortens what was carried over while an administrator takes the rest away."""
    clock.jump(datetime(2027, 3, 31, 12, tzinfo=UTC) - clock.now())
    async with process.factory() as services:
        series = await services.series().add(
            OPERATOR, group="lensing", resource=Resource.CORE_HOURS, amount=10,
            every=Recurrence.MONTH, carry_over_percent=None, reason="call",
        )  # fmt: skip
    start = clock.now() - timedelta(hours=8)
    late = life(describe(requested_at=start), start, start + timedelta(hours=8))
    clock.advance(timedelta(days=1))
    await keep_series(process)
    async with process.factory() as services:
        april = next(
            one for one in await services.allocations().list(OPERATOR)
            if one.series_id == series.series_id and one.starts_at <= clock.now() < one.ends_at
        )  # fmt: skip
        assert april.amount == Resource.CORE_HOURS.base_units * 20
        await services.ledger().apply(late)
    append, others = AllocationStore.append, []

    async def take_away() -> None:
        async with process.factory() as services:
            await services.allocations().adjust(
                OPERATOR, april.allocation_id, Decimal(-15), "needed elsewhere"
            )

    async def while_an_administrator_takes(self: AllocationStore, *about: object) -> bool:
        if not others:
            monkeypatch.setattr(AllocationStore, "append", append)
            others.append(asyncio.create_task(take_away()))
            done, _ = await asyncio.wait(
                [others[0], asyncio.create_task(waits_for_a_lock(process.engine))],
                return_when=asyncio.FIRST_COMPLETED,
            )
            assert done
        return await append(self, *about)  # type: ignore[arg-type]

    monkeypatch.setattr(AllocationStore, "append", while_an_administrator_takes)
    await keep_series(process)
    outcomes = await asyncio.gather(*others, return_exceptions=True)
    async with process.factory() as services:
        after = await services.allocations().show(OPERATOR, april.allocation_id)
    assert after.amount >= 0
    assert [type(outcome).__name__ for outcome in outcomes] == ["AllocationBelowZero"]
