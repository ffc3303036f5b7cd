"""Background work beside a real hub: what must end does end, also if somebody fails meanwhile."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from tests.harness.waiting import until
from tests.server.realhub import RealHub
from tests.server.world import GROUP, OPERATOR, described, happened

from dachub.config import Settings
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.infra.leadership import NotLeading, Seat
from dachub.model.people import Role
from dachub.model.sessions import EventKind, SessionDescription
from dachub.model.usage import Policy
from dachub.quota.models import Vigil
from dachub.server.factory import Process, Worker
from dachub.server.hubapi import HubAPI, HubUnavailable
from dachub.server.stopping import end_disabled, notice_leavers, request_stop, stop_due
from dachub.server.workers import Work, Workers, count_days, enforce, reconcile

pytestmark = pytest.mark.hub


@pytest.fixture
def process(committing: Process) -> Process:
    return committing


async def running(
    process: Process, hub: RealHub, username: str, name: str = "w"
) -> SessionDescription:
    """A server of the person, really running, and its session in the ledger."""
    session = described(process, f"{name}-{username}", username).model_copy(
        update={"server_name": ""}
    )
    options = {
        "session": session.model_dump(mode="json"),
        "started_at": session.requested_at.isoformat(),
    }
    await asyncio.to_thread(hub.server_token, username, options)
    async with process.factory() as services:
        await services.ledger().apply([happened(process, session, EventKind.STARTED, 3)])
    return session


async def become(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110  what is waited for has no event
            await asyncio.sleep(0.02)


def is_gone(hub: RealHub, username: str) -> bool:
    return not hub.api("GET", f"/users/{username}")["servers"]


async def test_the_hubs_servers_are_read_with_their_sessions(
    process: Process, hub: RealHub
) -> None:
    session = await running(process, hub, "max")
    active = {server.username: server for server in await process.hub.active_servers()}
    assert active["max"].session == session
    assert active["max"].session_id == session.session_id
    assert active["max"].started_at == session.requested_at
    assert active["max"].ready
    assert "running" in await reconcile(process)
    async with process.factory() as services:
        found = await services.sessions().show(OPERATOR, session.session_id)
    assert found.last_seen_at == process.clock.now()
    assert await process.hub.stop_server("max", "") in (True, False)
    until(lambda: is_gone(hub, "max"), "max's server stopped")


async def test_what_a_disabled_person_runs_stops_and_their_tokens_die(
    process: Process, hub: RealHub
) -> None:
    session = await running(process, hub, "vera")
    token = hub.token("vera")
    assert await process.hub.user_for_token(token) is not None
    async with process.factory() as services:
        await services.people().disable(OPERATOR, "vera", "left")
        left = {one.username for one in await services.people().left_behind()}
    assert left == {"dora", "vera"}
    for _ in range(50):
        await end_disabled(process)
        async with process.factory() as services:
            if not await services.people().left_behind():
                break
        await asyncio.sleep(0.1)
    assert is_gone(hub, "vera")
    assert hub.api("GET", "/users/vera/tokens")["api_tokens"] == []
    assert await process.hub.user_for_token(token) is None
    async with process.factory() as services:
        assert await services.people().left_behind() == []
        found = await services.sessions().show(OPERATOR, session.session_id)
    assert found.stop_due_reason == "disabled"


async def test_a_disabling_waits_for_a_hub_that_is_away(process: Process) -> None:
    away = HubAPI("http://127.0.0.1:1/hub/api", "x")
    there, process.hub = process.hub, away
    with pytest.raises(HubUnavailable):
        await end_disabled(process)
    async with process.factory() as services:
        assert [one.username for one in await services.people().left_behind()] == ["dora"]
    process.hub = there
    await away.close()
    await end_disabled(process)
    async with process.factory() as services:
        assert await services.people().left_behind() == []


async def test_a_spent_group_gets_notice_and_then_its_servers_end(
    process: Process, hub: RealHub, clock: HeldClock
) -> None:
    session = await running(process, hub, "max", "spender")
    async with process.factory() as services:
        for allocation in await services.allocations().list(OPERATOR, group=GROUP):
            await services.allocations().change(
                OPERATOR, allocation.allocation_id, "cut", amount=-999, policy=Policy.STOP
            )

    async def minute() -> str:
        clock.advance(timedelta(minutes=1))
        await reconcile(process)
        return await enforce(process)

    assert (await enforce(process)).startswith("held: nothing is known")
    for _ in range(6):  # a session of the world's has no server at the hub: lost, then all is clean
        outcome = await minute()
    assert "held" not in outcome
    async with process.factory() as services:
        noticed = await services.sessions().show(OPERATOR, session.session_id)
    assert noticed.stop_due_reason == "quota"
    assert await stop_due(process) == "nothing due"
    for _ in range(15):
        await minute()
    assert await stop_due(process) == "1 due, 1 told to stop"
    await become(lambda: is_gone(hub, "max"))


async def test_who_leaves_a_group_gets_notice_and_then_the_server_ends(
    process: Process, hub: RealHub, clock: HeldClock
) -> None:
    session = await running(process, hub, "max", "leaver")
    grace = timedelta(seconds=process.settings.directory.leave_grace_seconds)

    async def due() -> tuple[object, object]:
        async with process.factory() as services:
            found = await services.sessions().show(OPERATOR, session.session_id)
        return found.stop_due_at, found.stop_due_reason

    await notice_leavers(process)
    assert await due() == (None, None)
    async with process.factory() as services:
        await services.groups().remove_member(OPERATOR, GROUP, "max")
    assert "1 given notice" in await notice_leavers(process)
    noticed_at = clock.now()
    assert await due() == (noticed_at + grace, "left-group")
    clock.advance(timedelta(minutes=1))
    await notice_leavers(process)
    assert await due() == (noticed_at + grace, "left-group")
    async with process.factory() as services:
        await services.groups().put_member(OPERATOR, GROUP, "max", Role.MEMBER)
    assert "1 notices withdrawn" in await notice_leavers(process)
    assert await due() == (None, None)
    async with process.factory() as services:
        await services.groups().remove_member(OPERATOR, GROUP, "max")
    await notice_leavers(process)
    assert await stop_due(process) == "nothing due"
    assert not is_gone(hub, "max")
    clock.advance(grace)
    await stop_due(process)
    until(lambda: is_gone(hub, "max"), "max's server stopped")


async def test_a_stop_that_was_asked_for_hits_that_session_only(
    process: Process, hub: RealHub
) -> None:
    old = described(process, "old", "pia").model_copy(update={"server_name": ""})
    new = await running(process, hub, "pia", "new")
    async with process.factory() as services:
        await services.ledger().apply([happened(process, old, EventKind.STARTED, 3)])
        pia = await services.people().principal("pia")
        assert await request_stop(services, pia, old.session_id)
    await stop_due(process)
    assert not is_gone(hub, "pia")
    async with process.factory() as services:
        assert await request_stop(services, pia, new.session_id)
        entries = await services.audit().list(OPERATOR, action="stop-requested")
        assert [entry.actor for entry in entries] == ["pia", "pia"]
    await stop_due(process)
    until(lambda: is_gone(hub, "pia"), "pia's server stopped")


async def test_days_are_counted_at_midnight(process: Process, clock: HeldClock) -> None:
    clock.advance(timedelta(days=1))
    assert await count_days(process) == "1 segments counted"
    assert await count_days(process) == "0 segments counted"


async def test_a_failing_worker_harms_no_other_and_recovers(process: Process) -> None:
    ran: list[str] = []
    broken = True

    async def fails(_: Process) -> str:
        ran.append("fails")
        if broken:
            raise ValueError("something nobody thought of")
        return "well again"

    async def works(_: Process) -> str:
        ran.append("works")
        return "fine"

    failing, working = Worker("fails", 0.01, fails), Worker("works", 0.01, works)
    async with Workers(process, {Work.SERVICE: [failing, working]}).running():
        await become(lambda: ran.count("works") >= 5 and failing.failures > 0)
        assert failing.failures >= 1
        assert "ValueError" in failing.error
        assert failing.pause_seconds(process) >= 2
        broken = False
        process.nudge("fails")
        await become(lambda: not failing.failures)
        assert failing.outcome == "well again"
    assert working.failures == 0


async def test_a_task_is_done_by_one_process_at_a_time(process: Process, database_url: str) -> None:
    other = Process(Settings(), create_engine(database_url), hub=HubAPI("", ""))
    async with process.alone("export") as first, other.alone("export") as second:
        assert (first, second) == (True, False)
        async with other.alone("first-data") as third:
            assert third
    async with other.alone("export") as later:
        assert later
    await other.close()


async def test_who_leads_begins_its_watch_anew_and_writes_nothing_once_another_leads(
    process: Process, database_url: str
) -> None:
    process.vigil = Vigil(run_at=process.clock.now())
    one, two = (Seat(database_url, "service", name) for name in ("one", "two"))
    async with one.connected():
        term = await one.take()
        assert term is not None
        led = process.under(term)
        assert led.vigil == Vigil()
        await count_days(led)
    async with two.connected():
        new = await two.take()
        assert new is not None
        with pytest.raises(NotLeading):
            await count_days(led)


async def test_a_hub_that_hangs_is_given_up(process: Process, hub: RealHub) -> None:
    process.hub._client.timeout = httpx.Timeout(1)
    hub.pause()
    try:
        with pytest.raises(HubUnavailable):
            await process.hub.active_servers()
    finally:
        hub.resume()
    until(lambda: hub.api("GET", "/")["version"], "the hub answers again")
