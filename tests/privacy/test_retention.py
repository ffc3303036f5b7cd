"""After their term records keep a pseudonym instead of a name, and every figure stays."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid5

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select, text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession
from tests.conftest import OwnLoop
from tests.harness.statements import counted
from tests.privacy.conftest import ADMIN, fill, holds, ran, session_of, sign_in, told

from dachub.accounting.tables import SessionRow, UsageDayRow
from dachub.config import Settings
from dachub.directory.models import Principal, PrincipalKind
from dachub.directory.tables import AffiliationRow, AuditRow, MembershipRow
from dachub.infra.clock import HeldClock
from dachub.model.names import UNKNOWN_PERSON, is_pseudonym
from dachub.model.notices import NoticeKind, Severity
from dachub.model.people import RefusalRecord
from dachub.model.usage import UsageDimension, UsageReport
from dachub.privacy.services import Spared
from dachub.privacy.settings import PrivacySettings
from dachub.server.factory import Factory
from dachub.server.privacy import retain_records, retain_sessions

DAY = timedelta(days=1)
FOR_EVER = dict.fromkeys(PrivacySettings.model_fields)
NOW = datetime(2028, 3, 2, 0, 0, 30, tzinfo=UTC)


async def retain(factory: Factory, limit: int = 100) -> int:
    """Batches until nothing is left; gives how many records they dealt with."""
    total = 0
    while done := await retain_records(factory, set(), limit):
        total += done
    while done := await retain_sessions(factory, set(), limit):
        total += done
    return total


def with_terms(db: AsyncSession, clock: HeldClock, **days: int | None) -> Factory:
    return Factory(Settings(privacy=PrivacySettings(**(FOR_EVER | days))), db, clock)


async def report(factory: Factory, *dimensions: UsageDimension) -> UsageReport:
    now = factory.clock.now()
    return await factory.usage().report(
        ADMIN, since=now - 3000 * DAY, until=now + DAY, dimensions=list(dimensions)
    )


async def test_many_names_cost_no_more_statements_than_one(
    db: AsyncSession, engine: AsyncEngine, clock: HeldClock
) -> None:
    factory = with_terms(db, clock, sessions_days=365)
    asked = []
    for people in (["ann"], [f"person-{number}" for number in range(30)]):
        for username in people:
            await sign_in(factory, username)
            await ran(factory, username, clock.now() - 400 * DAY, 30)
        with counted(engine) as said:
            assert await retain_sessions(factory, set(), 100) == len(people)
        asked.append(len(said))
    assert asked[0] == asked[1]


async def test_sessions_past_their_term_stand_under_one_pseudonym(
    db: AsyncSession, clock: HeldClock
) -> None:
    factory = with_terms(db, clock, sessions_days=365)
    await sign_in(factory, "zora")
    for days in (1500, 1000, 367, 300, 2):
        await ran(factory, "zora", clock.now() - days * DAY, 30)
    before = await report(factory, "day", "group", "institution")
    assert await retain(factory, limit=2) == 3
    assert await report(factory, "day", "group", "institution") == before
    by_user = {row.username: row.milli_core_seconds for row in (await report(factory, "user")).rows}
    (pseudonym,) = (name for name in by_user if name != "zora")
    assert pseudonym is not None
    assert is_pseudonym(pseudonym)
    assert by_user == {"zora": 2 * 30 * 3_600_000, pseudonym: 3 * 30 * 3_600_000}
    assert await factory.ledger().check_usage_days() == []
    assert await retain(factory) == 0
    clock.advance(100 * DAY)
    assert await retain(factory) == 1
    assert {row.username for row in (await report(factory, "user")).rows} == {"zora", pseudonym}
    zeros = await db.scalars(select(UsageDayRow).where(UsageDayRow.milli_core_seconds == 0))
    assert zeros.all() == []


async def test_null_keeps_names_for_ever(db: AsyncSession, clock: HeldClock) -> None:
    factory = with_terms(db, clock)
    await sign_in(factory, "zora")
    await ran(factory, "zora", clock.now() - 2000 * DAY, 3)
    await fill(db, "zora", "zora", clock.now() - 2000 * DAY)
    before = await holds(db, "zora")
    assert await retain(factory) == 0
    assert await holds(db, "zora") == before


async def test_every_term_ends_in_every_table_that_has_one(
    db: AsyncSession, clock: HeldClock
) -> None:
    factory = with_terms(db, clock)
    await sign_in(factory, "zora", "Zora Lovelace")
    await sign_in(
        factory, "zora", "Zora Lovelace", memberships=[], affiliations=["staff@new.example"]
    )
    await ran(factory, "zora", clock.now() - 3 * DAY, 30)
    await fill(db, "zora", "Zora Lovelace", clock.now())
    clock.advance(40 * DAY)
    await retain(with_terms(db, clock, **dict.fromkeys(FOR_EVER, 30)))
    # What is left is of the person as they are now, and what is in force for them.
    kept = {
        "affiliation.username", "local_account.username", "member_limit.author",
        "member_limit.username", "notice_preference.username", "person.email", "person.issuer",
        "person.subject", "person.username", "pseudonym.username", "quota_standing.username",
        "storage_limit.author", "storage_limit.owner", "storage_place.owner",
    }  # fmt: skip
    assert set(await holds(db, "zora")) <= kept
    (affiliation,) = (
        await db.scalars(select(AffiliationRow).where(AffiliationRow.username == "zora"))
    ).all()
    assert affiliation.value == "staff@new.example"


async def test_a_membership_in_force_has_no_end_and_keeps_its_name(
    db: AsyncSession, clock: HeldClock
) -> None:
    factory = with_terms(db, clock, memberships_days=1)
    await sign_in(factory, "zora")
    clock.advance(3000 * DAY)
    assert await retain(factory) == 0
    assert list(await db.scalars(select(MembershipRow.username))) == ["zora"]


async def test_the_audit_keeps_what_happened_without_who(
    db: AsyncSession, clock: HeldClock
) -> None:
    factory = with_terms(db, clock, audit_days=100)
    await sign_in(factory, "zora")
    await sign_in(factory, "grace")
    await factory.people().disable(ADMIN, "grace", "ask grace why")
    await factory.logins().refuse(
        RefusalRecord(claimed_name="who knows", issuer="x", code="wrong-password", at=clock.now())
    )
    clock.advance(101 * DAY)
    before = list(await db.scalars(select(AuditRow.action).order_by(AuditRow.audit_id)))
    await retain(factory, limit=3)
    db.expire_all()
    entries = (await db.scalars(select(AuditRow).order_by(AuditRow.audit_id))).all()
    assert [entry.action for entry in entries] == before
    assert {entry.actor for entry in entries} == {"hub", "operator"}
    names = {entry.username for entry in entries if entry.username is not None}
    assert all(is_pseudonym(name) for name in names)
    assert entries[-1].username == UNKNOWN_PERSON
    (disabled,) = (entry for entry in entries if entry.action == "user-disabled")
    assert disabled.details == {"reason": f"ask {disabled.username} why"}


async def test_a_person_who_is_forgotten_keeps_the_pseudonym_that_older_records_have(
    db: AsyncSession, clock: HeldClock
) -> None:
    factory = with_terms(db, clock, sessions_days=365)
    await sign_in(factory, "zora")
    await ran(factory, "zora", clock.now() - 1000 * DAY, 1)
    await ran(factory, "zora", clock.now() - 2 * DAY, 1)
    await retain(factory)
    await factory.forgetting().ask(ADMIN, "zora", "asked")
    for left in await factory.people().left_behind():
        await factory.people().enforced(left)
    pseudonym = await factory.forgetting().finish("zora")
    assert {row.username for row in (await report(factory, "user")).rows} == {pseudonym}
    assert await holds(db, "zora") == []
    assert await factory.ledger().check_usage_days() == []


async def test_an_event_that_is_late_by_years_still_counts(
    db: AsyncSession, clock: HeldClock
) -> None:
    factory = with_terms(db, clock, sessions_days=365)
    await sign_in(factory, "zora")
    session = session_of("zora", clock.now() - 1000 * DAY)
    started, stopped = told(session, 5)
    estimate = stopped.model_copy(
        update={"event_id": UUID(int=1), "end_is_estimate": True, "at": started.at + DAY}
    )
    await factory.ledger().apply([started, estimate])
    await retain(factory)
    assert (await factory.ledger().apply([stopped])).refused == []
    assert (await report(factory)).total.milli_core_seconds == 5 * 3_600_000
    assert await factory.ledger().check_usage_days() == []


async def test_a_pseudonym_beside_a_name_stays_what_it_is(
    db: AsyncSession, clock: HeldClock
) -> None:
    factory = with_terms(db, clock, audit_days=100)
    await sign_in(factory, "zora")
    await sign_in(factory, "grace")
    pseudonym = await factory.pseudonyms().give("grace")
    zora = Principal(name="zora", kind=PrincipalKind.PERSON)
    await factory.audit().record(zora, "something", username=pseudonym)
    clock.advance(101 * DAY)
    await retain(factory)
    (entry,) = await factory.audit().list(ADMIN, action="something")
    assert (entry.actor, entry.username) == (await factory.pseudonyms().known("zora"), pseudonym)


async def test_one_bad_record_holds_up_no_other(db: AsyncSession, clock: HeldClock) -> None:
    factory = with_terms(db, clock, sessions_days=365, audit_days=365, notices_days=365)
    await sign_in(factory, "zora")
    await sign_in(factory, "grace")
    ids = [await ran(factory, "zora", clock.now() - (900 + day) * DAY, 30) for day in range(9)]
    before = (await report(factory, "day", "group", "institution")).rows
    for number in range(9):
        await factory.notices().give(
            ["zora"], key=f"{number}", kind=NoticeKind.QUOTA, severity=Severity.INFO,
            title="Little is left", text="Little.",
        )  # fmt: skip
    clock.advance(400 * DAY)
    entry = await db.scalar(text("select min(audit_id) from audit"))
    notice = await db.scalar(text("select max(notice_id) from notice"))
    for table, key, event in (
        ("session", f"session_id = '{ids[4]}'", "update"),
        ("audit", f"audit_id = {entry}", "update"),
        ("notice", f"notice_id = {notice}", "delete"),
    ):
        await db.execute(
            text(
                f"create function no_{table}() returns trigger language plpgsql as"
                f" $$ begin raise exception 'bad sector'; end $$"
            )
        )
        await db.execute(
            text(
                f"create trigger bad before {event} on {table} for each row when (old.{key})"
                f" execute function no_{table}()"
            )
        )
    records: Spared = set()
    sessions: set[UUID] = set()
    while await retain_records(factory, records, 4):
        pass
    while await retain_sessions(factory, sessions, 4):
        pass
    assert records == {("audit", (entry,)), ("notice", (notice,))}
    assert sessions == {ids[4]}
    named = await db.scalars(select(SessionRow.session_id).where(SessionRow.username == "zora"))
    assert named.all() == [ids[4]]
    assert await db.scalar(text("select count(*) from notice")) == 1
    by_zora = await db.scalars(select(AuditRow.audit_id).where(AuditRow.username == "zora"))
    assert by_zora.all() == [entry]
    assert (await report(factory, "day", "group", "institution")).rows == before
    assert await factory.ledger().check_usage_days() == []


@st.composite
def histories(draw: st.DrawFn) -> list[Any]:
    """Sessions of three people over five years, some running, some never started."""
    found = []
    for number in range(draw(st.integers(1, 8))):
        age_days = draw(st.integers(0, 1800))
        hours = draw(st.none() | st.sampled_from([0, 1, 23.99, 24, 24.01, 70 * 24, 0.0003]))
        start = NOW - age_days * DAY - timedelta(seconds=draw(st.integers(0, 86400)))
        if hours is not None:
            hours = min(hours, (NOW - start).total_seconds() / 3600)
        found.append(
            (
                session_of(
                    draw(st.sampled_from(["zora", "grace", "mary"])),
                    start,
                    session_id=uuid5(UUID(int=0), str(number)),
                    group=draw(st.sampled_from(["lensing", "cosmology"])),
                    kind=draw(st.sampled_from(["notebook", "dask"])),
                    size=draw(st.sampled_from(["small", "large"])),
                    milli_cores=draw(st.sampled_from([1, 250, 4000])),
                    gpus=draw(st.integers(0, 2)),
                ),
                hours,
            )
        )
    return found


@settings(
    max_examples=10,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(history=histories(), data=st.data())
def test_no_report_but_by_user_tells_before_from_after(
    history: list[Any],
    data: st.DataObject,
    own_loop: OwnLoop,
) -> None:
    loop, engine = own_loop
    days = data.draw(st.integers(1, 1500))
    limit = data.draw(st.integers(1, 4))
    forgotten = data.draw(st.sampled_from([None, "zora", "mary"]))
    loop.run_until_complete(check_unchanged(engine, history, days, limit, forgotten))


async def check_unchanged(
    engine: AsyncEngine, history: list[Any], days: int, limit: int, forgotten: str | None
) -> None:
    session = AsyncSession(engine, expire_on_commit=False)
    await session.begin()
    try:
        factory = with_terms(session, HeldClock(NOW), sessions_days=days)
        for username in ("zora", "grace", "mary"):
            await sign_in(factory, username, affiliations=[f"staff@{username[0]}.example"])
        for described, hours in history:
            await factory.ledger().apply(told(described, hours))
        before = await figures(factory)
        await retain(factory, limit)
        if forgotten is not None:
            await factory.forgetting().ask(ADMIN, forgotten, "asked")
            for left in await factory.people().left_behind():
                await factory.people().enforced(left)
            await factory.forgetting().finish(forgotten)
        assert await figures(factory) == before
        assert await factory.ledger().check_usage_days() == []
    finally:
        await session.rollback()
        await session.close()


async def figures(factory: Factory) -> Mapping[str, object]:
    """All reports; those by user with whose a pseudonym is put back, by institution."""
    plain: list[list[UsageDimension]] = [
        [], ["day"], ["group"], ["kind", "size"], ["day", "institution", "group", "environment"],
    ]  # fmt: skip
    found: dict[str, object] = {str(each): await report(factory, *each) for each in plain}
    by_user: dict[tuple[str | None, str | None], int] = {}
    for row in (await report(factory, "user", "day", "institution")).rows:
        key = (row.institution, str(row.day))
        by_user[key] = by_user.get(key, 0) + row.milli_core_seconds
    return found | {"by user": by_user}
