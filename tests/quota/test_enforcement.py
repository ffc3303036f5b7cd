"""Enforcement tells, closes and stops in time; clocks, backups, outages and kills stop nobody."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, Describe, event, life
from tests.quota.conftest import Services
from tests.quota.test_quota import ask, grant
from tests.quota.test_series import PI

from dachub.accounting.models import ActiveServer
from dachub.directory.services import AuditService
from dachub.directory.store.audit import AuditStore
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine, session_maker, transaction
from dachub.model.notices import NoticeKind
from dachub.model.people import Role
from dachub.model.problems import PermissionDenied
from dachub.model.sessions import EventKind, SessionDescription, SessionRecord
from dachub.model.usage import Policy, QuotaPolicy, QuotaState, Resource
from dachub.quota.models import Vigil

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)
STOP = QuotaPolicy(when_spent=Policy.STOP, stop_notice_seconds=900)


@dataclass
class Watchman:
    """A process that reconciles and enforces, once a minute; ``away`` is what the hub misses."""

    services: Services
    clock: HeldClock
    vigil: Vigil = field(default_factory=Vigil)
    away: set[UUID] = field(default_factory=set)

    async def reconcile(self) -> None:
        """Compare with a hub that runs what the ledger says, but for those ``away``."""
        active = [
            ActiveServer(
                username=one.username, server_name=one.server_name, ready=True,
                session_id=one.session_id,
            )
            for one in await self.services.sessions().running()
            if one.session_id not in self.away
        ]  # fmt: skip
        await self.services.reconciler().run(active)

    async def look(self) -> str:
        """Compare, and hold usage against allocations."""
        await self.reconcile()
        self.vigil, outcome = await self.services.enforcement().run(self.vigil)
        return outcome

    async def minutes(self, count: int) -> str:
        """Let minutes pass, looking at the end of each; returns the last outcome."""
        outcome = ""
        for _ in range(count):
            self.clock.advance(MINUTE)
            outcome = await self.look()
        return outcome

    async def stopped(self) -> Sequence[SessionRecord]:
        """What would be stopped now."""
        due = await self.services.sessions().due_for_stop(self.clock.now())
        self.vigil, confirmed, _ = await self.services.enforcement().confirmed(self.vigil, due)
        return confirmed

    async def told(self, username: str = "grace") -> list[str]:
        """Titles of a person's notices, the earliest first."""
        return [one.title for one in reversed(await self.services._notices.unread(username))]

    async def state(self) -> QuotaState:
        """How the group stands."""
        return (await self.services.quota().balance("lensing")).state

    async def due(self, session: SessionDescription) -> SessionRecord:
        """The session as it is."""
        return await self.services.sessions().show(ADMINISTRATOR, session.session_id)


@pytest.fixture
async def watchman(services: Services, lensing: str, clock: HeldClock) -> Watchman:
    """One that trusts what it sees."""
    made = Watchman(services, clock)
    assert (await made.look()).startswith("held: nothing is known")
    assert not (await made.minutes(3)).startswith("held")
    return made


async def runs(watchman: Watchman, describe: Describe, **changes: object) -> SessionDescription:
    """A server that starts now."""
    session = describe(**changes)
    await watchman.services.ledger().apply(life(session, watchman.clock.now()))
    return session


async def give(watchman: Watchman, hours: float, policy: QuotaPolicy = STOP) -> int:
    now = watchman.clock.now()
    made = await watchman.services.allocations().create(
        ADMINISTRATOR, group="lensing", resource=Resource.CORE_HOURS, amount=hours,
        starts_at=now, ends_at=now + timedelta(days=30), policy=policy, reason="panel A",
    )  # fmt: skip
    return made.allocation_id


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


async def test_a_clock_that_jumps_forward_stops_nobody(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 24)
    session = await runs(watchman, describe)
    await watchman.minutes(5)
    watchman.clock.jump(timedelta(days=2))  # by this clock the session used 48 core-hours
    outcome = await watchman.look()
    assert outcome.startswith("held: the clock was set forward by 2 days")
    outcome = await watchman.minutes(30)
    assert "dachub allocation trust" in outcome
    assert (await watchman.due(session)).stop_due_at is None
    assert await watchman.told() == []
    watchman.clock.jump(timedelta(days=-2))  # put right
    assert (await watchman.look()).startswith("held: the clock was set back by 2 days")
    with pytest.raises(PermissionDenied):
        await watchman.services.enforcement().trust(PI, "I think so")
    await watchman.services.enforcement().trust(ADMINISTRATOR, "NTP works again")
    assert not (await watchman.minutes(5)).startswith("held")
    assert await watchman.state() is QuotaState.OK


async def test_a_clock_that_jumps_between_notice_and_stop_shortens_no_notice(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.05)
    session = await runs(watchman, describe)
    await watchman.minutes(4)
    assert (await watchman.due(session)).stop_due_at is not None
    watchman.clock.jump(4 * MINUTE)
    assert await watchman.stopped() == []
    await watchman.minutes(4)  # settles
    began = watchman.clock.monotonic()
    for _ in range(40):
        await watchman.minutes(1)
        if await watchman.stopped():
            break
    assert watchman.clock.monotonic() - began >= 840  # the rest of a whole notice
    assert watchman.clock.monotonic() - began <= 960


async def test_a_restarted_service_gives_the_notice_anew(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.05)
    session = await runs(watchman, describe)
    await watchman.minutes(17)
    watchman.vigil = Vigil()
    await watchman.minutes(2)
    assert (await watchman.due(session)).stop_due_at <= watchman.clock.now()  # type: ignore[operator]
    assert await watchman.stopped() == []
    assert (await watchman.due(session)).stop_due_at > watchman.clock.now()  # type: ignore[operator]
    await watchman.minutes(15)
    assert len(await watchman.stopped()) == 1


async def test_after_an_outage_nothing_happens_before_two_clean_comparisons(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 1)
    session = await runs(watchman, describe)
    await watchman.minutes(5)
    watchman.clock.advance(3 * HOUR)  # service and database were away; the server has long ended
    watchman.away.add(session.session_id)
    assert (await watchman.look()).startswith("held: nobody looked for 3:00:00")
    assert (await watchman.minutes(1)).startswith("held")
    assert (await watchman.due(session)).state == "ended"  # when it was last seen alive
    assert not (await watchman.minutes(4)).startswith("held")
    assert await watchman.state() is QuotaState.OK
    assert await watchman.told() == []


async def test_while_servers_are_missing_at_the_hub_nothing_is_enforced(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.1)
    session = await runs(watchman, describe)
    await watchman.minutes(3)
    watchman.away.add(session.session_id)
    watchman.clock.advance(5 * MINUTE)
    outcome = await watchman.look()
    assert outcome == "held: servers that the ledger charges are missing at the hub"
    assert await watchman.told() == []


async def test_without_a_fresh_comparison_nothing_is_stopped(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.05)
    await runs(watchman, describe)
    await watchman.minutes(18)
    for _ in range(5):  # the hub does not answer
        watchman.clock.advance(MINUTE)
        watchman.vigil, outcome = await watchman.services.enforcement().run(watchman.vigil)
    assert outcome.startswith("held: ledger and running servers were last compared")
    assert await watchman.stopped() == []
    await watchman.minutes(1)
    assert len(await watchman.stopped()) == 1


async def test_a_database_from_a_backup_is_noticed_and_nothing_done_on_it(
    watchman: Watchman, describe: Describe, db: AsyncSession
) -> None:
    allocation = await give(watchman, 0.05)
    session = await runs(watchman, describe)
    await watchman.minutes(4)
    backup = await db.begin_nested()
    await watchman.services.allocations().adjust(ADMINISTRATOR, allocation, 10, "extension")
    await watchman.minutes(14)
    assert (await watchman.due(session)).stop_due_at is None
    await backup.rollback()  # restored: the extension is lost, the notice is back
    assert (await watchman.due(session)).stop_due_at is not None
    watchman.clock.advance(2 * MINUTE)
    assert await watchman.stopped() == []
    assert (await watchman.look()).startswith("held: the database is older than what was written")
    assert await watchman.stopped() == []


async def test_a_backup_that_another_process_starts_on_is_noticed_by_its_age(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 0.05)
    await runs(watchman, describe)
    await watchman.minutes(4)
    watchman.clock.advance(timedelta(days=1))
    watchman.vigil = Vigil()
    await watchman.reconcile()
    assert await watchman.stopped() == []
    assert (await watchman.look()).startswith("held: nobody looked for 1 day")


async def test_a_run_killed_anywhere_has_happened_wholly_or_not_at_all(
    database_url: str, clock: HeldClock, describe: Describe
) -> None:
    """Killed before each of its writes in turn: nothing of it stays, the next run does it all."""
    engine = create_engine(database_url)
    sessions = session_maker(engine)
    async with transaction(sessions) as session:
        watchman = await _commissioned(Services(session, clock), session, clock, describe)
    vigil = watchman.vigil

    async def fail_after(writes: int) -> bool:
        """Whether the run got as far as that write, and was killed there."""
        async with sessions() as session:
            await session.begin()
            count = 0
            plain = session.execute
            plain_scalars = session.scalars

            async def execute(statement: object, *args: object, **kwargs: object) -> object:
                nonlocal count
                count += _writes(statement)
                if count > writes:
                    raise KeyboardInterrupt
                return await plain(statement, *args, **kwargs)  # type: ignore[call-overload]

            async def scalars(statement: object, *args: object, **kwargs: object) -> object:
                nonlocal count
                count += _writes(statement)
                if count > writes:
                    raise KeyboardInterrupt
                return await plain_scalars(statement, *args, **kwargs)  # type: ignore[call-overload]

            session.execute, session.scalars = execute, scalars  # type: ignore[method-assign,assignment]
            try:
                await Services(session, clock).enforcement().run(vigil)
            except KeyboardInterrupt:
                await session.rollback()
                return True
            await session.rollback()
            return False

    before = await _contents(sessions)
    writes = 0
    while await fail_after(writes):
        assert await _contents(sessions) == before
        writes += 1
    assert writes >= 5  # watch, standing, notices, audit, stop, outcome
    async with transaction(sessions) as session:
        await Services(session, clock).enforcement().run(vigil)
    after = await _contents(sessions)
    assert after["notice"] == before["notice"] + 3
    async with transaction(sessions) as session:
        await Services(session, clock).enforcement().run(vigil)
    assert await _contents(sessions) == after
    await engine.dispose()


async def test_two_processes_at_once_enforce_once(
    database_url: str, clock: HeldClock, describe: Describe
) -> None:
    engine = create_engine(database_url)
    sessions = session_maker(engine)
    async with transaction(sessions) as session:
        watchman = await _commissioned(Services(session, clock), session, clock, describe)
    before = await _contents(sessions)

    async def run() -> str:
        async with transaction(sessions) as session:
            return (await Services(session, clock).enforcement().run(watchman.vigil))[1]

    outcomes = await asyncio.gather(*(run() for _ in range(4)))
    assert sum("1 servers given notice" in outcome for outcome in outcomes) == 1
    after = await _contents(sessions)
    assert after["notice"] == before["notice"] + 3
    await engine.dispose()


async def _commissioned(
    services: Services, session: AsyncSession, clock: HeldClock, describe: Describe
) -> Watchman:
    """A trusted watchman, and a group that is just about to be told to stop."""
    await services._groups.create(ADMINISTRATOR, "lensing", "Lensing")
    for username in ("ada", "grace"):
        await session.execute(
            text(
                "insert into person (username, issuer, subject, full_name, email, is_administrator,"
                " created_at) values (:name, 'local', :name, '', '', false, :now)"
            ),
            {"name": username, "now": clock.now()},
        )
    for username, role in [("ada", Role.PI), ("grace", Role.MEMBER)]:
        await services._groups.put_member(ADMINISTRATOR, "lensing", username, role)
    watchman = Watchman(services, clock)
    await watchman.look()
    await watchman.minutes(3)
    await give(watchman, 0.01)
    await runs(watchman, describe)
    clock.advance(MINUTE)
    await watchman.reconcile()
    return watchman


def _writes(statement: object) -> bool:
    return getattr(statement, "is_insert", False) or getattr(statement, "is_update", False)


async def _contents(sessions: object) -> dict[str, int]:
    """How many rows tables have that the enforcement writes, and how many stops are scheduled."""
    counted = {}
    async with sessions() as session:  # type: ignore[operator]
        for table in ("notice", "audit", "quota_standing"):
            counted[table] = await session.scalar(text(f"select count(*) from {table}"))
        counted["stops"] = await session.scalar(text("select count(stop_due_at) from session"))
    return counted


async def test_a_group_and_a_person_that_nobody_knows_hold_up_no_other(
    watchman: Watchman, describe: Describe
) -> None:
    await give(watchman, 1)
    await runs(watchman, describe, group="ghosts", username="nobody-knows")
    await runs(watchman, describe)
    assert not (await watchman.minutes(61)).startswith("held")
    assert await watchman.state() is QuotaState.STOPPING
