"""Allocations change only by appending, by administrators, with a reason."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from tests.accounting.conftest import ADMINISTRATOR, Describe, life
from tests.quota.conftest import Services

from dachub.accounting.models import InvalidPeriod
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.model.people import Role
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.usage import AllocationRecord, Policy, Resource
from dachub.quota.models import AllocationBelowZero, InvalidAmount
from dachub.quota.services.allocations import base_units

START = datetime(2027, 1, 1, tzinfo=UTC)
PI = Principal("ada", PrincipalKind.PERSON, roles={"lensing": Role.PI})
MEMBER = Principal("grace", PrincipalKind.PERSON, roles={"lensing": Role.MEMBER})
STRANGER = Principal("eve", PrincipalKind.PERSON)
SERVER_OF_ADMINISTRATOR = Principal("root-admin", PrincipalKind.SERVER, administrator=True)


async def create(
    services: Services, by: Principal = ADMINISTRATOR, **changes: object
) -> AllocationRecord:
    given = {
        "group": "lensing",
        "resource": Resource.CORE_HOURS,
        "amount": "1000.5",
        "starts_at": START,
        "ends_at": START + timedelta(days=365),
        "policy": Policy.DENY,
        "reason": "call 2027A",
    }
    return await services.allocations().create(by, **{**given, **changes})  # type: ignore[arg-type]


async def test_an_allocation_is_the_sum_of_its_adjustments(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    made = await create(services)
    assert (made.amount, made.used) == (1000.5 * 3_600_000, 0)
    session = describe(requested_at=clock.now() - timedelta(hours=3))
    start = session.requested_at
    await services.ledger().apply(life(session, start, start + timedelta(hours=1)))
    operator = Principal("operator:root", PrincipalKind.OPERATOR)
    after = await services.allocations().adjust(
        operator, made.allocation_id, Decimal("-0.5"), "typo"
    )
    assert (after.amount, after.used) == (1000 * 3_600_000, 3_600_000)
    assert [(a.amount, a.author, a.reason) for a in after.adjustments] == [
        (3_601_800_000, "root-admin", "call 2027A"),
        (-1_800_000, "operator:root", "typo"),
    ]
    for by in (PI, MEMBER, ADMINISTRATOR):
        assert await services.allocations().list(by, group="lensing") == [after]
    assert await services.allocations().list(MEMBER) == [after]
    assert await services.allocations().list(STRANGER) == []


@pytest.mark.parametrize("by", [PI, MEMBER, STRANGER, SERVER_OF_ADMINISTRATOR])
async def test_only_administrators_grant(services: Services, lensing: str, by: Principal) -> None:
    with pytest.raises(PermissionDenied):
        await create(services, by)
    made = await create(services)
    with pytest.raises(PermissionDenied):
        await services.allocations().adjust(by, made.allocation_id, 1, "more")


@pytest.mark.parametrize("by", [STRANGER, Principal("hub", PrincipalKind.HUB)])
async def test_others_do_not_see_them(services: Services, lensing: str, by: Principal) -> None:
    with pytest.raises(PermissionDenied):
        await services.allocations().list(by, group="lensing")


@pytest.mark.parametrize(
    ("changes", "error", "code"),
    [
        ({"amount": "-1"}, InvalidAmount, "invalid-amount"),
        ({"amount": "NaN"}, InvalidAmount, "invalid-amount"),
        ({"amount": float("inf")}, InvalidAmount, "invalid-amount"),
        ({"amount": "1e400000000"}, InvalidAmount, "invalid-amount"),
        ({"amount": "1e30"}, InvalidAmount, "invalid-amount"),
        ({"amount": "0.00000001"}, InvalidAmount, "invalid-amount"),
        ({"amount": "many"}, InvalidAmount, "invalid-amount"),
        ({"ends_at": START}, InvalidPeriod, "invalid-period"),
        ({"starts_at": datetime(2027, 1, 1)}, InvalidPeriod, "invalid-period"),  # noqa: DTZ001
        ({"ends_at": datetime.max.replace(tzinfo=UTC)}, InvalidPeriod, "invalid-period"),
        ({"reason": " \n\0"}, InvalidInput, "invalid-input"),
        ({"reason": "x" * 5000}, InvalidInput, "invalid-input"),
        ({"group": "no-such"}, NotFound, "not-found"),
    ],
)
async def test_nonsense_is_refused_with_a_code(
    services: Services,
    lensing: str,
    changes: dict[str, object],
    error: type[Exception],
    code: str,
) -> None:
    with pytest.raises(error) as raised:
        await create(services, **changes)
    assert raised.value.code == code
    assert await services.allocations().list(ADMINISTRATOR) == []


async def test_adjustments_are_checked(services: Services, lensing: str) -> None:
    made = await create(services, amount=10)
    adjust = services.allocations().adjust
    with pytest.raises(AllocationBelowZero):
        await adjust(ADMINISTRATOR, made.allocation_id, "-10.1", "too much")
    with pytest.raises(InvalidAmount):
        await adjust(ADMINISTRATOR, made.allocation_id, 0, "nothing")
    for unknown in (made.allocation_id + 1, 0, -5, 2**40):
        with pytest.raises(NotFound):
            await adjust(ADMINISTRATOR, unknown, 1, "more")
    assert (await adjust(ADMINISTRATOR, made.allocation_id, -10, "withdrawn")).amount == 0


@pytest.mark.parametrize(
    ("amount", "resource", "units"),
    [
        ("0.1", Resource.CORE_HOURS, 360_000),
        (0.1, Resource.CORE_HOURS, 360_000),
        (Decimal("2.5"), Resource.GPU_HOURS, 9000),
        (10**12, Resource.FILE_BYTES, 10**12),
    ],
)
def test_amounts_are_whole_in_base_units(
    amount: Decimal | str | float, resource: Resource, units: int
) -> None:
    assert base_units(amount, resource) == units
