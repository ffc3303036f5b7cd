"""What is left, who may start, and what the person reads when they may not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from sqlalchemy import update
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, Describe, life
from tests.quota.conftest import Services

from dachub.accounting.tables import SessionRow
from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.tables import PersonRow
from dachub.infra.clock import HeldClock
from dachub.model.notices import NoticeKind, Severity
from dachub.model.sessions import SessionDescription
from dachub.model.site import ServerChoice
from dachub.model.usage import AuthorizeRequest, Policy, QuotaPolicy, Resource
from dachub.quota.models import Grant, RescueReason
from dachub.quota.services.balance import pool, stretches
from dachub.quota.settings import QuotaSettings
from dachub.server.factory import Factory

HOUR = timedelta(hours=1)
DENY = QuotaPolicy()
NEW_YEAR = datetime(2027, 1, 1, tzinfo=UTC)
NEXT_YEAR = datetime(2028, 1, 1, tzinfo=UTC)


async def grant(
    services: Services,
    amount: float,
    policy: Policy = Policy.DENY,
    starts_at: datetime = NEW_YEAR,
    ends_at: datetime = NEXT_YEAR,
) -> None:
    await services.allocations().create(
        ADMINISTRATOR,
        group="lensing",
        resource=Resource.CORE_HOURS,
        amount=amount,
        starts_at=starts_at,
        ends_at=ends_at,
        policy=policy,
        reason="panel A",
    )


async def use(services: Services, session: SessionDescription, hours: float) -> None:
    start = session.requested_at
    await services.ledger().apply(life(session, start, start + hours * HOUR))


def ask(username: str = "grace", **choice: str) -> AuthorizeRequest:
    return AuthorizeRequest(username=username, choice=ServerChoice(**choice))


async def test_a_group_with_time_left_may_start(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await grant(services, 100)
    await use(services, describe(requested_at=clock.now() - 20 * HOUR), 10)
    decision = await services.quota().authorize(ask())
    assert (decision.allowed, decision.code, decision.message) == (True, "ok", "")
    assert (decision.group, decision.size, decision.environment) == (
        "lensing",
        "small",
        "astronomy",
    )
    assert decision.balance is not None
    assert (decision.balance.used, decision.balance.left) == (36_000_000, 324_000_000)


async def test_a_spent_group_is_refused_and_told_what_to_do(
    services: Services,
    lensing: str,
    describe: Describe,
    clock: HeldClock,
    db: AsyncSession,
) -> None:
    await grant(services, 10)
    running = describe(requested_at=clock.now() - 10 * HOUR)
    await services.ledger().apply(life(running, running.requested_at))
    decision = await services.quota().authorize(ask(group="lensing", size="large"))
    assert (decision.allowed, decision.code) == (False, "allocation-spent")
    assert decision.message == (
        "The group 'lensing' has used 10.0 of its 10.0 core-hours: nothing is left, so no new "
        "server can be started on it. Its allocation ends on 1 January 2028, and no other is "
        "planned yet. For more, ask Ada Lovelace (PI)."
    )
    assert decision.balance is not None
    assert decision.balance.left == 0
    await grant(
        services,
        5,
        starts_at=NEW_YEAR.replace(month=10),
        ends_at=NEW_YEAR.replace(year=2029),
    )
    decision = await services.quota().authorize(ask())
    assert "Its next allocation begins on 1 October 2027." in decision.message
    from dachub.directory.services import AuditService
    from dachub.directory.store.audit import AuditStore

    entries = await AuditService(AuditStore(db), clock).list(ADMINISTRATOR, action="start-refused")
    assert [(e.actor, e.username, e.group, e.details["code"]) for e in entries] == [
        ("grace", "grace", "lensing", "allocation-spent")
    ] * 2


@pytest.mark.parametrize(
    ("policy", "says"),
    [(Policy.WARN, "nothing is left; servers still start"), (Policy.ALLOW, "")],
)
async def test_milder_policies_let_a_spent_group_start(
    services: Services,
    lensing: str,
    describe: Describe,
    clock: HeldClock,
    policy: Policy,
    says: str,
) -> None:
    await grant(services, 1, policy)
    await use(services, describe(requested_at=clock.now() - 5 * HOUR), 3)
    decision = await services.quota().authorize(ask())
    assert decision.allowed
    assert says in decision.message
    assert bool(says) == bool(decision.message)
    assert decision.balance is not None
    assert decision.balance.left == -2 * 3_600_000


async def test_a_group_near_its_end_is_warned(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    await grant(services, 10)
    await use(services, describe(requested_at=clock.now() - 9 * HOUR), 7.4)
    assert (await services.quota().balance("lensing")).message == ""
    await use(services, describe(requested_at=clock.now() - HOUR), 0.1)
    message = (await services.quota().balance("lensing")).message
    assert "has used 7.5 of its 10.0 core-hours: 2.5 are left." in message


@pytest.mark.parametrize(
    ("policy", "allowed", "code"),
    [
        (Policy.ALLOW, True, "ok"),
        (Policy.WARN, True, "ok"),
        (Policy.DENY, False, "no-allocation"),
    ],
)
async def test_without_an_allocation_the_site_decides(
    db: AsyncSession,
    lensing: str,
    describe: Describe,
    clock: HeldClock,
    policy: Policy,
    allowed: bool,
    code: str,
) -> None:
    services = Services(db, clock, QuotaSettings(without_allocation=policy))
    await use(services, describe(requested_at=clock.now() - 5 * HOUR), 2)
    decision = await services.quota().authorize(ask())
    assert (decision.allowed, decision.code) == (allowed, code)
    assert bool(decision.message) == (policy is not Policy.ALLOW)
    assert decision.balance is not None
    assert (decision.balance.allocated, decision.balance.left) == (None, None)
    assert decision.balance.used == 2 * 3_600_000


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (ask(group="cosmology"), "group-not-yours"),
        (ask(size="gigantic"), "size-not-available"),
        (ask(environment="windows"), "environment-not-available"),
        (ask(username="stranger"), "not-found"),
        (ask(username="left"), "no-group"),
        (ask(username="gone"), "account-disabled"),
        (ask(group="x\0y\ud7ff" * 50), "group-not-yours"),
    ],
)
async def test_what_is_not_theirs_is_refused_with_a_reason(
    services: Services,
    lensing: str,
    db: AsyncSession,
    clock: HeldClock,
    request_: AuthorizeRequest,
    code: str,
) -> None:
    for username in ("left", "gone"):
        db.add(
            PersonRow(username=username, issuer="local", subject=username, created_at=clock.now())
        )
    await db.flush()
    await db.execute(
        update(PersonRow).where(PersonRow.username == "gone").values(disabled_at=clock.now())
    )
    decision = await services.quota().authorize(request_)
    assert (decision.allowed, decision.code) == (False, code)
    assert len(decision.message) > 20


async def test_the_start_page_presets_what_is_still_open(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    assert (await services.quota().start_options("grace")).last_choice == ServerChoice()
    await services.ledger().apply(
        life(describe(size="withdrawn", requested_at=clock.now() - HOUR), clock.now() - HOUR)
    )
    options = await services.quota().start_options("grace")
    assert options.last_choice == ServerChoice(group="lensing", environment="astronomy")
    assert [balance.group for balance in options.groups] == ["lensing"]
    await services.ledger().apply(life(describe(group="cosmology"), clock.now()))
    assert (await services.quota().start_options("grace")).last_choice == ServerChoice()
    assert (await services.quota().start_options("stranger")).groups == []


async def test_the_start_page_tells_of_a_stop_that_is_due(
    services: Services, lensing: str, describe: Describe, clock: HeldClock
) -> None:
    session = describe()
    await services.ledger().apply(life(session, clock.now()))
    due = clock.now() + HOUR
    await services.sessions().schedule_stop(session.session_id, due, "you left the group 'lensing'")
    notices = (await services.quota().start_options("grace")).notices
    assert notices == [
        "Your server 'default' will be stopped at 10 March 2027, 13:00 UTC: "
        "you left the group 'lensing'. Save your work; your files stay as they are."
    ]
    assert [s.session_id for s in await services.sessions().due_for_stop(due)] == [
        session.session_id
    ]
    await services.sessions().schedule_stop(session.session_id, None)
    assert (await services.quota().start_options("grace")).notices == []
    assert await services.sessions().due_for_stop(due) == []


def day(number: int) -> datetime:
    return NEW_YEAR + timedelta(days=number)


def left(grants: list[Grant], use_of_days: dict[int, int], now: int) -> int | None:
    cut = stretches(grants, day(now))
    used = [
        (
            since,
            sum(amount for at, amount in use_of_days.items() if since <= day(at) < until),
        )
        for since, until in cut
    ]
    result = pool(grants, used, day(now))
    return None if result is None else result.left


def test_overlapping_allocations_are_charged_once_the_first_to_end_first() -> None:
    year = Grant(day(0), day(365), 1000, DENY)
    top_up = Grant(day(50), day(60), 200, DENY)
    both = [year, top_up]
    assert left(both, {10: 100}, 20) == 900
    assert left(both, {10: 100}, 55) == 1100
    assert left(both, {10: 100, 52: 150}, 55) == 950
    assert left(both, {10: 100, 52: 150}, 61) == 900  # the rest of the top-up expired
    assert left(both, {10: 100, 52: 250}, 61) == 850  # what it did not cover is the year's
    assert left(both, {10: 100, 52: 1500}, 61) == -400
    assert left(both, {10: 100}, 365) is None  # half-open
    assert left([], {}, 5) is None


def test_two_equal_allocations_count_twice() -> None:
    year = Grant(day(0), day(365), 1000, DENY)
    assert left([year, year], {10: 1500}, 20) == 500


def test_an_earlier_period_bears_on_the_next_only_through_overlap() -> None:
    first, second = (
        Grant(day(0), day(10), 100, DENY),
        Grant(day(10), day(20), 100, DENY),
    )
    assert left([first, second], {5: 500, 12: 30}, 15) == 70


async def test_sessions_of_a_removed_person_stay_charged(
    services: Services, lensing: str, describe: Describe, clock: HeldClock, db: AsyncSession
) -> None:
    await grant(services, 10)
    session = describe(username="ghost", session_id=uuid4(), requested_at=clock.now() - 2 * HOUR)
    await use(services, session, 1)
    assert (await services.quota().balance("lensing")).used == 3_600_000
    assert await db.get(SessionRow, session.session_id) is not None


async def test_who_must_make_room_gets_the_rescue_size_instead_of_the_chosen_one(
    lensing: str, clock: HeldClock, db: AsyncSession
) -> None:
    async def full(username: str, group: str) -> RescueReason | None:
        assert group == "lensing"
        return RescueReason("files-over-quota", "120 of 100 GiB") if username == "grace" else None

    async def fine(username: str, group: str) -> RescueReason | None:
        return None

    quota = Services(db, clock, start_checks=(fine, full)).quota()
    decision = await quota.authorize(ask(size="large"))
    assert (decision.allowed, decision.code) == (True, "files-over-quota")
    assert (decision.size, decision.rescue) == ("rescue", "120 of 100 GiB")
    decision = await quota.authorize(ask("ada", size="large"))
    assert (decision.allowed, decision.size, decision.rescue) == (True, "large", None)


async def test_the_start_page_tells_what_presses_until_it_was_read(
    services: Services, factory: Factory, lensing: str
) -> None:
    for severity in Severity:
        await factory.notices().give(
            ["grace"], key=severity, kind=NoticeKind.STORAGE, severity=severity,
            title=f"This is {severity}", text="Delete something.",
        )  # fmt: skip
    options = await services.quota().start_options("grace")
    assert options.notices == [
        "This is urgent. Delete something.", "This is warning. Delete something.",
    ]  # fmt: skip
    grace = Principal("grace", PrincipalKind.PERSON)
    await factory.notices().mark_all_read(grace, (await factory.notices().count(grace)).last_id)
    assert (await services.quota().start_options("grace")).notices == []


async def test_the_start_page_tells_of_a_stop_for_maintenance_and_not_that_one_had_been_announced(
    services: Services, factory: Factory, lensing: str
) -> None:
    for severity, title in ((Severity.URGENT, "It will be stopped"), (Severity.WARNING, "It was")):
        await factory.notices().give(
            ["grace"], key=title, kind=NoticeKind.MAINTENANCE, severity=severity, title=title,
            text="New disks.",
        )  # fmt: skip
    assert (await services.quota().start_options("grace")).notices == ["It was. New disks."]
