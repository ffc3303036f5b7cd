"""The queue on a real database: order, limits, and that a killed hub blocks nobody."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

import pytest
from sqlalchemy import insert
from sqlalchemy.ext.asyncio import AsyncSession
from tests.accounting.conftest import ADMINISTRATOR, Describe, event, life
from tests.quota.conftest import Services

from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.tables import GroupRow, MembershipRow
from dachub.infra.clock import HeldClock
from dachub.model.people import Role
from dachub.model.problems import InvalidInput, NotFound, PermissionDenied
from dachub.model.queue import Place, QueueRequest, WaitsFor
from dachub.model.sessions import EndReason, EventKind
from dachub.model.site import ServerChoice
from dachub.model.usage import AuthorizeRequest, Decision
from dachub.quota.models import InvalidAmount, OwnServersFillLimit
from dachub.quota.services.queue import ALIVE, PLACE_KEPT
from dachub.quota.settings import QuotaSettings

CORE = 1000
SECOND = timedelta(seconds=1)


@pytest.fixture
def services(db: AsyncSession, clock: HeldClock, lensing: str) -> Services:
    """A site of four cores."""
    return Services(db, clock, QuotaSettings(concurrent_milli_cores=4 * CORE))


async def enter(
    services: Services, number: int, milli_cores: int = CORE, group: str = "lensing",
    session_id: UUID | None = None,
) -> Place | None:  # fmt: skip
    """A person of that number asks for a server."""
    return await services.queue().enter(
        session_id or UUID(int=number), username=f"p{number}", server_name="", group=group,
        milli_cores=milli_cores, is_rescue=False,
    )  # fmt: skip


async def ask(services: Services, *waiting: int, left: tuple[int, ...] = ()) -> dict[int, int]:
    """What a hub with these people waiting is told: person -> place."""
    answer = await services.queue().ask(
        QueueRequest(waiting=[UUID(int=n) for n in waiting], left=[UUID(int=n) for n in left])
    )
    return {session_id.int: place.number for session_id, place in answer.places.items()}


async def run(services: Services, describe: Describe, number: int, clock: HeldClock) -> None:
    """The ledger hears that a person's server runs."""
    session = describe(session_id=UUID(int=number), username=f"p{number}")
    await services.ledger().apply(life(session, clock.now()))


async def end(services: Services, describe: Describe, number: int, clock: HeldClock) -> None:
    session = describe(session_id=UUID(int=number), username=f"p{number}")
    stopped = event(EventKind.STOPPED, session, clock.now(), started_at=clock.now(),
                    reason=EndReason.STOPPED)  # fmt: skip
    assert not (await services.ledger().apply([stopped])).refused


async def test_six_ask_four_fit_two_wait_in_their_order(services: Services) -> None:
    places = [await enter(services, number) for number in range(1, 7)]
    assert places[:4] == [None] * 4
    assert [place and place.number for place in places[4:]] == [1, 2]
    assert places[5] == Place(
        number=2, waiting=2, waits_for=WaitsFor.SITE,
        message="You are number 2 of 2 in the queue: all 4 cores of the site are in use. "
        "Your server starts by itself when it is your turn.",
    )  # fmt: skip
    assert await ask(services, 5, 6) == {5: 1, 6: 2}


async def test_cores_count_once_while_a_permit_becomes_a_session(
    services: Services, describe: Describe, clock: HeldClock
) -> None:
    for number in range(1, 7):
        await enter(services, number)
    for number in (1, 2, 3, 4):
        await run(services, describe, number, clock)
        assert await ask(services, 5, 6) == {5: 1, 6: 2}
    await end(services, describe, 3, clock)
    assert await ask(services, 5, 6) == {6: 1}
    assert await ask(services, 6) == {6: 1}  # 5 was granted, and counts already
    await run(services, describe, 5, clock)
    await end(services, describe, 5, clock)
    assert await ask(services, 6) == {}


async def test_asked_again_a_server_keeps_its_place_and_what_it_was_granted(
    services: Services,
) -> None:
    for _ in range(2):
        for number in range(1, 7):
            place = await enter(services, number)
            assert (place and place.number) == {5: 1, 6: 2}.get(number)


async def test_a_killed_hub_blocks_nobody(services: Services, clock: HeldClock) -> None:
    for number in range(1, 7):
        await enter(services, number)
    clock.advance(ALIVE)
    assert await ask(services, 6) == {6: 1}  # nobody asks for 5 any more
    clock.advance(timedelta(seconds=120))  # what 1 to 4 were granted, nobody used
    assert await ask(services, 6) == {}
    assert [await enter(services, number) for number in (7, 8, 9)] == [None] * 3
    assert (await services.queue().report(ADMINISTRATOR)).site.in_use_milli_cores == 4 * CORE


async def test_a_hub_that_was_cut_off_finds_the_places_as_they_were(
    services: Services, clock: HeldClock
) -> None:
    for number in range(1, 7):
        await enter(services, number)
    clock.advance(ALIVE)
    assert (await enter(services, 8)) is not None
    assert await ask(services, 5, 6, 8) == {5: 1, 6: 2, 8: 3}


async def test_a_person_whose_hub_was_killed_comes_back_to_their_place(
    services: Services, clock: HeldClock
) -> None:
    for number in range(1, 8):
        await enter(services, number)
    clock.advance(ALIVE)
    assert await ask(services, 6, 7) == {6: 1, 7: 2}
    place = await enter(services, 5, session_id=uuid4())
    assert place is not None
    assert place.number == 1


async def test_a_place_that_nobody_came_back_to_is_forgotten(
    services: Services, clock: HeldClock
) -> None:
    for number in range(1, 7):
        await enter(services, number)
    clock.advance(PLACE_KEPT)
    assert [await enter(services, number) for number in (11, 12, 13, 14)] == [None] * 4
    assert await enter(services, 15) is not None
    assert await enter(services, 5, session_id=uuid4()) is not None
    assert await ask(services, 15) == {15: 1}


async def test_who_gives_up_makes_room(services: Services) -> None:
    for number in range(1, 8):
        await enter(services, number)
    assert await ask(services, 6, 7, left=(5,)) == {6: 1, 7: 2}
    assert await ask(services, 7, left=(1, 6)) == {}


@pytest.mark.parametrize("step", [timedelta(hours=9), timedelta(hours=-9)])
async def test_a_clock_that_is_set_turns_no_order_round_and_blocks_nobody(
    services: Services, clock: HeldClock, step: timedelta
) -> None:
    for number in range(1, 7):
        await enter(services, number)
    clock.jump(step)
    places = await ask(services, 5, 6)
    # Forward, what was granted looks lapsed; back, it is as if granted now.
    assert places == ({5: 1, 6: 2} if step < timedelta() else {})
    clock.advance(timedelta(seconds=120))
    assert await ask(services, 5, 6) == {}


async def test_a_group_at_its_limit_does_not_hold_up_others(
    services: Services, db: AsyncSession, clock: HeldClock
) -> None:
    await db.execute(insert(GroupRow).values(slug="coma", title="Coma", created_at=clock.now()))
    await services.core_limits().set(ADMINISTRATOR, "coma", 1, "two nodes are away")
    assert await enter(services, 1, group="coma") is None
    place = await enter(services, 2, group="coma")
    assert place is not None
    assert place.waits_for is WaitsFor.GROUP
    assert place.message == (
        "You are number 1 of 1 in the queue: the one core that the group 'coma' may use at once is "
        "in use. Your server starts by itself when it is your turn."
    )
    assert await enter(services, 3) is None
    await services.core_limits().set(ADMINISTRATOR, "coma", None, "they are back")
    assert await ask(services, 2) == {}


async def test_what_is_too_large_is_refused_and_told_why(services: Services) -> None:
    decision = await decide(services, uuid4(), size="large")
    assert decision.allowed
    await services.core_limits().set(ADMINISTRATOR, "lensing", "1.5", "a course")
    decision = await decide(services, uuid4(), size="large")
    assert (decision.allowed, decision.code) == (False, "larger-than-limit")
    assert decision.message == (
        "The server that you chose has 4 cores, and there are only 1.5 cores that the group "
        "'lensing' may use at once. Choose a smaller one, or ask help@observatory.example."
    )


async def test_a_limit_lowered_meanwhile_leaves_nobody_waiting_for_ever(
    services: Services,
) -> None:
    await enter(services, 1)
    assert await enter(services, 2, 4 * CORE) is not None
    await services.core_limits().set(ADMINISTRATOR, None, 3, "a rack is off")
    assert await ask(services, 2) == {}  # to be decided on anew: it is refused
    assert (await services.queue().report(ADMINISTRATOR)).site.limit_milli_cores == 3 * CORE


async def test_nobody_waits_for_themselves(
    services: Services, describe: Describe, clock: HeldClock
) -> None:
    other = describe(username="p1", server_name="other", milli_cores=4 * CORE)
    await services.ledger().apply(life(other, clock.now()))
    with pytest.raises(OwnServersFillLimit, match="Stop one of them first"):
        await enter(services, 1)
    assert not (await services.queue().report(ADMINISTRATOR)).queue
    assert await enter(services, 2) is not None


async def test_who_starts_anew_waits_until_the_end_of_the_last_server_is_known(
    services: Services, describe: Describe, clock: HeldClock
) -> None:
    last = describe(username="p1", milli_cores=4 * CORE)
    await services.ledger().apply(life(last, clock.now()))
    assert await enter(services, 1, 4 * CORE) is not None
    stopped = event(EventKind.STOPPED, last, clock.now(), started_at=clock.now())
    await services.ledger().apply([stopped])
    assert await ask(services, 1) == {}


async def decide(
    services: Services, session_id: UUID | None, username: str = "grace", **choice: str
) -> Decision:
    return await services.quota().authorize(
        AuthorizeRequest(username=username, choice=ServerChoice(**choice), session_id=session_id)
    )


async def test_the_decision_tells_the_place_and_a_refusal_gives_it_back(
    services: Services, db: AsyncSession
) -> None:
    for number in range(1, 5):
        await enter(services, number)
    session_id = uuid4()
    decision = await decide(services, session_id)
    assert decision.allowed
    assert decision.place is not None
    assert decision.place.number == 1
    await db.execute(MembershipRow.__table__.delete().where(MembershipRow.username == "grace"))
    assert not (await decide(services, session_id)).allowed
    assert not (await services.queue().report(ADMINISTRATOR)).queue


async def test_who_must_make_room_is_not_held_up_by_the_groups_limit(services: Services) -> None:
    await services.core_limits().set(ADMINISTRATOR, "lensing", "0.25", "almost nothing")
    request = AuthorizeRequest(
        username="grace", choice=ServerChoice(), session_id=uuid4(), trouble="Your home is full."
    )
    decision = await services.quota().authorize(request)
    assert (decision.allowed, decision.place, decision.size) == (True, None, "rescue")


async def test_without_limits_or_a_session_nothing_is_queued(
    db: AsyncSession, clock: HeldClock, lensing: str, services: Services
) -> None:
    free = Services(db, clock)
    for number in range(1, 9):
        assert await enter(free, number) is None
    assert (await free.queue().report(ADMINISTRATOR)).site.limit_milli_cores is None
    for _ in range(6):
        assert (await decide(services, None)).place is None


async def test_limits_are_appended_and_the_last_counts(services: Services) -> None:
    limits = services.core_limits()
    for cores, reason in ((2, "a course"), (None, "the course is over"), ("0.5", "another")):
        await limits.set(ADMINISTRATOR, "lensing", cores, reason)
    member = Principal("grace", PrincipalKind.PERSON, roles={"lensing": Role.MEMBER})
    history = await limits.history(member, "lensing")
    assert [(one.milli_cores, one.reason) for one in history] == [
        (500, "another"), (None, "the course is over"), (2000, "a course")
    ]  # fmt: skip
    assert (await limits.in_force()).of_groups == {"lensing": 500}
    of_group = await services.queue().of_group(member, "lensing")
    assert (of_group.limit_milli_cores, of_group.in_use_milli_cores) == (500, 0)
    for bad in (0, -1, "many", "NaN", "Infinity", "1e999999", "0.0001", 3_000_000):
        with pytest.raises(InvalidAmount):
            await limits.set(ADMINISTRATOR, "lensing", bad, "mistyped")
    with pytest.raises(InvalidInput, match="reason"):
        await limits.set(ADMINISTRATOR, "lensing", 1, " ")
    with pytest.raises(NotFound):
        await limits.set(ADMINISTRATOR, "nowhere", 1, "no such group")
    for call in (
        limits.set(member, "lensing", 1, "more for us"),
        limits.history(member, None),
        services.queue().report(member),
        services.queue().of_group(member, "coma"),
    ):
        with pytest.raises(PermissionDenied):
            await call


async def test_the_report_says_who_waits_for_what(services: Services, clock: HeldClock) -> None:
    for number in range(1, 7):
        await enter(services, number)
    clock.advance(5 * SECOND)
    report = await services.queue().report(ADMINISTRATOR)
    assert (report.site.in_use_milli_cores, report.site.waiting) == (4 * CORE, 2)
    assert [(one.group, one.in_use_milli_cores, one.waiting) for one in report.groups] == [
        ("lensing", 4 * CORE, 0)
    ]
    assert [(one.username, one.place.number) for one in report.queue] == [("p5", 1), ("p6", 2)]
    figures = await services.figures().read(ADMINISTRATOR)
    assert figures.longest_wait_seconds == 5
