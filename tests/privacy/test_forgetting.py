"""A person who is forgotten leaves figures, and nothing that leads back to them."""

from __future__ import annotations

from datetime import timedelta

import pytest
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession
from tests.privacy.conftest import (
    ADMIN,
    ISSUER,
    fill,
    holds,
    ran,
    session_of,
    sign_in,
    tables,
    told,
)

from dachub.directory.models import AccountDisabled, Principal, PrincipalKind
from dachub.directory.tables import ForgottenNameRow, PersonRow
from dachub.infra.clock import HeldClock
from dachub.model.names import is_pseudonym
from dachub.model.people import LoginRecord, RefusalRecord
from dachub.model.problems import Conflict, InvalidInput, PermissionDenied
from dachub.model.storage import StorageArea, StorageMethod
from dachub.model.usage import Resource, UsageDimension, UsageReport
from dachub.privacy.models import BeingForgotten
from dachub.server.factory import Factory
from dachub.storage.models import Measurement

DAY = timedelta(days=1)
NOT_BY_USER: list[UsageDimension] = [
    "day", "group", "kind", "size", "environment", "institution"
]  # fmt: skip


async def enforce(factory: Factory) -> None:
    """What the worker notes when the hub has ended all servers and tokens of disabled people."""
    for left in await factory.people().left_behind():
        await factory.people().enforced(left)


async def forget(factory: Factory, username: str) -> str:
    """Forget somebody, from the request to the end; gives the pseudonym."""
    await factory.forgetting().ask(ADMIN, username, "asked to be forgotten")
    await enforce(factory)
    pseudonym = await factory.forgetting().finish(username)
    assert pseudonym is not None
    return pseudonym


async def report(factory: Factory, dimensions: list[UsageDimension]) -> UsageReport:
    now = factory.clock.now()
    return await factory.usage().report(
        ADMIN, since=now - 400 * DAY, until=now + DAY, dimensions=dimensions
    )


@pytest.fixture
async def zora(factory: Factory, clock: HeldClock, db: AsyncSession) -> str:
    """Zora, who used the platform, and is mentioned in every table there is."""
    username = await sign_in(factory, "zora", "Zora Lovelace")
    await sign_in(factory, "grace", "Grace Hopper", affiliations=["staff@navy.example"])
    for days in (300, 30, 3):
        await ran(factory, "zora", clock.now() - days * DAY, 30.5)
    await ran(factory, "grace", clock.now() - 30 * DAY, 2)
    await factory.personal_data().of(ADMIN, "zora", "Survey")
    await fill(db, "zora", "Zora Lovelace (@zora, zora@mail.example) asked for more", clock.now())
    return username


async def test_nothing_in_any_table_leads_back_to_the_person(
    factory: Factory, zora: str, db: AsyncSession
) -> None:
    assert len(await holds(db, "zora")) > 15  # else this test looks at nothing
    pseudonym = await forget(factory, zora)
    for trace in ("zora", "Lovelace"):
        assert await holds(db, trace) == []
    assert is_pseudonym(pseudonym)


async def test_what_was_used_stays_to_the_second_and_only_the_name_changes(
    factory: Factory, zora: str
) -> None:
    before = await report(factory, NOT_BY_USER)
    by_user = await report(factory, ["user", "day"])
    sessions = await factory.sessions().list(ADMIN, username="zora", limit=1000)
    pseudonym = await forget(factory, zora)
    assert await report(factory, NOT_BY_USER) == before
    after = await report(factory, ["user", "day"])
    renamed = [
        row.model_copy(update={"username": "zora"}) if row.username == pseudonym else row
        for row in after.rows
    ]
    assert sorted(renamed, key=str) == sorted(by_user.rows, key=str)
    assert after.total == by_user.total
    assert len(await factory.sessions().list(ADMIN, username=pseudonym, limit=1000)) == len(
        sessions
    )
    assert await factory.ledger().check_usage_days() == []


async def test_the_act_is_audited_with_the_pseudonym_who_and_why(
    factory: Factory, zora: str
) -> None:
    pseudonym = await forget(factory, zora)
    (entry,) = await factory.audit().list(ADMIN, action="user-forgotten")
    assert (entry.username, entry.actor) == (pseudonym, ADMIN.name)
    assert entry.details == {"reason": "asked to be forgotten", "home": False}


async def test_the_pseudonym_is_no_person(factory: Factory, zora: str) -> None:
    pseudonym = await forget(factory, zora)
    assert [person.username for person in await factory.people().list(ADMIN)] == ["grace"]
    assert await factory.people().count() == 1
    with pytest.raises(AccountDisabled):
        await factory.people().principal(pseudonym)
    group = await factory.groups().show(ADMIN, "lensing")
    assert [member.username for member in group.members] == ["grace"]
    history = await factory.groups().history(ADMIN, "lensing")
    assert {record.username for record in history} == {"grace", pseudonym}
    with pytest.raises(InvalidInput, match="pseudonym"):
        await factory.forgetting().ask(ADMIN, pseudonym, "again")


async def test_who_comes_back_is_a_new_person_under_a_new_name(factory: Factory, zora: str) -> None:
    await forget(factory, zora)
    again = await sign_in(factory, "zora", "Zora Lovelace")
    assert again != "zora"
    assert again.startswith("zora-")
    assert (await factory.sessions().list(ADMIN, username=again)) == []


async def test_a_hub_that_still_knows_the_old_name_is_told_the_new_one(
    factory: Factory, zora: str
) -> None:
    await forget(factory, zora)
    assert await sign_in(factory, "zora", "Zora Lovelace", username="zora") != "zora"


async def test_nobody_gets_a_name_that_was_forgotten(factory: Factory, zora: str) -> None:
    await forget(factory, zora)
    other = await sign_in(factory, "zora", "Zora Byron", subject="somebody else")
    assert other.startswith("zora-")
    with pytest.raises(Conflict, match="never passed on"):
        await factory.accounts().add(ADMIN, "zora", password="correct horse battery")


async def test_names_of_pseudonyms_are_nobodys_to_claim(factory: Factory) -> None:
    claimed = await sign_in(factory, "gone-0123456789ab", subject="s1")
    assert not is_pseudonym(claimed) or claimed != "gone-0123456789ab"
    with pytest.raises(InvalidInput):
        await factory.accounts().add(ADMIN, "gone-1", password="correct horse battery")


async def test_the_tombstone_keeps_a_digest_and_in_the_end_nothing_else(
    factory: Factory, zora: str, db: AsyncSession, clock: HeldClock
) -> None:
    pseudonym = await forget(factory, zora)
    (stone,) = (await db.scalars(select(ForgottenNameRow))).all()
    assert stone.pseudonym == pseudonym
    clock.advance(31 * DAY)
    await factory.forgetting().catch_up()
    db.expire_all()
    (stone,) = (await db.scalars(select(ForgottenNameRow))).all()
    assert (stone.pseudonym, stone.forgotten_at) == (None, None)
    assert (await sign_in(factory, "zora", subject="another")) != "zora"


async def test_events_that_arrive_late_are_charged_to_the_pseudonym(
    factory: Factory, zora: str, clock: HeldClock, db: AsyncSession
) -> None:
    running = session_of("zora", clock.now() - DAY)
    unheard = session_of("zora", clock.now() - 2 * DAY)
    await factory.ledger().apply(told(running, None))
    pseudonym = await forget(factory, zora)
    receipt = await factory.ledger().apply([*told(running, 5), *told(unheard, 7)])
    assert receipt.refused == []
    assert await holds(db, "zora") == []
    records = {
        record.session_id: record
        for record in await factory.sessions().list(ADMIN, username=pseudonym, limit=1000)
    }
    assert records[running.session_id].core_seconds == 5 * 3600
    assert records[unheard.session_id].core_seconds == 7 * 3600
    clock.advance(31 * DAY)
    await factory.forgetting().catch_up()
    very_late = session_of("zora", clock.now() - 2 * DAY)
    assert (await factory.ledger().apply(told(very_late, 1))).refused == []
    assert await holds(db, "zora") == []


async def test_a_late_event_cannot_say_of_a_session_what_it_was_not(
    factory: Factory, zora: str, clock: HeldClock
) -> None:
    running = session_of("zora", clock.now() - DAY)
    await factory.ledger().apply(told(running, None))
    await forget(factory, zora)
    other = running.model_copy(update={"milli_cores": 64_000})
    (refusal, _) = (await factory.ledger().apply(told(other, 5))).refused
    assert refusal.code == "session-contradicted"
    assert "milli_cores" in refusal.detail
    assert "zora" not in refusal.detail


async def test_whatever_else_comes_late_is_put_under_the_pseudonym(
    factory: Factory, zora: str, clock: HeldClock, db: AsyncSession
) -> None:
    await forget(factory, zora)
    await factory.logins().refuse(
        RefusalRecord(claimed_name="zora", issuer=ISSUER, code="account-disabled", at=clock.now())
    )
    await fill(db, "zora", "@zora", clock.now())
    assert await holds(db, "zora") != []
    assert await factory.forgetting().catch_up() == 1
    assert await holds(db, "zora") == []
    assert await factory.forgetting().catch_up() == 0


async def test_while_it_is_under_way_nobody_gets_in_or_takes_it_back(
    factory: Factory, zora: str
) -> None:
    await factory.forgetting().ask(ADMIN, zora, "left")
    with pytest.raises(AccountDisabled):
        await sign_in(factory, "zora")
    with pytest.raises(Conflict, match="being forgotten"):
        await factory.people().enable(ADMIN, zora)
    with pytest.raises(BeingForgotten):
        await factory.forgetting().ask(ADMIN, zora, "left")
    assert await factory.forgetting().finish(zora) is None  # the hub has not let go yet
    await enforce(factory)
    assert await factory.forgetting().finish(zora) is not None
    assert await factory.forgetting().finish(zora) is None


async def test_only_administrators_and_not_themselves(factory: Factory, zora: str) -> None:
    for by in (
        Principal(name="zora", kind=PrincipalKind.PERSON),
        Principal(name="grace", kind=PrincipalKind.PERSON),
        Principal(name="boss", kind=PrincipalKind.SERVER, administrator=True),
    ):
        with pytest.raises(PermissionDenied):
            await factory.forgetting().ask(by, "zora", "why not")
    boss = Principal(name="zora", kind=PrincipalKind.PERSON, administrator=True)
    with pytest.raises(Conflict):
        await factory.forgetting().ask(boss, "zora", "myself")
    with pytest.raises(InvalidInput):
        await factory.forgetting().ask(ADMIN, "zora", "  ")


async def test_who_is_called_local_changes_nothing_that_is_local(
    factory: Factory, clock: HeldClock
) -> None:
    await factory.accounts().add(ADMIN, "local", password="correct horse battery")
    await sign_in(factory, "grace")
    await factory.groups().create(ADMIN, "photoz", "")
    await factory.groups().set_pi(ADMIN, "photoz", "grace")
    before = await factory.audit().list(ADMIN, username="grace")
    await forget(factory, "local")
    assert await factory.audit().list(ADMIN, username="grace") == before


async def test_a_name_that_is_waiting_to_be_bound_is_not_given_out(
    factory: Factory, zora: str, db: AsyncSession
) -> None:
    await forget(factory, zora)
    login = LoginRecord(issuer=ISSUER, subject="new", candidate="zora", at=factory.clock.now())
    await factory.logins().record(login)
    assert await db.scalar(select(PersonRow.username).where(PersonRow.username == "zora")) is None


async def test_a_home_that_was_left_is_not_measured_by_its_name(
    factory: Factory, zora: str, db: AsyncSession
) -> None:
    await forget(factory, zora)
    measured = Measurement(method=StorageMethod.WALK, bytes=1, allocated_bytes=1, files=1)
    await factory.storage().record(StorageArea.HOME, "zora", measured)
    await factory.storage().note_tried(StorageArea.HOME, "zora")
    assert await holds(db, "zora") == []


async def test_a_name_that_is_a_word_like_any_other_is_replaced_only_where_it_is_the_person(
    factory: Factory, clock: HeldClock, db: AsyncSession
) -> None:
    await sign_in(factory, "rose", "Rose")
    await sign_in(factory, "grace", "Grace Hopper")
    text = "Prices rose by a Rose a day, Rosenau, ROSE-2, Éros: see @rose, rose@mail.example."
    await fill(db, "grace", text, clock.now())
    await factory.storage_limits().set(
        ADMIN, StorageArea.HOME, "rose", limit_files=9, reason="Rose needs few, says prose"
    )
    before = await report(factory, NOT_BY_USER)
    pseudonym = await forget(factory, "rose")
    kept = f"Prices rose by a Rose a day, Rosenau, ROSE-2, Éros: see {pseudonym}, {pseudonym}."
    for table, personal in tables():
        for name in personal.texts:
            found = set(await db.scalars(select(table.c[name]))) - {"", None}
            assert not [one for one in found if "Rosenau" in one and one != kept], table.name
        for name in personal.documents:
            documents = await db.scalars(select(table.c[name]))
            assert not [one for one in documents if "Rosenau" in str(one) and kept not in str(one)]
    (limit,) = await factory.storage_limits().history(ADMIN, StorageArea.HOME, pseudonym)
    assert limit.reason == f"{pseudonym} needs few, says prose"
    assert await report(factory, NOT_BY_USER) == before


async def test_who_wrote_a_text_is_not_the_word_in_it(
    factory: Factory, clock: HeldClock, db: AsyncSession
) -> None:
    await sign_in(factory, "will", "Will May")
    await sign_in(factory, "grace")
    await factory.groups().create(ADMIN, "photoz", "")
    will = Principal(name="will", kind=PrincipalKind.PERSON, administrator=True)
    record = await factory.allocations().create(
        will, group="photoz", resource=Resource.CORE_HOURS, amount=1, starts_at=clock.now(),
        ends_at=clock.now() + DAY, reason="They will need it in May, says Will May (@will)",
    )  # fmt: skip
    pseudonym = await forget(factory, "will")
    (change,) = (await factory.allocations().show(ADMIN, record.allocation_id)).adjustments
    assert change.author == pseudonym
    assert change.reason == f"They will need it in May, says {pseudonym} ({pseudonym})"
    (entry,) = await factory.audit().list(ADMIN, group="photoz", action="allocation-created")
    assert entry.details["reason"] == change.reason
