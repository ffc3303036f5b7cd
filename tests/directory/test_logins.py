"""Logins: a name is bound to one identity for ever, and claims are taken over faithfully."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.directory.conftest import ADMIN, ISSUER, SignIn

from dachub.config import Settings
from dachub.directory.models import AccountDisabled, IdentityConflict, Principal
from dachub.infra.clock import HeldClock
from dachub.infra.database import create_engine
from dachub.model.names import is_username
from dachub.model.people import ClaimedMembership, LoginRecord, RefusalRecord, Role, Source
from dachub.server.factory import Factory, Process
from dachub.server.hubapi import HubAPI


def claims(**roles: str) -> list[ClaimedMembership]:
    return [
        ClaimedMembership(provider_name=name.replace("__", ":"), role=Role(role))
        for name, role in roles.items()
    ]


async def test_the_first_login_binds_the_readable_name(sign_in: SignIn, factory: Factory) -> None:
    person = await sign_in("ada", full_name="Ada Lovelace", email="ada@x.example")
    assert person.username == "ada"
    assert (await factory.people().person("ada")).full_name == "Ada Lovelace"
    assert (await sign_in("ada")).username == "ada"


async def test_an_identity_keeps_its_name_whatever_it_claims_later(sign_in: SignIn) -> None:
    await sign_in("ada", "s1")
    assert (await sign_in("countess", "s1")).username == "ada"


async def test_another_identity_with_the_same_wish_gets_another_name(sign_in: SignIn) -> None:
    first = await sign_in("ada", "s1")
    second = await sign_in("ada", "s2")
    assert second.username != first.username
    assert second.username.startswith("ada-")
    assert is_username(second.username)
    assert (await sign_in("ada", "s2")).username == second.username


async def test_the_same_subject_of_another_provider_is_somebody_else(sign_in: SignIn) -> None:
    first = await sign_in("ada", "s1")
    second = await sign_in("ada", "s1", issuer="https://other.example")
    assert first.username != second.username


async def test_a_name_the_hub_insists_on_is_never_passed_on(
    sign_in: SignIn, factory: Factory
) -> None:
    await sign_in("ada", "s1")
    with pytest.raises(IdentityConflict) as error:
        await sign_in("", "s2", username="ada")
    assert error.value.code == "identity-conflict"
    assert error.value.status == 409
    refusals = factory.audit().take_refusals()
    assert [(entry["action"], entry["username"]) for entry in refusals] == [
        ("login-refused", "ada")
    ]


async def test_a_name_given_out_by_the_hub_while_we_were_down_is_bound(sign_in: SignIn) -> None:
    assert (await sign_in("", "s1", username="ada-1234")).username == "ada-1234"


async def test_an_identity_known_under_another_name_is_refused(sign_in: SignIn) -> None:
    await sign_in("ada", "s1")
    with pytest.raises(IdentityConflict, match="known as 'ada'"):
        await sign_in("", "s1", username="eve")


@pytest.mark.parametrize("name", ["root", "postgres", "daemon", "hub", "systemd-network"])
async def test_nobody_becomes_an_account_of_the_system(sign_in: SignIn, name: str) -> None:
    person = await sign_in(name)
    assert person.username != name
    with pytest.raises(IdentityConflict):
        await sign_in("", "other", username=name)


async def test_claiming_somebodys_second_name_first_does_not_keep_them_out(
    sign_in: SignIn,
) -> None:
    await sign_in("ada", "s1")
    second = (await sign_in("ada", "victim")).username
    # Somebody else, at another site, arrives with exactly such a name before its owner does.
    from dachub.model.names import unique_username

    wished = unique_username("bob", ISSUER, "victim2")
    await sign_in(wished, "squatter")
    await sign_in("bob", "s9")
    late = (await sign_in("bob", "victim2")).username
    assert late not in (wished, "bob", second)
    assert is_username(late)


async def test_two_logins_of_one_new_identity_at_once_make_one_person(
    database_url: str, clock: HeldClock
) -> None:
    process = Process(Settings(), create_engine(database_url), hub=HubAPI("", ""), clock=clock)

    async def login(subject: str) -> str:
        async with process.factory() as factory:
            record = LoginRecord(
                issuer=ISSUER,
                subject=subject,
                candidate="ada",
                memberships=claims(A="member", B="pi"),
                at=clock.now(),
            )
            return (await factory.logins().record(record)).username

    names = await asyncio.gather(*(login("s1") for _ in range(8)), *(login("s2") for _ in range(4)))
    assert len(set(names[:8])) == 1
    assert len(set(names[8:])) == 1
    assert names[0] != names[8]
    async with process.factory() as factory:
        assert await factory.people().count() == 2
        assert len((await factory.groups().group("a")).members) == 2
    await process.close()


async def test_what_the_provider_no_longer_says_is_closed_with_its_history(
    sign_in: SignIn, factory: Factory, clock: HeldClock
) -> None:
    began = clock.now()
    person = await sign_in("ada", memberships=claims(LSST="pi", ZTF="member"))
    assert {(m.group, m.role, m.source) for m in person.groups} == {
        ("lsst", Role.PI, Source.PROVIDER),
        ("ztf", Role.MEMBER, Source.PROVIDER),
    }
    clock.advance(timedelta(hours=1))
    person = await sign_in("ada", memberships=claims(LSST="member"), refresh=True)
    assert [(m.group, m.role) for m in person.groups] == [("lsst", Role.MEMBER)]
    history = await factory.groups().history(ADMIN, "lsst")
    assert [(r.role, r.valid_from, r.valid_to) for r in history] == [
        (Role.MEMBER, clock.now(), None),
        (Role.PI, began, clock.now()),
    ]
    assert [r.valid_to for r in await factory.groups().history(ADMIN, "ztf")] == [clock.now()]
    assert await factory.groups().left({"ada"}) == {("ada", "ztf")}
    assert await factory.groups().left({"eve"}) == set()


async def test_a_login_repeated_changes_nothing(
    sign_in: SignIn, factory: Factory, clock: HeldClock
) -> None:
    await sign_in("ada", memberships=claims(LSST="member"), affiliations=["member@ed.ac.uk"])
    before = await factory.groups().history(ADMIN, "lsst")
    clock.advance(timedelta(minutes=5))
    await sign_in("ada", memberships=claims(LSST="member"), affiliations=["member@ed.ac.uk"])
    assert await factory.groups().history(ADMIN, "lsst") == before


async def test_claims_that_arrive_late_change_nothing(
    sign_in: SignIn, factory: Factory, clock: HeldClock
) -> None:
    old = clock.now()
    clock.advance(timedelta(hours=2))
    await sign_in("ada", full_name="New Name", memberships=claims(ZTF="member"))
    person = await sign_in("ada", full_name="Old", memberships=claims(LSST="pi"), at=old)
    assert person.full_name == "New Name"
    assert [m.group for m in person.groups] == ["ztf"]


async def test_a_hub_whose_clock_is_ahead_does_not_block_later_claims(
    sign_in: SignIn, clock: HeldClock
) -> None:
    await sign_in("ada", memberships=claims(ZTF="member"), at=clock.now() + timedelta(days=400))
    clock.advance(timedelta(minutes=1))
    person = await sign_in("ada", memberships=claims(LSST="member"))
    assert [m.group for m in person.groups] == ["lsst"]


async def test_of_two_sources_the_stronger_role_counts(
    sign_in: SignIn, factory: Factory, admin: Principal
) -> None:
    await sign_in("ada", memberships=claims(LSST="manager"))
    await factory.groups().put_member(admin, "lsst", "ada", Role.MEMBER)
    (found,) = await factory.groups().memberships_of("ada")
    assert (found.role, found.source) == (Role.MANAGER, Source.PROVIDER)
    person = await sign_in("ada", memberships=[])
    assert [(m.role, m.source) for m in person.groups] == [(Role.MEMBER, Source.LOCAL)]
    assert await factory.groups().left({"ada"}) == set()


async def test_the_same_group_claimed_twice_counts_with_its_stronger_role(sign_in: SignIn) -> None:
    both = [*claims(LSST="member"), *claims(LSST="pi")]
    assert [m.role for m in (await sign_in("ada", memberships=both)).groups] == [Role.PI]


async def test_a_group_of_the_provider_never_takes_over_a_local_one(
    sign_in: SignIn, factory: Factory, admin: Principal
) -> None:
    await factory.groups().create(admin, "operators", "Local operators")
    person = await sign_in("eve", memberships=claims(operators="pi"))
    (membership,) = person.groups
    assert membership.group != "operators"
    assert (await factory.groups().group("operators")).members == []


async def test_names_that_differ_in_what_a_slug_cannot_say_are_two_groups(
    sign_in: SignIn,
) -> None:
    named = [ClaimedMembership(provider_name=name) for name in ("a b", "a:b", "A/B")]
    person = await sign_in("ada", memberships=named)
    assert len({m.group for m in person.groups}) == 3


async def test_affiliations_remember_who_said_so_and_when(
    sign_in: SignIn, factory: Factory, clock: HeldClock
) -> None:
    began = clock.now()
    await sign_in("ada", affiliations=["member@ed.ac.uk", "staff@ed.ac.uk"])
    clock.advance(timedelta(days=10))
    await sign_in("ada", affiliations=["member@ed.ac.uk"])
    clock.advance(timedelta(days=85))
    known = {a.value: a for a in (await factory.people().person("ada")).affiliations}
    member, staff = known["member@ed.ac.uk"], known["staff@ed.ac.uk"]
    assert (member.asserted_by, member.first_asserted_at) == (ISSUER, began)
    assert member.last_asserted_at == began + timedelta(days=10)
    assert (member.current, member.stale) == (True, False)
    assert (staff.current, staff.stale) == (False, True)
    await sign_in("ada", affiliations=["staff@ed.ac.uk"])
    known = {a.value: a for a in (await factory.people().person("ada")).affiliations}
    assert known["staff@ed.ac.uk"].current
    assert known["staff@ed.ac.uk"].first_asserted_at == began
    assert not known["member@ed.ac.uk"].current


async def test_a_disabled_person_is_refused_and_it_is_kept(
    sign_in: SignIn, factory: Factory, admin: Principal
) -> None:
    await sign_in("ada")
    await factory.people().disable(admin, "ada", "left the survey")
    with pytest.raises(AccountDisabled):
        await sign_in("ada")
    assert factory.audit().take_refusals()[0]["details"] == {"code": "account-disabled"}
    with pytest.raises(AccountDisabled):
        await sign_in("ada", refresh=True)
    assert factory.audit().take_refusals() == []


async def test_nobody_makes_a_local_account_by_logging_in(sign_in: SignIn) -> None:
    with pytest.raises(IdentityConflict):
        await sign_in("ada", issuer="local", subject="ada")


async def test_administrators_come_and_go_with_the_claim(sign_in: SignIn, factory: Factory) -> None:
    await sign_in("ada", administrator=True)
    assert (await factory.people().principal("ada")).is_administrator
    await sign_in("ada", administrator=False, refresh=True)
    assert not (await factory.people().principal("ada")).is_administrator


HOSTILE = [
    "O'Brien \"; drop table person;--",
    "<script>alert(1)</script>",
    "line\r\nbreak\x00nul",
    "x" * 500,
    "\u202egnp.exe",
    "\ud83d\ude00 \u5f20\u4f1f \u0410\u043d\u043d\u0430",
]


@pytest.mark.parametrize("text", HOSTILE)
async def test_hostile_claims_are_taken_as_text(
    sign_in: SignIn, factory: Factory, text: str
) -> None:
    text = text.encode("utf-16", "surrogatepass").decode("utf-16")
    person = await sign_in(
        "ada",
        full_name=text,
        email=text,
        affiliations=[text, text + "2"],
        memberships=[ClaimedMembership(provider_name=text)],
    )
    assert is_username(person.username)
    assert "\x00" not in person.full_name
    assert "\n" not in person.full_name
    assert len(person.groups) == 1
    assert (await factory.people().person("ada")).full_name == person.full_name


async def test_a_claim_of_10_kilobytes_is_cut(sign_in: SignIn) -> None:
    person = await sign_in("ada", affiliations=["y" * 10_000])
    assert [len(value) for value in person.affiliations] == [250]


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(data=st.data())
def test_no_claim_breaks_a_login(data: Any) -> None:
    from dachub.directory.services.text import clean

    text = data.draw(st.text(max_size=800))
    cleaned = clean(text, 100)
    assert len(cleaned) <= 100
    assert clean(cleaned, 100) == cleaned
    cleaned.encode()
    assert "\x00" not in cleaned
    assert cleaned == cleaned.strip()


async def test_refusals_of_the_hub_are_in_the_audit_log(
    factory: Factory, clock: HeldClock, admin: Principal
) -> None:
    await factory.logins().refuse(
        RefusalRecord(
            claimed_name="eve\x00<b>", issuer=ISSUER, code="required-group", at=clock.now()
        )
    )
    (entry,) = await factory.audit().list(admin, action="login-refused")
    assert entry.username == "eve<b>"
    assert entry.details["code"] == "required-group"
    assert entry.actor == "hub"


async def test_the_longest_identity_and_affiliations_can_be_kept(
    sign_in: SignIn, factory: Factory
) -> None:
    """Four bytes a character and nothing to compress: what an index must still be able to hold."""

    def long(length: int, seed: int) -> str:
        return "".join(chr(0x20000 + (seed + number * 7919) % 40000) for number in range(length))

    person = await sign_in(
        "ada", long(255, 1), issuer=long(400, 2), affiliations=[long(500, 3), long(500, 4)]
    )
    kept = await factory.people().person(person.username)
    assert len(kept.affiliations) == 2
    assert (await sign_in("ada", long(255, 1), issuer=long(400, 2))).username == "ada"
