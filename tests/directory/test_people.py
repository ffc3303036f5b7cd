"""People and local accounts: disabling, passwords, who sees whom."""

from __future__ import annotations

from datetime import timedelta

import pytest
from tests.directory.conftest import SignIn

from dachub.directory.models import AccountDisabled, Principal, WeakPassword, WrongPassword
from dachub.infra.clock import HeldClock
from dachub.model.problems import Conflict, InvalidInput, NotFound, PermissionDenied
from dachub.server.factory import Factory

PASSWORD = "correct horse battery"


async def test_people_see_themselves_and_administrators_everybody(
    factory: Factory, sign_in: SignIn, admin: Principal
) -> None:
    await sign_in("ada", full_name="Ada Lovelace", affiliations=["member@ed.ac.uk"])
    await sign_in("eve", email="eve_x@site.example")
    eve = await factory.people().principal("eve")
    assert (await factory.people().show(eve, "eve")).username == "eve"
    for username in ("ada", "no-such-person"):
        with pytest.raises(PermissionDenied):
            await factory.people().show(eve, username)
    with pytest.raises(PermissionDenied):
        await factory.people().list(eve)
    assert [p.username for p in await factory.people().list(admin)] == ["ada", "eve"]
    assert [p.username for p in await factory.people().list(admin, after="ada")] == ["eve"]

    async def found(search: str) -> list[str]:
        return [p.username for p in await factory.people().list(admin, search=search)]

    assert await found("LOVELACE") == ["ada"]
    assert await found("ed.ac") == ["ada"]
    assert await found("e_x") == ["eve"]
    assert await found("%") == []


async def test_a_disabled_person_cannot_act_until_enabled(
    factory: Factory, sign_in: SignIn, admin: Principal, clock: HeldClock
) -> None:
    await sign_in("ada")
    person = await factory.people().disable(admin, "ada", "left.")
    assert (person.disabled_at, person.disabled_reason) == (clock.now(), "left")
    with pytest.raises(AccountDisabled, match="left"):
        await factory.people().principal("ada")
    (left,) = await factory.people().left_behind()
    await factory.people().enforced(left)
    assert await factory.people().left_behind() == []
    assert await factory.people().disabled() == {"ada"}
    await factory.people().enable(admin, "ada")
    assert (await factory.people().principal("ada")).name == "ada"
    entries = await factory.audit().list(admin, username="ada")
    assert [e.action for e in entries][:2] == ["user-enabled", "user-disabled"]


async def test_disabled_again_is_enforced_again(
    factory: Factory, sign_in: SignIn, admin: Principal, clock: HeldClock
) -> None:
    await sign_in("ada")
    await factory.people().disable(admin, "ada", "one")
    (first,) = await factory.people().left_behind()
    await factory.people().enable(admin, "ada")
    clock.advance(timedelta(minutes=1))
    await factory.people().disable(admin, "ada", "two")
    await factory.people().enforced(first)  # the word of a worker that was slow
    assert len(await factory.people().left_behind()) == 1


async def test_nobody_disables_without_right_reason_or_themselves(
    factory: Factory, sign_in: SignIn, admin: Principal
) -> None:
    await sign_in("ada", administrator=True)
    await sign_in("eve")
    ada, eve = await factory.people().principal("ada"), await factory.people().principal("eve")
    with pytest.raises(PermissionDenied):
        await factory.people().disable(eve, "ada", "because")
    with pytest.raises(InvalidInput):
        await factory.people().disable(ada, "eve", " \n ")
    with pytest.raises(Conflict):
        await factory.people().disable(ada, "ada", "mistake")
    with pytest.raises(NotFound):
        await factory.people().disable(admin, "nobody-here", "x")


async def test_a_local_account_is_hashed_and_the_hub_gets_it(
    factory: Factory, admin: Principal
) -> None:
    accounts = factory.accounts()
    await accounts.add(admin, "ada", full_name="Ada", password=PASSWORD, administrator=True)
    listed = await accounts.list_for_hub()
    assert [a.username for a in listed] == ["ada"]
    assert listed[0].password_hash.startswith("$argon2id$")
    assert listed[0].administrator
    assert PASSWORD not in repr(listed)
    assert listed[0].password_hash not in repr(listed)
    etag = accounts.etag(listed)
    await accounts.set_password(admin, "ada", "another horse battery")
    assert accounts.etag(await accounts.list_for_hub()) != etag
    etag = accounts.etag(await accounts.list_for_hub())
    await factory.people().disable(admin, "ada", "x")
    assert accounts.etag(await accounts.list_for_hub()) != etag


async def test_a_person_changes_their_password_knowing_the_current_one(
    factory: Factory, admin: Principal
) -> None:
    await factory.accounts().add(admin, "ada", password=PASSWORD)
    ada = await factory.people().principal("ada")
    with pytest.raises(WrongPassword):
        await factory.accounts().change_own_password(ada, "wrong", "quite another one")
    await factory.accounts().change_own_password(ada, PASSWORD, "quite another one")
    with pytest.raises(WrongPassword):
        await factory.accounts().change_own_password(ada, PASSWORD, "yet another one")
    log = [(e.action, e.details) for e in await factory.audit().list(admin, username="ada")]
    assert log[0] == ("password-changed", {})
    assert PASSWORD not in repr(log)


@pytest.mark.parametrize(
    "password", ["", "short", "aaaaaaaaaaaaaa", "ada-rules-1", "x" * 1001, "\ud800" + "abcdefghijk"]
)
async def test_weak_passwords_are_refused(
    factory: Factory, admin: Principal, password: str
) -> None:
    with pytest.raises(WeakPassword) as error:
        await factory.accounts().add(admin, "ada", password=password)
    assert not password or password not in error.value.message
    assert await factory.people().count() == 0


async def test_a_name_that_is_bound_is_not_given_to_a_local_account(
    factory: Factory, sign_in: SignIn, admin: Principal
) -> None:
    await sign_in("ada")
    with pytest.raises(Conflict, match="taken"):
        await factory.accounts().add(admin, "ada", password=PASSWORD)
    for name in ("root", "Ada", "a b", "-x", "x" * 33, "a\n"):
        with pytest.raises(InvalidInput):
            await factory.accounts().add(admin, name, password=PASSWORD)
    ada = await factory.people().principal("ada")
    with pytest.raises(NotFound, match="identity provider"):
        await factory.accounts().change_own_password(ada, "x", PASSWORD)
    with pytest.raises(NotFound):
        await factory.accounts().set_password(admin, "ada", PASSWORD)
    with pytest.raises(PermissionDenied):
        await factory.accounts().add(ada, "bob", password=PASSWORD)


async def test_a_local_login_leaves_what_the_directory_knows(
    factory: Factory, sign_in: SignIn, admin: Principal
) -> None:
    await factory.accounts().add(
        admin, "ada", full_name="Ada", password=PASSWORD, administrator=True
    )
    person = await sign_in("ada", "ada", issuer="local", username="ada")
    assert (person.full_name, person.administrator) == ("Ada", True)
    assert (await factory.people().person("ada")).last_login_at is not None
