"""The ledger counts every second once, whatever order, repetition or loss the events suffer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from tests.accounting.conftest import ADMINISTRATOR, Describe, event, life

from dachub.accounting.services import Accounting
from dachub.infra.clock import HeldClock
from dachub.model.sessions import EndReason, EventKind, SessionDescription, SessionRecord
from dachub.model.usage import Usage

SECOND, MINUTE, HOUR, DAY = (timedelta(seconds=n) for n in (1, 60, 3600, 86400))


async def record(services: Accounting, session: SessionDescription) -> SessionRecord:
    return await services.sessions().show(ADMINISTRATOR, session.session_id)


async def used(services: Accounting, since: datetime, until: datetime) -> Usage:
    return (await services.usage().report(ADMINISTRATOR, since=since, until=until)).total


async def test_a_session_is_charged_from_start_to_stop(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe(milli_cores=2500, gpus=1)
    start = clock.now() + 7 * SECOND
    clock.advance(HOUR)
    receipt = await services.ledger().apply(life(session, start, start + 61 * SECOND))
    assert (receipt.accepted, receipt.refused) == (3, [])
    found = await record(services, session)
    assert (found.state, found.started_at, found.ended_at) == ("ended", start, start + 61 * SECOND)
    assert (found.core_seconds, found.end_reason) == (152.5, EndReason.STOPPED)
    assert not found.end_is_estimate
    total = await used(services, start - DAY, start + DAY)
    assert (total.milli_core_seconds, total.gpu_seconds) == (152_500, 61)
    assert total.memory_byte_seconds == 61 * 2**31
    assert await services.ledger().check_usage_days() == []


async def test_the_image_that_ran_is_kept_until_the_person_is_forgotten(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe(image="registry.example.org/team/tools:1")
    digest = f"sha256:{'0a' * 32}"
    requested, started, stopped = life(session, clock.now(), clock.now() + MINUTE)
    clock.advance(HOUR)
    ran = started.model_copy(update={"image_digest": digest})
    ledger = services.ledger()
    await ledger.apply([stopped, ran, requested])
    assert (await record(services, session)).image_digest == digest
    await ledger.pseudonymise(clock.now(), 10, set())
    assert (await record(services, session)).image_digest is None
    await ledger.apply([ran])  # once more, late
    assert (await record(services, session)).image_digest is None


async def test_a_waiting_or_failed_session_consumes_nothing(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    await services.ledger().apply([event(EventKind.REQUESTED, session, clock.now())])
    clock.advance(HOUR)
    assert (await record(services, session)).state == "requested"
    await services.ledger().apply([event(EventKind.FAILED, session, clock.now())])
    found = await record(services, session)
    assert (found.state, found.end_reason, found.core_seconds) == ("ended", EndReason.FAILED, 0)
    assert (await used(services, clock.now() - DAY, clock.now() + DAY)).milli_core_seconds == 0


async def test_a_running_session_counts_up_to_now(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    await services.ledger().apply(life(session, clock.now()))
    clock.advance(2 * HOUR)
    assert (await record(services, session)).core_seconds == 7200
    total = await used(services, clock.now() - HOUR, clock.now() + HOUR)
    assert total.milli_core_seconds == 3_600_000


async def test_the_stop_alone_tells_everything(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    start = clock.now()
    clock.advance(HOUR)
    await services.ledger().apply(life(session, start, clock.now())[2:])
    assert (await record(services, session)).core_seconds == 3600


async def test_midnight_and_leap_day_split_to_the_second(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    start = datetime(2028, 2, 28, 23, 59, 50, tzinfo=UTC)
    clock.advance(start - clock.now())
    session = describe(requested_at=start)
    await services.ledger().apply(life(session, start))
    clock.advance(3 * DAY)
    assert await services.ledger().count_open_days() == 1
    assert await services.ledger().count_open_days() == 0
    report = await services.usage().report(
        ADMINISTRATOR, since=start - DAY, until=start + 10 * DAY, dimensions=["day"]
    )
    assert [(str(row.day), row.milli_core_seconds // 1000) for row in report.rows] == [
        ("2028-02-28", 10),
        ("2028-02-29", 86400),
        ("2028-03-01", 86400),
        ("2028-03-02", 86390),
    ]
    end = datetime(2028, 3, 2, tzinfo=UTC)  # midnight sharp, told late
    await services.ledger().apply(life(session, start, end)[2:])
    report = await services.usage().report(
        ADMINISTRATOR, since=start - DAY, until=start + 10 * DAY, dimensions=["day"]
    )
    assert [str(row.day) for row in report.rows] == ["2028-02-28", "2028-02-29", "2028-03-01"]
    assert report.total.milli_core_seconds == (10 + 2 * 86400) * 1000
    assert await services.ledger().check_usage_days() == []


async def test_an_estimate_gives_way_to_what_was_seen_and_to_later_sightings(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    start = clock.now()
    clock.advance(3 * HOUR)
    ledger = services.ledger()

    async def ends(at: datetime, *, estimate: bool) -> tuple[float, bool]:
        stopped = event(
            EventKind.STOPPED,
            session,
            at,
            started_at=start,
            estimate=estimate,
            reason=EndReason.EXITED,
        )
        await ledger.apply([stopped])
        found = await record(services, session)
        assert await ledger.check_usage_days() == []
        return found.core_seconds, found.end_is_estimate

    assert await ends(start + HOUR, estimate=True) == (3600, True)
    assert await ends(start + MINUTE, estimate=True) == (3600, True)
    assert await ends(start + 2 * HOUR, estimate=True) == (7200, True)
    assert await ends(start + 90 * MINUTE, estimate=False) == (5400, False)
    assert await ends(start + 3 * HOUR, estimate=True) == (5400, False)
    assert await ends(start + 80 * MINUTE, estimate=False) == (4800, False)


async def test_a_known_session_never_changes_what_it_is(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    await services.ledger().apply(life(session, clock.now()))
    other = session.model_copy(update={"group": "cosmology", "milli_cores": 1})
    refused = event(EventKind.STOPPED, other, clock.now(), started_at=clock.now())
    clock.advance(HOUR)
    receipt = await services.ledger().apply([refused])
    assert receipt.accepted == 0
    assert [(r.event_id, r.code) for r in receipt.refused] == [
        (refused.event_id, "session-contradicted")
    ]
    assert "group, milli_cores" in receipt.refused[0].detail
    found = await record(services, session)
    assert (found.group, found.state, found.core_seconds) == ("lensing", "running", 3600)


@pytest.mark.parametrize(
    ("shift", "code"),
    [(timedelta(minutes=6), "event-in-future"), (timedelta(days=-20_000), "event-too-old")],
)
async def test_events_of_a_wrong_clock_are_refused(
    services: Accounting, describe: Describe, clock: HeldClock, shift: timedelta, code: str
) -> None:
    session, good = describe(requested_at=clock.now() + shift), describe()
    wrong = event(EventKind.REQUESTED, session, clock.now())
    receipt = await services.ledger().apply([wrong, *life(good, clock.now())])
    assert [(r.event_id, r.code) for r in receipt.refused] == [(wrong.event_id, code)]
    assert receipt.accepted == 2
    assert [found.session_id for found in await services.sessions().running()] == [good.session_id]


@pytest.mark.parametrize("reverse", [False, True])
async def test_a_clock_that_ran_backwards_makes_no_negative_time(
    services: Accounting, describe: Describe, clock: HeldClock, reverse: bool
) -> None:
    session = describe()
    start = clock.now() + 4 * MINUTE
    told = life(session, start, clock.now() + MINUTE)
    for one in reversed(told) if reverse else told:
        await services.ledger().apply([one])
    found = await record(services, session)
    assert (found.core_seconds, found.state) == (0, "ended")
    assert found.started_at == found.ended_at
    assert found.start_is_estimate or found.end_is_estimate
    assert await services.ledger().check_usage_days() == []


async def test_nothing_ends_before_it_was_requested(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    early = event(EventKind.STOPPED, session, clock.now() - HOUR, started_at=clock.now() - 2 * HOUR)
    await services.ledger().apply([early])
    found = await record(services, session)
    assert (found.started_at, found.ended_at) == (session.requested_at, session.requested_at)
    assert (found.start_is_estimate, found.end_is_estimate) == (True, True)


async def test_people_and_groups_the_directory_does_not_know_are_accounted(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe(username="nobody-knows", group="no-such", server_name="a\0b")
    start = clock.now()
    clock.advance(HOUR)
    assert (await services.ledger().apply(life(session, start, clock.now()))).accepted == 3
    report = await services.usage().report(
        ADMINISTRATOR, since=start - DAY, until=start + DAY, dimensions=["user", "group"]
    )
    assert [(r.username, r.group, r.core_hours) for r in report.rows] == [
        ("nobody-knows", "no-such", 1.0)
    ]


async def test_counting_a_clock_that_was_ahead_is_put_right(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    start = clock.now()
    await services.ledger().apply(life(session, start))
    clock.advance(100 * DAY)
    await services.ledger().count_open_days()
    clock.advance(-99 * DAY)
    await services.ledger().count_open_days()
    total = await used(services, start - DAY, start + 200 * DAY)
    assert total.milli_core_seconds == 86_400_000
    assert await services.ledger().check_usage_days() == []


async def test_usage_days_can_be_checked_and_rebuilt(
    services: Accounting, describe: Describe, clock: HeldClock, db: object
) -> None:
    session = describe()
    start = clock.now()
    clock.advance(3 * DAY)
    await services.ledger().apply(life(session, start, clock.now()))
    before = await used(services, start - DAY, start + 10 * DAY)
    from sqlalchemy import text

    await db.execute(text("update usage_day set milli_core_seconds = 1 where day = '2027-03-11'"))  # type: ignore[attr-defined]
    differences = await services.ledger().check_usage_days()
    assert [(d.table, str(d.key.day), d.counted, d.expected) for d in differences] == [
        ("usage_day", "2027-03-11", 1, 86_400_000),
        ("usage_month", "2027-03-01", 259_200_000, 172_800_001),
        ("usage_group_day", "2027-03-11", 86_400_000, 1),
    ]
    assert await services.ledger().rebuild_usage_days() == 4
    assert await services.ledger().check_usage_days() == []
    assert await used(services, start - DAY, start + 10 * DAY) == before
