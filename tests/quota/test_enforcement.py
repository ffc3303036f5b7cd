"""Enforcement tells, closes and stops in time, and takes back what no longer holds."""

from __future__ import annotations

from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, Describe, event, life
from tests.quota.test_quota import ask, grant
from tests.quota.test_series import PI
from tests.quota.watchman import HOUR, MINUTE, Watchman, give, runs

from dachub.directory.services import AuditService
from dachub.directory.store.audit import AuditStore
from dachub.model.notices import NoticeKind
from dachub.model.sessions import EventKind
from dachub.model.usage import Policy, QuotaPolicy, QuotaState, Resource
from dachub.quota.models import Vigil


async def test_people_are_told_in_time_then_stopped_after_a_notice(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 1, QuotaPolicy(when_spent=Policy.STOP, grace_seconds=600))
    session = await runs(watchman, describe)
    seen = []
    for _ in range(100):
        await watchman.minutes(1)
        seen.append((await watchman.state()).value)
        if await watchman.stopped():
            break
    lengths = [(state, seen.count(state)) for state in dict.fromkeys(seen)]
    assert lengths == [("ok", 44), ("warned", 15), ("grace", 10), ("stopping", 16)]
    assert await watchman.told() == [
        "75 % of the core-hours of lensing are used",
        "90 % of the core-hours of lensing are used",
        "The core-hours of lensing are used up; a grace has begun",
        "The core-hours of lensing are used up; running servers will be stopped",
        "Your server 'default' will be stopped at 13:28 UTC",
    ]
    assert (await watchman.due(session)).stop_due_reason == "quota"
    decision = await watchman.services.quota().authorize(ask())
    assert (decision.allowed, decision.code) == (False, "allocation-spent")
    assert "running ones are stopped" in decision.message


async def test_each_step_is_told_once_and_audited(
    watchman: Watchman, describe: Describe, db: AsyncSession
) -> None:
    await give(watchman, 0.2)
    await runs(watchman, describe)
    await watchman.minutes(15)
    assert len(await watchman.told("ada")) == len(set(await watchman.told("ada"))) == 4
    entries = await AuditService(AuditStore(db), watchman.clock).list(
        ADMINISTRATOR, group="lensing"
    )
    assert [one.action for one in entries if one.action.startswith("quota-")] == [
        "quota-stopping", "quota-warned", "quota-warned",
    ]  # fmt: skip
    assert {one.actor for one in entries if one.action.startswith("quota-")} == {"service:quota"}


async def test_after_a_stop_its_owner_is_told_once_what_happened(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.5)
    session = await runs(watchman, describe)
    while not await watchman.stopped():
        await watchman.minutes(1)
    start = (await watchman.due(session)).started_at
    assert start is not None
    end = watchman.clock.now()
    await watchman.services.ledger().apply(life(session, start, end))
    watchman.vigil = Vigil()  # killed here: the next process has to tell
    await watchman.minutes(3)
    [notice, *_] = await watchman.services._notices.unread("grace")
    assert notice.title == f"Your server 'default' was stopped at {end:%H:%M} UTC"
    assert notice.kind is NoticeKind.STOP
    assert "is used up. Your files are as they were" in notice.text
    assert [title for title in await watchman.told() if "was stopped" in title] == [notice.title]


async def test_who_stopped_the_server_oneself_is_not_told_of_it(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.5)
    session = await runs(watchman, describe)
    while not (await watchman.due(session)).stop_due_at:
        await watchman.minutes(1)
    start = (await watchman.due(session)).started_at
    assert start is not None
    await watchman.services.ledger().apply(life(session, start, watchman.clock.now()))
    await watchman.minutes(3)
    assert not [title for title in await watchman.told() if "was stopped" in title]


async def test_more_granted_takes_the_notice_back(watchman: Watchman, describe: Describe) -> None:
    allocation = await give(watchman, 0.1)
    session = await runs(watchman, describe)
    await watchman.minutes(10)
    assert (await watchman.due(session)).stop_due_at is not None
    await watchman.services.allocations().adjust(ADMINISTRATOR, allocation, 10, "extension")
    await watchman.minutes(1)
    assert (await watchman.due(session)).stop_due_at is None
    assert (await watchman.told())[-2:] == [
        "The core-hours of lensing are available again", "Your server 'default' goes on",
    ]  # fmt: skip


async def test_more_granted_in_the_last_moment_saves_the_server(
    watchman: Watchman, describe: Describe
) -> None:
    allocation = await give(watchman, 0.1)
    session = await runs(watchman, describe)
    await watchman.minutes(22)
    await watchman.services.allocations().adjust(ADMINISTRATOR, allocation, 10, "extension")
    assert await watchman.stopped() == []
    assert (await watchman.due(session)).stop_due_at is None


async def test_a_new_period_takes_the_notice_back(watchman: Watchman, describe: Describe) -> None:
    await give(watchman, 0.1)
    now = watchman.clock.now()
    await watchman.services.allocations().change(
        ADMINISTRATOR, (await watchman.services.allocations().list(ADMINISTRATOR))[0].allocation_id,
        "short", ends_at=now + 12 * MINUTE,
    )  # fmt: skip
    await grant(watchman.services, 100, starts_at=now + 12 * MINUTE)
    session = await runs(watchman, describe)
    await watchman.minutes(11)
    assert (await watchman.due(session)).stop_due_reason == "quota"
    await watchman.minutes(2)
    assert (await watchman.due(session)).stop_due_at is None
    assert await watchman.state() is QuotaState.OK


async def test_a_persons_own_limit_stops_that_person_only(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 1000)
    await watchman.services.limits().set(
        PI, "lensing", "grace", Resource.CORE_HOURS, 0.2, "fair share"
    )
    mine = await runs(watchman, describe)
    theirs = await runs(watchman, describe, username="ada")
    await watchman.minutes(27)
    assert [one.session_id for one in await watchman.stopped()] == [mine.session_id]
    assert (await watchman.due(theirs)).stop_due_at is None
    assert (await watchman.told())[1:] == [
        "75 % of your core-hours in lensing are used",
        "90 % of your core-hours in lensing are used",
        "Your core-hours in lensing are used up; your servers will be stopped",
        "Your server 'default' will be stopped at 12:30 UTC",
    ]
    assert await watchman.told("ada") == ["An allocation of lensing was made"]


async def test_a_server_that_only_waits_to_start_is_neither_charged_nor_noticed(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0)
    waiting = describe()
    await watchman.services.ledger().apply(
        [event(EventKind.REQUESTED, waiting, watchman.clock.now())]
    )
    await watchman.minutes(2)
    assert (await watchman.due(waiting)).stop_due_at is None


async def test_stops_for_other_reasons_are_left_alone(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0)
    session = await runs(watchman, describe)
    due = watchman.clock.now() + HOUR
    await watchman.services.sessions().schedule_stop(session.session_id, due, "left-group")
    await watchman.minutes(3)
    found = await watchman.due(session)
    assert (found.stop_due_at, found.stop_due_reason) == (due, "left-group")


async def test_a_stop_for_maintenance_gives_way_to_an_earlier_one(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0)
    session = await runs(watchman, describe)
    due = watchman.clock.now() + 24 * HOUR
    await watchman.services.sessions().schedule_stop(session.session_id, due, "maintenance")
    await watchman.minutes(3)
    found = await watchman.due(session)
    assert found.stop_due_reason == "quota"
    assert found.stop_due_at is not None
    assert found.stop_due_at < due
