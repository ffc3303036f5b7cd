"""What no event told the ledger finds out by itself: as an estimate, and never too early."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, Describe, accounting, event, life

from dachub.accounting.models import ActiveServer
from dachub.accounting.services import Accounting
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.sessions import EndReason, EventKind, SessionDescription, SessionRecord

STEP = timedelta(seconds=30)


def server(of: SessionDescription, **changes: object) -> ActiveServer:
    return ActiveServer.model_validate(
        {
            "username": of.username,
            "server_name": of.server_name,
            "ready": True,
            "session_id": of.session_id,
            "session": of,
            **changes,
        }
    )


async def record(services: Accounting, session: SessionDescription) -> SessionRecord:
    return await services.sessions().show(ADMINISTRATOR, session.session_id)


async def test_who_waits_for_a_new_server_keeps_no_old_one_from_being_lost(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    await services.ledger().apply(life(session, clock.now()))
    clock.advance(timedelta(hours=1))
    waits = server(session, ready=False, waits=True, session_id=None, session=None)
    for _ in range(2):
        outcome = await services.reconciler().run([waits])
        clock.advance(STEP)
    assert (outcome.lost, outcome.unaccounted) == ([session.session_id], [])


async def test_a_server_that_is_gone_is_lost_when_it_was_last_seen(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    start = clock.now()
    await services.ledger().apply(life(session, start))
    clock.advance(timedelta(hours=1))
    await services.reconciler().run([server(session)])
    seen = clock.now()
    clock.advance(STEP)
    first = await services.reconciler().run([])
    assert (first.absent, first.lost) == ([session.session_id], [])
    assert (await record(services, session)).state == "running"
    clock.advance(STEP)
    assert (await services.reconciler().run([])).lost == [session.session_id]
    found = await record(services, session)
    assert (found.ended_at, found.end_reason, found.end_is_estimate) == (seen, EndReason.LOST, True)
    assert found.core_seconds == 3600
    # The hub's own word comes later and counts.
    exact = start + timedelta(minutes=59)
    await services.ledger().apply(life(session, start, exact)[2:])
    found = await record(services, session)
    assert (found.ended_at, found.end_reason, found.end_is_estimate) == (
        exact,
        EndReason.STOPPED,
        False,
    )
    assert await services.ledger().check_usage_days() == []


async def test_an_end_with_its_machine_holds_although_the_hub_listed_the_server_for_longer(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    start = clock.now()
    await services.ledger().apply(life(session, start))
    lost_at = start + timedelta(hours=1)
    clock.advance(timedelta(hours=1, minutes=6))
    await services.reconciler().run([server(session)])
    end = event(
        EventKind.STOPPED,
        session,
        lost_at,
        started_at=start,
        estimate=True,
        reason=EndReason.MACHINE_LOST,
    )
    for _ in range(2):
        await services.ledger().apply([end])
        clock.advance(STEP)
        outcome = await services.reconciler().run([])
        assert (outcome.lost, outcome.reopened) == ([], [])
    found = await record(services, session)
    assert (found.ended_at, found.end_reason) == (lost_at, EndReason.MACHINE_LOST)
    assert (found.end_is_estimate, found.core_seconds) == (True, 3600)
    assert await services.ledger().check_usage_days() == []


async def test_a_database_that_keeps_us_waiting_makes_no_server_live_longer(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    await services.ledger().apply(life(session, clock.now()))
    clock.advance(timedelta(hours=1))
    listed_at = clock.now()
    clock.advance(timedelta(minutes=2))  # while PostgreSQL recovers from a crash
    await services.reconciler().run([server(session)], listed_at)
    assert (await record(services, session)).last_seen_at == listed_at


async def test_a_session_declared_lost_goes_on_when_its_server_is_seen_again(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    start = clock.now()
    await services.ledger().apply(life(session, start))
    for _ in range(4):
        clock.advance(STEP)
        await services.reconciler().run([])
    assert (await record(services, session)).core_seconds == 0
    clock.advance(timedelta(days=1))
    outcome = await services.reconciler().run([server(session)])
    assert outcome.reopened == [session.session_id]
    found = await record(services, session)
    assert (found.state, found.end_reason, found.end_is_estimate) == ("running", None, False)
    assert found.core_seconds == (clock.now() - start).total_seconds()
    await services.ledger().count_open_days()
    assert await services.ledger().check_usage_days() == []


async def test_one_miss_a_fresh_start_or_two_runs_at_once_close_nothing(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    old, fresh = describe(), describe()
    await services.ledger().apply(life(old, clock.now()))
    clock.advance(timedelta(hours=1))
    await services.reconciler().run([server(old)])
    clock.advance(STEP)
    await services.ledger().apply(life(fresh, clock.now()))
    await services.reconciler().run([])
    clock.advance(timedelta(seconds=1))
    outcome = await services.reconciler().run([])  # too soon after the last
    assert (outcome.lost, outcome.absent) == ([], [old.session_id])
    clock.advance(STEP)
    await services.reconciler().run([server(old)])  # there after all
    clock.advance(STEP)
    assert (await services.reconciler().run([server(fresh)])).lost == []
    running = {found.session_id for found in await services.sessions().running()}
    assert running == {old.session_id, fresh.session_id}


async def test_after_the_service_was_down_nothing_is_closed_at_first_sight(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    await services.ledger().apply(life(session, clock.now()))
    clock.advance(timedelta(hours=1))
    await services.reconciler().run([server(session)])
    seen = clock.now()
    clock.advance(timedelta(days=2))
    assert (await services.reconciler().run([])).lost == []
    clock.advance(STEP)
    assert (await services.reconciler().run([])).lost == [session.session_id]
    assert (await record(services, session)).ended_at == seen


async def test_a_server_nobody_announced_is_adopted(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    told, untold = describe(), describe(username="ada")
    start = clock.now()
    await services.ledger().apply([event(EventKind.REQUESTED, told, start)])
    clock.advance(timedelta(minutes=10))
    outcome = await services.reconciler().run(
        [
            server(told, hub_started_at=start + timedelta(seconds=5)),
            server(untold, started_at=start + timedelta(seconds=9)),
        ]
    )
    assert set(outcome.adopted) == {told.session_id, untold.session_id}
    estimated, exact = await record(services, told), await record(services, untold)
    assert (estimated.start_is_estimate, estimated.core_seconds) == (True, 595)
    assert (exact.start_is_estimate, exact.core_seconds) == (False, 591)
    # The start event arrives late and counts.
    await services.ledger().apply(life(told, start + timedelta(seconds=8)))
    found = await record(services, told)
    assert (found.start_is_estimate, found.core_seconds) == (False, 592)


async def test_a_request_that_came_to_nothing_is_closed_as_failed(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session, pending = describe(), describe()
    await services.ledger().apply(
        [event(EventKind.REQUESTED, each, clock.now()) for each in (session, pending)]
    )
    clock.advance(timedelta(minutes=59))
    starting = server(pending, ready=False)
    for _ in range(2):
        assert (await services.reconciler().run([starting])).failed == []
        clock.advance(STEP)
    clock.advance(STEP)
    assert (await services.reconciler().run([starting])).failed == [session.session_id]
    found = await record(services, session)
    assert (found.state, found.end_reason, found.core_seconds) == ("ended", EndReason.FAILED, 0)
    # It had started after all: the outbox was slow.
    await services.ledger().apply(life(session, session.requested_at))
    assert (await record(services, session)).state == "running"


async def test_a_server_without_a_readable_session_closes_nobodys_session(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    await services.ledger().apply(life(session, clock.now()))
    nameless = server(session, session_id=None, session=None)
    for _ in range(5):
        clock.advance(timedelta(minutes=1))
        outcome = await services.reconciler().run([nameless])
        assert (outcome.lost, outcome.unaccounted) == ([], ["grace/"])
    assert (await record(services, session)).state == "running"


async def test_an_ended_session_whose_server_runs_on_is_reported_not_charged(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    start = clock.now()
    clock.advance(timedelta(hours=1))
    await services.ledger().apply(life(session, start, clock.now()))
    assert (await services.reconciler().run([server(session)])).contradictions == []
    clock.advance(timedelta(hours=1))
    outcome = await services.reconciler().run([server(session)])
    assert outcome.contradictions == ["grace/"]
    assert (await record(services, session)).core_seconds == 3600
    assert "ended but still active" in outcome.summary()


async def test_only_one_reconciles_at_a_time(database_url: str, clock: HeldClock) -> None:
    engine: AsyncEngine = create_engine(database_url)
    try:
        async with AsyncSession(engine) as one, AsyncSession(engine) as two:
            assert not (await accounting(one, clock).reconciler().run([])).skipped
            assert (await accounting(two, clock).reconciler().run([])).skipped
            await one.commit()
            await two.rollback()
            assert not (await accounting(two, clock).reconciler().run([])).skipped
    finally:
        await engine.dispose()


@pytest.mark.parametrize("ready", [False, True])
async def test_the_last_comparison_can_be_looked_up(
    services: Accounting, describe: Describe, clock: HeldClock, ready: bool
) -> None:
    assert await services.workers().last("reconcile") is None
    await services.reconciler().run([server(describe(), ready=ready)])
    run = await services.workers().last("reconcile")
    assert run is not None
    assert (run.succeeded_at, run.outcome.split(" ")[0]) == (clock.now(), str(int(ready)))
