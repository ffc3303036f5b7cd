"""Who must make room may do so whatever is left of the group's time; what it costs is charged."""

from __future__ import annotations

from datetime import timedelta
from uuid import NAMESPACE_URL, uuid5

import pytest
from tests.accounting.conftest import life
from tests.storage.conftest import GIB, OPERATOR, record, services  # noqa: F401  a fixture

from dachub.infra.clock import HeldClock
from dachub.model.sessions import SessionDescription
from dachub.model.site import RESCUE_SIZE, ServerChoice
from dachub.model.usage import AuthorizeRequest, Decision, Policy, Resource
from dachub.server.factory import Factory

HOUR = timedelta(hours=1)
FULL = "Your home directory is full: 0 bytes of its file system's 10 GiB are free."


@pytest.fixture
async def spent(services: Factory, clock: HeldClock) -> Factory:  # noqa: F811
    """A group whose allocation mia has used up."""
    await services.allocations().create(
        OPERATOR, group="lensing", resource=Resource.CORE_HOURS, amount=1,
        starts_at=clock.now() - HOUR, ends_at=clock.now() + 100 * HOUR, policy=Policy.STOP,
        reason="panel A",
    )  # fmt: skip
    used = described(services, "small")
    await services.ledger().apply(life(used, used.requested_at, clock.now()))
    return services


def described(services: Factory, size: str) -> SessionDescription:  # noqa: F811
    """A session of mia that was asked for an hour ago."""
    return SessionDescription(
        session_id=uuid5(NAMESPACE_URL, size), username="mia", group="lensing",
        size=size, environment="astronomy", milli_cores=1000, memory_bytes=GIB,
        requested_at=services.clock.now() - HOUR,
    )  # fmt: skip


async def decide(spent: Factory, trouble: str | None = None, group: str = "lensing") -> Decision:
    choice = ServerChoice(group=group)
    return await spent.quota().authorize(
        AuthorizeRequest(username="mia", choice=choice, trouble=trouble)
    )


async def test_without_trouble_nothing_starts_where_nothing_is_left(spent: Factory) -> None:
    assert (await decide(spent)).code == "allocation-spent"


async def test_a_home_that_the_hub_found_full_is_cleared_whatever_is_left(spent: Factory) -> None:
    decision = await decide(spent, FULL)
    assert (decision.allowed, decision.code, decision.size) == (True, "home-full", RESCUE_SIZE)
    assert decision.rescue == FULL
    assert decision.message.endswith("To make room you may work all the same; it is charged.")


async def test_so_is_one_that_is_over_its_quota(spent: Factory) -> None:
    await record(spent, 12 * GIB)
    decision = await decide(spent)
    assert (decision.allowed, decision.code) == (True, "over-storage-quota")
    assert decision.size == RESCUE_SIZE


async def test_only_by_a_member_and_in_one_session_at_a_time(spent: Factory) -> None:
    assert (await decide(spent, FULL, group="other")).code == "group-not-yours"
    rescue = described(spent, RESCUE_SIZE)
    await spent.ledger().apply(life(rescue, spent.clock.now()))
    assert (await decide(spent, FULL)).code == "allocation-spent"


async def test_it_is_charged_to_the_second_and_no_quota_stops_it(
    spent: Factory, clock: HeldClock
) -> None:
    before = (await spent.quota().balance("lensing")).used
    rescue = described(spent, RESCUE_SIZE)
    await spent.ledger().apply(life(rescue, clock.now()))
    other = described(spent, "medium")
    await spent.ledger().apply(life(other, clock.now()))
    stopping = {("lensing", Resource.CORE_HOURS, ""): 900}
    await spent.enforcement()._give_notice(stopping, {})
    records = {one.session_id: one for one in await spent.sessions().running()}
    assert records[rescue.session_id].stop_due_at is None
    assert records[other.session_id].stop_due_reason == "quota"
    clock.advance(HOUR)
    for session in (rescue, other):
        await spent.ledger().apply(life(session, clock.now() - HOUR, clock.now()))
    assert (await spent.quota().balance("lensing")).used == before + 2 * 3_600_000
    assert await spent.ledger().check_usage_days() == []
