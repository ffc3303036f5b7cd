"""What one member may use: set by the PI, told to the member, and for nobody else."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.accounting.conftest import ADMINISTRATOR, Describe, life
from tests.quota.conftest import Services
from tests.quota.test_quota import ask, grant

from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.model.people import Role
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.usage import Policy, QuotaState, Resource
from dachub.quota.models import InvalidAmount

HOUR = timedelta(hours=1)
CORE_HOUR = 3_600_000
PI = Principal("ada", PrincipalKind.PERSON, roles={"lensing": Role.PI})
MEMBER = Principal("grace", PrincipalKind.PERSON, roles={"lensing": Role.MEMBER})
MANAGER = Principal("max", PrincipalKind.PERSON, roles={"lensing": Role.MANAGER})
SERVER = Principal("ada", PrincipalKind.SERVER, roles={"lensing": Role.PI})
STRANGER = Principal("eve", PrincipalKind.PERSON)


async def limit(services: Services, amount: float | None, by: Principal = PI) -> None:
    await services.limits().set(by, "lensing", "grace", Resource.CORE_HOURS, amount, "fair share")


async def test_a_spent_limit_closes_for_that_person_only(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await grant(services, 100, Policy.WARN)
    await limit(services, 4)
    session = describe(requested_at=clock.now() - 4 * HOUR)
    await services.ledger().apply(life(session, session.requested_at))
    mine = await services.quota().authorize(ask("grace"))
    assert (mine.allowed, mine.code) == (False, "member-limit-spent")
    assert mine.message == (
        "You have used 4.0 of the 4.0 core-hours that you may use in the group 'lensing', so you "
        "can start no new server on it. Others are not affected. For more, ask Ada Lovelace (PI) "
        "under Groups, lensing, Requests."
    )
    assert mine.balance is not None
    assert (mine.balance.member_limit, mine.balance.member_used) == (4 * CORE_HOUR, 4 * CORE_HOUR)
    assert mine.balance.member_state is QuotaState.CLOSED
    theirs = await services.quota().authorize(ask("ada"))
    assert (theirs.allowed, theirs.message) == (True, "")
    assert theirs.balance is not None
    assert theirs.balance.member_limit is None


async def test_the_latest_limit_counts_and_none_lifts_it(
    services: Services, lensing: str, clock: HeldClock
) -> None:
    await limit(services, 4)
    await limit(services, 7.5, by=ADMINISTRATOR)
    (balance,) = await services.quota().members(PI, "lensing")
    assert (balance.username, balance.limit, balance.used) == ("grace", 7.5 * CORE_HOUR, 0)
    assert await services.quota().members(MEMBER, "lensing") == [balance]
    await limit(services, None)
    assert await services.quota().members(PI, "lensing") == []
    history = await services.limits().history(MEMBER, "lensing")
    assert [one.amount for one in history] == [None, 7.5 * CORE_HOUR, 4 * CORE_HOUR]
    titles = [notice.title for notice in await services._notices.unread("grace")]
    assert titles == [
        "You have no limit of your own in lensing any more",
        "Your limit in lensing: 7.50 core-hours",
        "Your limit in lensing: 4.00 core-hours",
    ]


async def test_members_see_only_their_own_limits(services: Services, lensing: str) -> None:
    await limit(services, 4)
    other = Principal("ada", PrincipalKind.PERSON, roles={"lensing": Role.MEMBER})
    assert await services.limits().list(other, "lensing") == []
    assert await services.limits().history(other, "lensing") == []
    assert await services.quota().members(other, "lensing") == []
    assert len(await services.limits().list(MANAGER, "lensing")) == 1
    for read in (services.limits().list, services.limits().history, services.quota().members):
        with pytest.raises(PermissionDenied):
            await read(STRANGER, "lensing")


@pytest.mark.parametrize("by", [MEMBER, MANAGER, SERVER, STRANGER])
async def test_only_pis_in_person_and_administrators_set_them(
    services: Services, lensing: str, by: Principal
) -> None:
    with pytest.raises(PermissionDenied):
        await limit(services, 1, by=by)


@pytest.mark.parametrize(
    ("username", "resource", "amount", "reason", "error"),
    [
        ("eve", Resource.CORE_HOURS, 1, "x", NotFound),
        ("grace", Resource.CORE_HOURS, -1, "x", InvalidAmount),
        ("grace", Resource.CORE_HOURS, "NaN", "x", InvalidAmount),
        ("grace", Resource.CORE_HOURS, 1, " ", InvalidInput),
        ("grace", Resource.FILE_BYTES, 1, "x", InvalidInput),
    ],
)
async def test_nonsense_is_refused(
    services: Services, lensing: str, username: str, resource: Resource, amount: float,
    reason: str, error: type[Exception],
) -> None:  # fmt: skip
    with pytest.raises(error):
        await services.limits().set(PI, "lensing", username, resource, amount, reason)
