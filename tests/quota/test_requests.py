"""Asking for more: told to those who decide, decided once, told to those who asked."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from sqlalchemy import insert, update
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR
from tests.quota.conftest import Services
from tests.quota.test_allocations import MEMBER, PI, START, STRANGER, create

from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.tables import MembershipRow, PersonRow
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.notices import NoticeKind
from dachub.model.people import ClaimedMembership, LoginRecord, Role
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.requests import AllocationRequest, RequestState
from dachub.model.usage import Policy, Resource
from dachub.quota.models import (
    InvalidAmount,
    NoAllocationInForce,
    NoOwnLimit,
    RequestDecided,
    TooManyRequests,
)
from dachub.quota.services.requests import A_DAY_MAX, OPEN_MAX
from dachub.server.factory import Factory, Process
from dachub.server.hubapi import HubAPI

HOUR = 3_600_000
MANAGER = Principal("max", PrincipalKind.PERSON, roles={"lensing": Role.MANAGER})


async def ask(services: Services, by: Principal = MEMBER, **changes: object) -> AllocationRequest:
    given = {
        "group": "lensing",
        "resource": Resource.CORE_HOURS,
        "amount": "250",
        "reason": "the second half of the survey",
    }
    return await services.requests().ask(by, **{**given, **changes})  # type: ignore[arg-type]


@pytest.fixture
async def administrator(db: AsyncSession, clock: HeldClock) -> None:
    """The administrator, registered."""
    await db.execute(
        insert(PersonRow).values(
            username="root-admin", issuer="local", subject="root-admin", is_administrator=True,
            created_at=clock.now(),
        )
    )  # fmt: skip


async def told(factory: Factory, username: str) -> list[str]:
    notices = await factory.notices().unread(username)
    return [notice.title for notice in notices if notice.kind is NoticeKind.REQUEST]


async def test_what_was_asked_for_is_granted_and_everybody_told(
    services: Services, factory: Factory, lensing: str, administrator: None
) -> None:
    allocation = await create(services)
    request = await ask(services)
    assert (request.state, request.amount) == (RequestState.OPEN, 250 * HOUR)
    asked = ["Weak lensing: @grace asks for 250.00 core-hours more"]
    assert await told(factory, "root-admin") == await told(factory, "ada") == asked
    assert await told(factory, "grace") == []
    granted = await services.requests().grant(ADMINISTRATOR, request.request_id, reason="Enjoy")
    assert (granted.state, granted.granted) == (RequestState.GRANTED, 250 * HOUR)
    assert (granted.decided_by, granted.decision_reason) == ("root-admin", "Enjoy")
    assert granted.allocation_id == allocation.allocation_id
    (after,) = await services.allocations().list(PI, group="lensing")
    assert after.amount == allocation.amount + 250 * HOUR
    assert after.adjustments[-1].reason == f"Request {request.request_id} of @grace: Enjoy"
    assert await told(factory, "grace") == ["Weak lensing: 250.00 core-hours more were granted"]
    assert len(await told(factory, "ada")) == 2
    assert await told(factory, "root-admin") == asked
    entries = await factory.audit().list(ADMINISTRATOR, group="lensing")
    assert [entry.action for entry in entries] == [
        "request-granted", "allocation-adjusted", "request-made", "allocation-created",
    ]  # fmt: skip


async def test_another_amount_may_be_granted(services: Services, lensing: str) -> None:
    await create(services)
    request = await ask(services)
    granted = await services.requests().grant(ADMINISTRATOR, request.request_id, amount="100.5")
    assert (granted.amount, granted.granted) == (250 * HOUR, 100.5 * HOUR)
    for amount in ("0", "-5"):
        with pytest.raises(InvalidAmount):
            await services.requests().grant(
                ADMINISTRATOR, (await ask(services)).request_id, amount=amount
            )


async def test_what_is_counted_beyond_64_bits_can_be_asked_for_and_granted(
    services: Services, lensing: str
) -> None:
    memory = Resource.MEMORY_HOURS
    await create(services, resource=memory)
    request = await ask(services, resource=memory, amount=10**9)
    granted = await services.requests().grant(ADMINISTRATOR, request.request_id)
    assert granted.amount == granted.granted == 10**9 * memory.base_units > 2**63


async def test_of_several_allocations_the_one_that_ends_last_grows(
    services: Services, lensing: str
) -> None:
    await create(services)
    later = await create(services, ends_at=START + timedelta(days=500))
    await create(services, resource=Resource.GPU_HOURS, ends_at=START + timedelta(days=900))
    request = await ask(services)
    granted = await services.requests().grant(ADMINISTRATOR, request.request_id)
    assert granted.allocation_id == later.allocation_id


async def test_without_an_allocation_the_administrator_names_a_period(
    services: Services, lensing: str, clock: HeldClock
) -> None:
    await create(services, starts_at=START - timedelta(days=9), ends_at=START)  # over
    request = await ask(services)
    with pytest.raises(NoAllocationInForce, match="Name the period"):
        await services.requests().grant(ADMINISTRATOR, request.request_id)
    granted = await services.requests().grant(
        ADMINISTRATOR, request.request_id,
        starts_at=clock.now(), ends_at=clock.now() + timedelta(days=90),
    )  # fmt: skip
    (made, _) = await services.allocations().list(PI, group="lensing")
    assert (made.allocation_id, made.amount) == (granted.allocation_id, 250 * HOUR)
    assert made.policy is Policy.DENY


async def test_half_a_period_is_no_period(
    services: Services, lensing: str, clock: HeldClock
) -> None:
    await create(services)
    request = await ask(services)
    with pytest.raises(InvalidInput, match="both"):
        await services.requests().grant(ADMINISTRATOR, request.request_id, starts_at=clock.now())


async def test_a_refusal_has_a_reason_and_is_told(
    services: Services, factory: Factory, lensing: str
) -> None:
    request = await ask(services)
    with pytest.raises(InvalidInput):
        await services.requests().decline(ADMINISTRATOR, request.request_id, " \n")
    declined = await services.requests().decline(
        ADMINISTRATOR, request.request_id, "The site has nothing left this quarter."
    )
    assert declined.state is RequestState.DECLINED
    (notice,) = await factory.notices().unread("grace")
    assert notice.title == "Weak lensing: the request for 250.00 core-hours more was declined"
    assert "nothing left this quarter" in notice.text


async def test_who_asked_may_withdraw(services: Services, factory: Factory, lensing: str) -> None:
    request = await ask(services)
    for by in (PI, ADMINISTRATOR):
        with pytest.raises(PermissionDenied):
            await services.requests().withdraw(by, request.request_id)
    withdrawn = await services.requests().withdraw(MEMBER, request.request_id)
    assert withdrawn.state is RequestState.WITHDRAWN
    with pytest.raises(RequestDecided, match="withdrawn by grace"):
        await services.requests().grant(ADMINISTRATOR, request.request_id)
    assert await told(factory, "grace") == []


async def test_only_members_ask_and_only_administrators_decide(
    services: Services, lensing: str
) -> None:
    for by in (STRANGER, Principal("hub", PrincipalKind.HUB)):
        with pytest.raises(PermissionDenied):
            await ask(services, by)
    request = await ask(services)
    for by in (MEMBER, PI, STRANGER, Principal("root-admin", PrincipalKind.SERVER, True)):
        with pytest.raises((PermissionDenied, NotFound)):
            await services.requests().grant(by, request.request_id)
        with pytest.raises((PermissionDenied, NotFound)):
            await services.requests().decline(by, request.request_id, "no")


async def test_people_see_their_own_and_those_of_groups_they_manage(
    services: Services, lensing: str
) -> None:
    first, second = await ask(services), await ask(services, PI)
    requests = services.requests()
    for by, seen in (
        (MEMBER, [first]),
        (PI, [second, first]),
        (MANAGER, [second, first]),
        (ADMINISTRATOR, [second, first]),
        (STRANGER, []),
    ):
        assert await requests.list(by) == seen, by
    assert await requests.list(MEMBER, group="lensing") == [first]
    assert await requests.list(PI, state=RequestState.GRANTED) == []
    assert await requests.list(PI, before=second.request_id, limit=1) == [first]
    with pytest.raises(PermissionDenied):
        await requests.list(STRANGER, group="lensing")
    for number in (second.request_id, 2**60, 0):
        with pytest.raises(NotFound):
            await requests.show(MEMBER, number)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"amount": "0"}, InvalidAmount),
        ({"amount": "-1"}, InvalidAmount),
        ({"amount": "NaN"}, InvalidAmount),
        ({"amount": "1e99"}, InvalidAmount),
        ({"reason": "\0 \u202e"}, InvalidInput),
        ({"group": "no-such"}, PermissionDenied),
    ],
)
async def test_nonsense_is_refused(
    services: Services, lensing: str, changes: dict[str, object], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await ask(services, **changes)


async def test_a_group_cannot_flood_the_administrators(services: Services, lensing: str) -> None:
    for _ in range(OPEN_MAX):
        last = await ask(services)
    with pytest.raises(TooManyRequests):
        await ask(services, PI)
    await services.requests().withdraw(MEMBER, last.request_id)
    await ask(services, PI)


async def test_nor_by_withdrawing_what_they_asked_for(
    services: Services, lensing: str, clock: HeldClock
) -> None:
    for _ in range(A_DAY_MAX):
        await services.requests().withdraw(MEMBER, (await ask(services)).request_id)
    with pytest.raises(TooManyRequests):
        await ask(services)
    clock.advance(timedelta(days=1))
    await ask(services)


@pytest.fixture
async def process(database_url: str, clock: HeldClock) -> AsyncIterator[Process]:
    made = Process(Settings(), create_engine(database_url), hub=HubAPI("", ""), clock=clock)
    yield made
    await made.close()


async def test_two_administrators_at_once_decide_once(process: Process, clock: HeldClock) -> None:
    async with process.factory() as services:
        await services.logins().record(
            LoginRecord(
                issuer="https://idp.example", subject="grace", candidate="grace", at=clock.now(),
                memberships=[ClaimedMembership(provider_name="lensing")],
            )
        )  # fmt: skip
        operator = Principal("operator:root", PrincipalKind.OPERATOR)
        allocation = await services.allocations().create(
            operator, group="lensing", resource=Resource.CORE_HOURS, amount=1000, starts_at=START,
            ends_at=START + timedelta(days=365), policy=Policy.DENY, reason="call",
        )  # fmt: skip
        request = await services.requests().ask(
            MEMBER, group="lensing", resource=Resource.CORE_HOURS, amount=5, reason="more"
        )

    async def decide(number: int) -> str:
        by = Principal(f"admin-{number}", PrincipalKind.PERSON, administrator=True)
        try:
            async with process.factory() as services:
                if number % 2:
                    await services.requests().grant(by, request.request_id)
                else:
                    await services.requests().decline(by, request.request_id, "no")
        except RequestDecided:
            return "late"
        return "granted" if number % 2 else "declined"

    outcomes = await asyncio.gather(*(decide(number) for number in range(6)))
    assert sorted(set(outcomes) - {"late"}) in (["declined"], ["granted"])
    assert outcomes.count("late") == 5
    async with process.factory() as services:
        (after,) = await services.allocations().list(operator, group="lensing")
        (decided,) = await services.requests().list(operator)
    grown = 5 * HOUR if decided.state is RequestState.GRANTED else 0
    assert after.amount == allocation.amount + grown


# --- A member's own limit ------------------------------------------------------------------------


async def limited(services: Services, core_hours: int = 20) -> None:
    await services.limits().set(
        PI, "lensing", "grace", Resource.CORE_HOURS, core_hours, "So that all have some"
    )


async def limit_of_grace(services: Services) -> int | None:
    found = await services.limits().list(MEMBER, "lensing")
    return found[0].amount if found else None


async def test_a_member_asks_the_pi_for_a_higher_limit_and_both_are_told(
    services: Services, factory: Factory, lensing: str, administrator: None
) -> None:
    await limited(services)
    request = await ask(services, amount="12.5", own_limit=True)
    assert await told(factory, "ada") == [
        "Weak lensing: @grace asks for 12.50 core-hours more of their own limit"
    ]
    assert await told(factory, "root-admin") == []
    granted = await services.requests().grant(PI, request.request_id, amount=10, reason="Enjoy")
    assert (granted.state, granted.granted) == (RequestState.GRANTED, 10 * HOUR)
    assert granted.allocation_id is None
    assert await limit_of_grace(services) == 30 * HOUR
    latest = (await services.limits().history(PI, "lensing"))[0]
    assert latest.reason == f"Request {request.request_id} of @grace: Enjoy"
    assert await told(factory, "grace") == [
        "Weak lensing: 10.00 core-hours more were granted for @grace"
    ]
    entries = await factory.audit().list(ADMINISTRATOR, group="lensing")
    assert [entry.action for entry in entries] == [
        "request-granted", "limit-set", "request-made", "limit-set",
    ]  # fmt: skip
    assert {entry.details.get("person") for entry in entries[::2]} == {"grace"}


async def test_a_pi_declines_a_higher_limit(
    services: Services, factory: Factory, lensing: str
) -> None:
    await limited(services)
    request = await ask(services, own_limit=True)
    await services.requests().decline(PI, request.request_id, "Others wait")
    assert await limit_of_grace(services) == 20 * HOUR
    assert await told(factory, "grace") == [
        "Weak lensing: the request for 250.00 core-hours more for @grace was declined"
    ]
    with pytest.raises(RequestDecided):
        await services.requests().grant(PI, request.request_id)


async def test_pis_decide_on_limits_of_members_and_on_nothing_else(
    services: Services, lensing: str
) -> None:
    await limited(services)
    of_group, own = await ask(services), await ask(services, own_limit=True)
    server = Principal("ada", PrincipalKind.SERVER, roles=PI.roles)
    for by, request in ((PI, of_group), (MANAGER, own), (MEMBER, own), (server, own)):
        with pytest.raises(PermissionDenied):
            await services.requests().grant(by, request.request_id)
        with pytest.raises(PermissionDenied):
            await services.requests().decline(by, request.request_id, "no")
    with pytest.raises(NotFound):
        await services.requests().grant(STRANGER, own.request_id)
    assert await limit_of_grace(services) == 20 * HOUR


async def test_a_limit_that_is_not_there_is_not_raised(services: Services, lensing: str) -> None:
    with pytest.raises(NoOwnLimit):
        await ask(services, own_limit=True)
    await limited(services)
    with pytest.raises(NoOwnLimit):
        await ask(services, resource=Resource.GPU_HOURS, own_limit=True)
    request = await ask(services, own_limit=True)
    await services.limits().set(PI, "lensing", "grace", Resource.CORE_HOURS, None, "No need")
    with pytest.raises(NoOwnLimit):
        await services.requests().grant(PI, request.request_id)
    assert (await services.requests().show(PI, request.request_id)).state is RequestState.OPEN


async def test_a_higher_limit_has_no_period(services: Services, lensing: str) -> None:
    await limited(services)
    request = await ask(services, own_limit=True)
    with pytest.raises(InvalidInput, match="every period"):
        await services.requests().grant(
            PI, request.request_id, starts_at=START, ends_at=START + timedelta(days=1)
        )


async def test_without_a_pi_administrators_are_asked_for_a_higher_limit(
    services: Services, factory: Factory, lensing: str, administrator: None, db: AsyncSession
) -> None:
    await limited(services)
    await db.execute(update(MembershipRow).where(MembershipRow.role == "pi").values(role="member"))
    await ask(services, own_limit=True)
    assert len(await told(factory, "root-admin")) == 1
    assert await told(factory, "ada") == []


async def test_what_is_asked_for_the_group_and_for_oneself_is_told_apart(
    services: Services, lensing: str
) -> None:
    await limited(services)
    of_group, own = await ask(services), await ask(services, own_limit=True)
    for own_limit, found in ((True, [own]), (False, [of_group]), (None, [own, of_group])):
        assert await services.requests().list(PI, group="lensing", own_limit=own_limit) == found
