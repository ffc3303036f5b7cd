"""Who may read which usage and sessions, and in which portions."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from tests.accounting.conftest import ADMINISTRATOR, Describe, life

from dachub.accounting.models import InvalidPeriod
from dachub.accounting.services import Accounting
from dachub.directory.models import Principal, PrincipalKind
from dachub.infra.clock import HeldClock
from dachub.model.people import Role
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.sessions import EndReason, SessionDescription

HOUR = timedelta(hours=1)
GRACE = Principal("grace", PrincipalKind.PERSON, roles={"lensing": Role.MEMBER})
GRACES_SERVER = Principal("grace", PrincipalKind.SERVER, roles={"lensing": Role.MEMBER})
ADA = Principal("ada", PrincipalKind.PERSON, roles={"lensing": Role.PI})
MANAGER = Principal("mary", PrincipalKind.PERSON, roles={"lensing": Role.MANAGER})
OTHER_PI = Principal("eve", PrincipalKind.PERSON, roles={"cosmology": Role.PI})
HUB = Principal("hub", PrincipalKind.HUB)
OPERATOR = Principal("operator:root", PrincipalKind.OPERATOR)
EVERYBODY = [ADMINISTRATOR, OPERATOR, ADA, MANAGER, GRACE, GRACES_SERVER, OTHER_PI, HUB]


@pytest.fixture
async def sessions(
    services: Accounting, describe: Describe, clock: HeldClock
) -> dict[str, SessionDescription]:
    """One hour each of grace, ada (lensing) and eve (cosmology), one after the other."""
    made = {}
    for number, (username, group) in enumerate(
        [("grace", "lensing"), ("ada", "lensing"), ("eve", "cosmology")]
    ):
        start = clock.now() - (10 - number) * HOUR
        made[username] = describe(username=username, group=group, requested_at=start)
        await services.ledger().apply(life(made[username], start, start + HOUR))
    return made


# What each sees in core-hours (None: refused), asking for nobody; for grace; for the group lensing;
# for grace in it.
RIGHTS = [
    (ADMINISTRATOR, 3, 1, 2, 1),
    (OPERATOR, 3, 1, 2, 1),
    (ADA, 1, None, 2, 1),
    (MANAGER, 0, None, 2, 1),
    (GRACE, 1, 1, 1, 1),
    (GRACES_SERVER, 1, 1, 1, 1),
    (OTHER_PI, 1, None, None, None),
    (HUB, None, None, None, None),
]


@pytest.mark.parametrize(("by", "none", "user", "group", "both"), RIGHTS)
async def test_everybody_sees_what_is_theirs_to_see(
    services: Accounting,
    sessions: dict[str, SessionDescription],
    clock: HeldClock,
    by: Principal,
    none: int | None,
    user: int | None,
    group: int | None,
    both: int | None,
) -> None:
    asked = [
        ({}, none),
        ({"username": "grace"}, user),
        ({"group": "lensing"}, group),
        ({"username": "grace", "group": "lensing"}, both),
    ]
    since, until = clock.now() - timedelta(days=2), clock.now()
    for filters, hours in asked:
        if hours is None:
            with pytest.raises(PermissionDenied):
                await services.usage().report(by, since=since, until=until, **filters)
            with pytest.raises(PermissionDenied):
                await services.sessions().list(by, **filters)
            continue
        report = await services.usage().report(by, since=since, until=until, **filters)
        assert report.total.core_hours == hours
        assert len(await services.sessions().list(by, **filters)) == hours


@pytest.mark.parametrize(
    ("by", "shown", "stopped"),
    [
        (ADMINISTRATOR, True, True),
        (OPERATOR, True, True),
        (ADA, True, False),
        (GRACE, True, True),
        (GRACES_SERVER, True, True),
        (OTHER_PI, False, False),
        (HUB, False, False),
        (Principal("hub", PrincipalKind.PERSON), False, False),
    ],
)
async def test_one_session(
    services: Accounting,
    sessions: dict[str, SessionDescription],
    by: Principal,
    shown: bool,
    stopped: bool,
) -> None:
    session_id = sessions["grace"].session_id
    if shown:
        assert (await services.sessions().show(by, session_id)).username == "grace"
    else:
        with pytest.raises(NotFound):
            await services.sessions().show(by, session_id)
    if stopped:
        assert (await services.sessions().stoppable(by, session_id)).username == "grace"
    else:
        with pytest.raises((NotFound, PermissionDenied)):
            await services.sessions().stoppable(by, session_id)


async def test_pages_of_sessions_join_up(
    services: Accounting, describe: Describe, clock: HeldClock
) -> None:
    made = [describe(requested_at=clock.now() - (n // 2) * HOUR) for n in range(7)]
    for each in made:
        await services.ledger().apply(life(each, each.requested_at))
    pages = []
    before = None
    while page := await services.sessions().list(ADMINISTRATOR, limit=3, before=before):
        pages.append([record.session_id for record in page])
        before = page[-1].session_id
    assert [len(page) for page in pages] == [3, 3, 1]
    listed = [session_id for page in pages for session_id in page]
    assert len(set(listed)) == 7
    assert {each.session_id for each in made} == set(listed)
    assert await services.sessions().list(ADMINISTRATOR, before=uuid4()) == []


async def test_sessions_by_state_and_period(
    services: Accounting,
    sessions: dict[str, SessionDescription],
    clock: HeldClock,
    describe: Describe,
) -> None:
    waiting, running = describe(), describe()
    await services.ledger().apply([life(waiting, clock.now())[0], *life(running, clock.now())])

    async def found(**filters: object) -> int:
        return len(await services.sessions().list(ADMINISTRATOR, **filters))  # type: ignore[arg-type]

    assert await found() == 5
    assert [await found(state=state) for state in ("requested", "running", "ended")] == [1, 1, 3]
    hours_ago = [clock.now() - n * HOUR for n in range(11)]
    assert await found(until=hours_ago[9]) == 1
    assert await found(since=hours_ago[9], until=hours_ago[8]) == 1
    assert await found(since=hours_ago[7]) == 2
    assert await services.sessions().due_for_stop(clock.now()) == []
    with pytest.raises(NotFound):
        await services.sessions().schedule_stop(sessions["grace"].session_id, clock.now(), "over")


async def test_sessions_of_a_period_are_found_however_long_before_it_they_began(
    services: Accounting, clock: HeldClock, describe: Describe
) -> None:
    now = clock.now()
    made: dict[UUID, str] = {}

    async def apply(name: str, hours: int, ended: int | None) -> None:
        session = describe(requested_at=now - hours * HOUR)
        made[session.session_id] = name
        end = None if ended is None else now - ended * HOUR
        await services.ledger().apply(life(session, session.requested_at, end))

    async def found() -> set[str]:
        period = {"since": now - 24 * HOUR, "until": now}
        return {
            made[one.session_id] for one in await services.sessions().list(ADMINISTRATOR, **period)
        }

    await apply("yesterday", 30, 25)
    await apply("to the edge", 72, 24)
    await apply("a day", 47, 23)
    assert await found() == {"a day"}
    await apply("over a day", 48, 23)
    await apply("a month", 720, 1)
    assert await found() == {"a day", "over a day", "a month"}
    await apply("on", 2000, None)
    assert await found() == {"a day", "over a day", "a month", "on"}


@pytest.mark.parametrize(
    ("since", "until"),
    [
        (datetime(2027, 1, 2, tzinfo=UTC), datetime(2027, 1, 2, tzinfo=UTC)),
        (datetime(2027, 1, 2, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC)),
        (datetime(2027, 1, 1), datetime(2027, 1, 2)),  # noqa: DTZ001
        (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)),
        (
            datetime.fromisoformat("0001-01-01T00:00:00+14:00"),
            datetime.fromisoformat("9999-12-31T23:59:59-12:00"),
        ),
    ],
)
async def test_impossible_periods_are_refused(
    services: Accounting, since: datetime, until: datetime
) -> None:
    with pytest.raises(InvalidPeriod) as error:
        await services.usage().report(ADMINISTRATOR, since=since, until=until)
    assert error.value.code == "invalid-period"


async def test_hostile_names_find_nothing(services: Accounting, clock: HeldClock) -> None:
    since = clock.now() - HOUR
    report = services.usage().report
    for name in ("'; drop table session; --", "%", "x" * 10_000):
        found = await report(
            ADMINISTRATOR, since=since, until=clock.now(), username=name, kind=name
        )
        assert found.total.milli_core_seconds == 0
        assert await services.sessions().list(ADMINISTRATOR, group=name) == []
    with pytest.raises(InvalidInput):
        await report(ADMINISTRATOR, since=since, until=clock.now(), username="\0")


@pytest.mark.parametrize(
    ("due_seconds", "reason", "shown"),
    [
        (0.9, EndReason.DISABLED, EndReason.DISABLED),
        (-60, EndReason.LEFT_GROUP, EndReason.LEFT_GROUP),
        (60, EndReason.LEFT_GROUP, EndReason.STOPPED),  # ended by themselves before it was due
        (-60, EndReason.STOPPED, EndReason.STOPPED),
        (-60, EndReason.MAINTENANCE, EndReason.MAINTENANCE),
        (-60, "of-a-newer-version", EndReason.STOPPED),
    ],
)
async def test_a_stop_by_the_service_says_why(
    services: Accounting,
    describe: Describe,
    clock: HeldClock,
    due_seconds: float,
    reason: str,
    shown: EndReason,
) -> None:
    session = describe(requested_at=clock.now() - HOUR)
    ended_at = clock.now() - timedelta(minutes=5)
    events = life(session, session.requested_at, ended_at)
    await services.ledger().apply(events[:2])
    due = ended_at + timedelta(seconds=due_seconds)
    await services.sessions().schedule_stop(session.session_id, due, reason)
    await services.ledger().apply(events[2:])
    found = await services.sessions().show(OPERATOR, session.session_id)
    assert (found.ended_at, found.end_reason) == (ended_at, shown)
