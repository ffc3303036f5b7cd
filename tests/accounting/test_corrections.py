"""Corrections: what is charged follows the latest one, what was reported stays."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, Describe, accounting, event, life

from dachub.accounting.models import (
    CorrectionChangesNothing,
    InvalidPeriod,
    SessionChangedSize,
    SessionNotStarted,
    SessionRunning,
)
from dachub.accounting.services import Accounting
from dachub.accounting.tables import SegmentRow
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine, session_maker, transaction
from dachub.model.people import Role
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.sessions import CorrectionAction, EndReason, EventKind, SessionDescription

HOUR = timedelta(hours=1)
PI = Principal("ada", PrincipalKind.PERSON, roles={"lensing": Role.PI})


async def charged(services: Accounting, clock: HeldClock) -> float:
    """Core-hours of everybody; what the day sums hold is what the segments say."""
    assert await services.ledger().check_usage_days() == []
    since = clock.now() - timedelta(days=50)
    usage = services.usage()
    report = await usage.report(ADMINISTRATOR, since=since, until=clock.now() + HOUR)
    records = await services.sessions().list(ADMINISTRATOR, limit=1000)
    assert sum(round(record.core_seconds * 1000) for record in records) == (
        report.total.milli_core_seconds
    )
    return report.total.core_hours


@pytest.fixture
async def ended(services: Accounting, describe: Describe, clock: HeldClock) -> SessionDescription:
    """30 hours of one core, over a midnight, that ended an hour ago."""
    session = describe(requested_at=clock.now() - 31 * HOUR)
    told = life(session, session.requested_at, clock.now() - HOUR)
    assert (await services.ledger().apply(told)).refused == []
    return session


@pytest.fixture
async def running(services: Accounting, describe: Describe, clock: HeldClock) -> SessionDescription:
    """One core for 30 hours so far, counted to the last midnight."""
    session = describe(requested_at=clock.now() - 30 * HOUR)
    await services.ledger().apply(life(session, session.requested_at))
    await services.ledger().count_open_days()
    return session


async def test_a_voided_session_is_charged_nothing_and_can_be_restored(
    services: Accounting, ended: SessionDescription, clock: HeldClock
) -> None:
    corrections = services.corrections()
    assert await charged(services, clock) == 30
    void = await corrections.void(ADMINISTRATOR, ended.session_id, "The node had failed.")
    assert (void.core_seconds, void.is_void, void.state) == (0, True, "ended")
    assert (void.started_at, void.ended_at) == (ended.requested_at, clock.now() - HOUR)
    assert await charged(services, clock) == 0
    with pytest.raises(CorrectionChangesNothing):
        await corrections.void(ADMINISTRATOR, ended.session_id, "Again.")
    restored = await corrections.restore(ADMINISTRATOR, ended.session_id, "It had not.")
    assert restored.core_seconds == 30 * 3600
    assert not restored.is_void
    assert await charged(services, clock) == 30
    history = await corrections.history(PI, ended.session_id)
    assert [(one.action.value, one.reason, one.author) for one in history] == [
        ("void", "The node had failed.", "root-admin"),
        ("restore", "It had not.", "root-admin"),
    ]
    assert restored.correction == history[-1]


@pytest.mark.parametrize(
    ("start_hours", "end_hours", "hours"),
    [(3, None, 27), (None, 2, 2), (3, 28, 25), (0, 31, 31), (5, 5, 0), (-0, None, 30)],
)
async def test_an_amended_session_is_charged_from_start_to_end(
    services: Accounting,
    ended: SessionDescription,
    clock: HeldClock,
    start_hours: int | None,
    end_hours: int | None,
    hours: int,
) -> None:
    def at(hours: int | None) -> datetime | None:
        return None if hours is None else ended.requested_at + hours * HOUR

    amended = await services.corrections().amend(
        ADMINISTRATOR,
        ended.session_id,
        "As the log says.",
        started_at=at(start_hours),
        ended_at=at(end_hours),
    )
    assert await charged(services, clock) == hours
    reported = ended.requested_at, clock.now() - HOUR
    assert amended.started_at == (at(start_hours) or reported[0])
    assert amended.ended_at == (at(end_hours) or reported[1])
    assert amended.reported_started_at == (None if start_hours is None else reported[0])
    assert amended.reported_ended_at == (None if end_hours is None else reported[1])


async def test_a_further_correction_replaces_the_one_before(
    services: Accounting, ended: SessionDescription, clock: HeldClock
) -> None:
    amend, session_id = services.corrections().amend, ended.session_id
    await amend(ADMINISTRATOR, session_id, "One.", started_at=ended.requested_at + 10 * HOUR)
    assert await charged(services, clock) == 20
    await amend(ADMINISTRATOR, session_id, "Two.", ended_at=ended.requested_at + 10 * HOUR)
    assert await charged(services, clock) == 10


async def test_later_events_are_kept_but_the_correction_holds(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe(requested_at=clock.now() - 10 * HOUR)
    estimate = event(
        EventKind.STOPPED,
        session,
        clock.now() - 5 * HOUR,
        started_at=session.requested_at,
        estimate=True,
        reason=EndReason.LOST,
    )
    await services.ledger().apply([estimate])
    amend = services.corrections().amend
    await amend(
        ADMINISTRATOR, session.session_id, "The log.", ended_at=session.requested_at + 2 * HOUR
    )
    assert await charged(services, clock) == 2
    await services.ledger().apply(life(session, session.requested_at, clock.now() - HOUR))
    assert await charged(services, clock) == 2
    record = await services.sessions().show(PI, session.session_id)
    assert record.reported_ended_at == clock.now() - HOUR
    assert not record.end_is_estimate
    await services.corrections().restore(ADMINISTRATOR, session.session_id, "The event came.")
    assert await charged(services, clock) == 9


async def test_a_running_session_can_be_voided_and_its_start_amended(
    services: Accounting, running: SessionDescription, clock: HeldClock
) -> None:
    corrections, session_id = services.corrections(), running.session_id
    with pytest.raises(SessionRunning):
        await corrections.amend(ADMINISTRATOR, session_id, "Its end.", ended_at=clock.now())
    late = clock.now() - 2 * HOUR  # after what is counted already
    record = await corrections.amend(ADMINISTRATOR, session_id, "The start.", started_at=late)
    assert (record.state, await charged(services, clock)) == ("running", 2)
    await corrections.void(ADMINISTRATOR, session_id, "A test of ours.")
    clock.advance(timedelta(days=1))
    await services.ledger().count_open_days()
    assert await charged(services, clock) == 0
    await services.ledger().apply(life(running, running.requested_at, clock.now()))
    assert await charged(services, clock) == 0
    await corrections.restore(ADMINISTRATOR, session_id, "It was not.")
    assert await charged(services, clock) == 54


async def test_a_voided_session_that_runs_is_charged_again_when_restored(
    services: Accounting, running: SessionDescription, clock: HeldClock
) -> None:
    await services.corrections().void(ADMINISTRATOR, running.session_id, "A test.")
    clock.advance(timedelta(days=2))
    await services.corrections().restore(ADMINISTRATOR, running.session_id, "No test.")
    assert await charged(services, clock) == 78
    await services.ledger().count_open_days()
    assert await charged(services, clock) == 78


async def test_the_day_sums_made_anew_know_corrections(
    services: Accounting, ended: SessionDescription, clock: HeldClock
) -> None:
    await services.corrections().amend(
        ADMINISTRATOR, ended.session_id, "Log.", ended_at=ended.requested_at + 7 * HOUR
    )
    await services.ledger().rebuild_usage_days()
    assert await charged(services, clock) == 7


async def test_senseless_corrections_are_refused(
    services: Accounting, ended: SessionDescription, describe: Describe, clock: HeldClock
) -> None:
    corrections, session_id = services.corrections(), ended.session_id
    start, end = ended.requested_at, clock.now() - HOUR
    for times in (
        {"started_at": start - timedelta(seconds=1)},
        {"ended_at": start - timedelta(seconds=1)},
        {"started_at": end + timedelta(seconds=1)},
        {"ended_at": clock.now() + timedelta(seconds=1)},
        {"started_at": end, "ended_at": start},
        {"ended_at": end.replace(tzinfo=None)},
    ):
        with pytest.raises(InvalidPeriod):
            await corrections.amend(ADMINISTRATOR, session_id, "Why.", **times)
    for reason in ("", " \0 "):
        with pytest.raises(InvalidInput):
            await corrections.void(ADMINISTRATOR, session_id, reason)
    with pytest.raises(InvalidInput):
        await corrections.amend(ADMINISTRATOR, session_id, "Neither.")
    with pytest.raises(CorrectionChangesNothing):
        await corrections.restore(ADMINISTRATOR, session_id, "Nothing to restore.")
    with pytest.raises(NotFound):
        await corrections.void(ADMINISTRATOR, uuid4(), "Which?")
    waiting = describe()
    await services.ledger().apply([event(EventKind.REQUESTED, waiting, clock.now())])
    with pytest.raises(SessionNotStarted):
        await corrections.void(ADMINISTRATOR, waiting.session_id, "It waits.")
    assert await charged(services, clock) == 30
    assert await corrections.history(ADMINISTRATOR, session_id) == []


async def test_a_session_of_several_segments_is_left_alone(
    services: Accounting, ended: SessionDescription, db: AsyncSession, clock: HeldClock
) -> None:
    more = {"started_at": clock.now() - HOUR, "ended_at": clock.now(), "counted_to": clock.now()}
    size = {"milli_cores": 5000, "memory_bytes": 1, "gpus": 0}
    await db.execute(insert(SegmentRow).values(session_id=ended.session_id, **more, **size))
    await services.ledger().rebuild_usage_days()
    assert await charged(services, clock) == 35
    with pytest.raises(SessionChangedSize, match="Adjust the group's allocation"):
        await services.corrections().void(ADMINISTRATOR, ended.session_id, "A cluster.")


async def test_only_administrators_correct_and_it_is_audited(
    services: Accounting, ended: SessionDescription, db: AsyncSession
) -> None:
    owner = Principal("grace", PrincipalKind.PERSON, roles={"lensing": Role.MEMBER})
    server = Principal("root-admin", PrincipalKind.SERVER, administrator=True)
    for by in (PI, owner, server, Principal("hub", PrincipalKind.HUB)):
        with pytest.raises(PermissionDenied):
            await services.corrections().void(by, ended.session_id, "Please.")
    stranger = Principal("eve", PrincipalKind.PERSON)
    with pytest.raises(NotFound):
        await services.corrections().history(stranger, ended.session_id)
    await services.corrections().void(ADMINISTRATOR, ended.session_id, "The node\nhad failed.")
    (kept,) = await db.execute(text('select actor, action, username, "group", details from audit'))
    assert kept[:4] == ("root-admin", "session-voided", "grace", "lensing")
    assert kept.details["reason"] == "The node had failed."
    assert (kept.details["core_seconds_before"], kept.details["core_seconds_after"]) == (108000, 0)


@pytest.fixture
async def own_engine(database_url: str) -> AsyncIterator[AsyncEngine]:
    """An engine on a database to which the test commits."""
    engine = create_engine(database_url)
    yield engine
    await engine.dispose()


async def test_corrections_and_events_at_once_leave_exact_sums(
    own_engine: AsyncEngine, describe: Describe, clock: HeldClock
) -> None:
    sessions = [describe(requested_at=clock.now() - (10 + n) * HOUR) for n in range(8)]

    async def tell(session: SessionDescription, until: datetime | None) -> None:
        async with transaction(session_maker(own_engine)) as db:
            told = life(session, session.requested_at, until)
            await accounting(db, clock).ledger().apply(told)

    async def void(session_id: UUID, author: str) -> bool:
        by = Principal(author, PrincipalKind.PERSON, administrator=True)
        try:
            async with transaction(session_maker(own_engine)) as db:
                await accounting(db, clock).corrections().void(by, session_id, author)
        except CorrectionChangesNothing:
            return False
        return True

    for session in sessions:
        await tell(session, None)
    every = [
        attempt
        for session in sessions
        for attempt in (
            void(session.session_id, "one"),
            tell(session, session.requested_at + HOUR),
            void(session.session_id, "other"),
        )
    ]
    outcomes = await asyncio.gather(*every)
    assert sum(outcome is True for outcome in outcomes) == len(sessions)
    async with AsyncSession(own_engine) as db:
        services = accounting(db, clock)
        assert await charged(services, clock) == 0
        records = await services.sessions().list(ADMINISTRATOR)
        assert {record.state for record in records} == {"ended"}


async def test_a_correction_that_is_cut_off_changes_nothing(
    own_engine: AsyncEngine, describe: Describe, clock: HeldClock
) -> None:
    session = describe(requested_at=clock.now() - 5 * HOUR)
    async with transaction(session_maker(own_engine)) as db:
        await accounting(db, clock).ledger().apply(life(session, session.requested_at, clock.now()))
    async with AsyncSession(own_engine) as db:
        await db.begin()
        await accounting(db, clock).corrections().void(ADMINISTRATOR, session.session_id, "Cut.")
        own = await db.scalar(text("select pg_backend_pid()"))
        async with own_engine.connect() as other:
            await other.execute(text(f"select pg_terminate_backend({own}, 5000)"))
        await db.invalidate()
    async with AsyncSession(own_engine) as db:
        services = accounting(db, clock)
        assert await charged(services, clock) == 5
        assert await services.corrections().history(ADMINISTRATOR, session.session_id) == []


async def test_a_clock_that_was_set_back_does_not_change_which_correction_is_the_latest(
    services: Accounting, ended: SessionDescription, clock: HeldClock
) -> None:
    await services.corrections().void(ADMINISTRATOR, ended.session_id, "First.")
    clock.advance(-timedelta(minutes=10))
    record = await services.corrections().restore(ADMINISTRATOR, ended.session_id, "Second.")
    assert record.correction is not None
    assert record.correction.action is CorrectionAction.RESTORE
    assert record.core_seconds == 30 * 3600
