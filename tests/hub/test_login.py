"""Logging in, with a real hub and a real OpenID provider; and without one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import argon2
import pytest
from tests.harness.fake_service import FakeService
from tests.harness.openid import CLIENT_ID, Provider, entitlement, openid_provider
from tests.harness.waiting import until
from tests.hub.running import TOKEN, RunningHub, free_port

from dachub.hub.outbox import Outbox
from dachub.hub.people import Passwords
from dachub.hub.service import Service
from dachub.hub.settings import EntryRule, LoginSettings, OpenIDSettings
from dachub.model.names import unique_username

pytestmark = pytest.mark.hub


@pytest.fixture(scope="module")
def provider() -> Iterator[Provider]:
    with openid_provider() as running:
        yield running


def openid(issuer: str, **more: Any) -> LoginSettings:
    return LoginSettings(
        refresh_seconds=30,
        openid=OpenIDSettings(
            preset="egi-check-in",
            issuer=issuer,
            scopes=("openid", "profile", "email"),
            request_timeout_seconds=3,
            **{"client_id": CLIENT_ID, **more},
        ),
    )


def restart(hub: RunningHub) -> None:
    hub.stop()
    hub.start()


def test_the_way_through_the_provider(
    start_hub: Callable[..., RunningHub], service: FakeService, provider: Provider
) -> None:
    provider.put_person(
        "12345@egi.eu",
        preferred_username="Grace.Hopper",
        name='Grace "Amazing" Hopper',
        email="grace@example.org",
        eduperson_scoped_affiliation=["member@example.org"],
        entitlements=[entitlement("DAC"), entitlement("DAC:virgo", "pi")],
    )
    provider.put_person("77777@egi.eu", preferred_username="mallory", entitlements=[])
    provider.put_person(
        "6666@egi.eu", preferred_username="grace-hopper", entitlements=[entitlement("DAC")]
    )
    hub = start_hub(login=openid(provider.issuer, required_groups=EntryRule(any_of=("DAC",))))
    service.people.clear()

    grace = hub.browser()
    page = grace.client.get("/hub/login")
    assert "Sign in with EGI Check-in" in page.text
    assert "or with a local account" in page.text
    assert grace.sign_in_with_provider("12345@egi.eu").status_code == 200
    (record,) = service.logins
    assert record.issuer == provider.issuer
    assert record.subject == "12345@egi.eu"
    assert record.candidate == "grace-hopper"
    assert record.affiliations == ["member@example.org"]
    assert {one.provider_name: one.role for one in record.memberships} == {
        "DAC": "member",
        "DAC:virgo": "pi",
    }
    assert grace.api("GET", "/user").json()["name"] == "grace-hopper"

    # Somebody else arrives with the same name: another person here.
    other = hub.browser()
    assert other.sign_in_with_provider("6666@egi.eu").status_code == 200
    assert other.api("GET", "/user").json()["name"] != "grace-hopper"

    # In none of the groups that let people in.
    mallory = hub.browser()
    refused = mallory.sign_in_with_provider("77777@egi.eu")
    assert refused.status_code == 403
    assert "only open to members of" in refused.text
    assert "your administrator" in refused.text
    until(lambda: service.refusals, "the refusal is told")
    assert service.refusals[0].code == "entry-refused"

    # A local account beside the provider.
    ada = hub.browser()
    assert ada.sign_in("ada").status_code == 200
    assert ada.api("GET", "/user").json()["name"] == "ada"

    # The service is down: known people keep their names, newcomers get one nobody else can have.
    provider.put_person("888@egi.eu", preferred_username="ada", entitlements=[entitlement("DAC")])
    service.down = True
    again = hub.browser()
    assert again.sign_in_with_provider("12345@egi.eu").status_code == 200
    assert again.api("GET", "/user").json()["name"] == "grace-hopper"
    newcomer = hub.browser()
    assert newcomer.sign_in_with_provider("888@egi.eu").status_code == 200
    name = newcomer.api("GET", "/user").json()["name"]
    assert name == unique_username("ada", provider.issuer, "888@egi.eu")
    assert newcomer.spawn(group="dac", size="tiny").status_code == 200
    assert hub.browser().sign_in("ada").status_code == 200
    service.down = False
    until(lambda: any(one.subject == "888@egi.eu" for one in service.logins), "told later", 40)
    assert service.people[provider.issuer, "888@egi.eu"].username == name

    # Leaving a group at the provider is known within the refresh time, page open or not.
    provider.put_person(
        "888@egi.eu", preferred_username="ada", entitlements=[entitlement("DAC:other")]
    )
    until(
        lambda: [
            one
            for one in service.logins
            if one.refresh and [group.provider_name for group in one.memberships] == ["DAC:other"]
        ],
        "the refresh told of the groups",
        60,
    )
    assert all("secret-of-the-test" not in str(line) for line in hub.json_log())


def test_what_the_provider_says_later_ends_a_login_or_does_not(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    with openid_provider() as provider:
        people = {}
        hub = start_hub(login=openid(provider.issuer))
        for name in ("grace", "henry", "ida"):
            provider.put_person(f"{name}@egi.eu", preferred_username=name)
            people[name] = hub.browser()
            assert people[name].sign_in_with_provider(f"{name}@egi.eu").status_code == 200
        provider.revoke("grace@egi.eu")
        service.disabled.add("ida")
        restart(hub)  # everybody is refreshed at their next request
        for name, reason in (
            ("grace", "The provider refuses the grant: invalid_grant"),
            ("ida", "Your account is disabled."),
        ):
            page = people[name].client.get("/hub/home")
            assert "Sign in with EGI Check-in" in page.text
            assert page.url.path == "/hub/login"
            assert f"{name} must log in again: {reason}" in hub.log()
        assert people["grace"].sign_in_with_provider("grace@egi.eu").status_code == 200
        refused = people["ida"].sign_in_with_provider("ida@egi.eu")
        assert refused.status_code == 403
        assert "Your account is disabled" in refused.text
        henry = people["henry"]
        assert henry.client.get("/hub/home").url.path == "/hub/home"

    # Now there is no provider any more; that ends nobody's login, and is said once a refresh.
    restart(hub)
    for _ in range(3):
        assert henry.client.get("/hub/home").url.path == "/hub/home"
    assert hub.log().count("Claims of henry stay as they were: The provider does not answer") == 1
    assert "Traceback" not in hub.log()


def test_a_client_secret_that_is_wrong_has_a_clear_page_and_log(
    start_hub: Callable[..., RunningHub], provider: Provider
) -> None:
    port = free_port()
    client_id = provider.register(f"http://127.0.0.1:{port}/hub/oauth_callback")
    hub = start_hub(login=openid(provider.issuer, client_id=client_id), port=port)
    page = hub.browser().sign_in_with_provider("999@egi.eu")
    assert page.status_code == 502
    assert "EGI Check-in does not accept this platform at the moment" in page.text
    assert "Running servers go on. Tell your administrator." in page.text
    assert "client secret" not in page.text
    log = until(
        lambda: next((one for one in hub.json_log() if one["log.level"] == "error"), None),
        "the refusal is logged",
    )
    assert "refuses our client: invalid_client" in log["message"]
    assert "Check login.openid.client_id and the client secret" in log["message"]


def test_a_provider_that_fails_has_a_clear_page_and_harms_no_server(
    start_hub: Callable[..., RunningHub], service: FakeService
) -> None:
    hub = start_hub(login=openid("http://127.0.0.1:9"))  # nobody listens there
    page = hub.browser().client.get("/hub/oauth_login")
    assert page.status_code == 503
    assert "does not answer as it should" in page.text
    assert "Tell" in page.text or "tell your administrator" in page.text
    assert "No login through EGI Check-in: The provider does not answer" in hub.log()
    ada = hub.browser()
    ada.sign_in("ada")
    assert ada.spawn(group="virgo", size="tiny").status_code == 200
    back = hub.browser().client.get("/hub/oauth_callback?error=x&error_description=<b>evil</b>")
    assert back.status_code == 403
    assert "evil" not in back.text
    for bad in ("", "?code=x", "?code=x&state=y"):
        assert hub.browser().client.get(f"/hub/oauth_callback{bad}").status_code in {400, 403}


def test_local_accounts(hub: RunningHub, service: FakeService) -> None:
    wrong = hub.browser().sign_in("ada", "not it")
    assert wrong.status_code == 403
    assert "Invalid username or password" in wrong.text
    for name in ("nobody", "' OR 1=1 --", "<script>", "x" * 5000, "ada\0"):
        answer = hub.browser().sign_in(name, "y")
        assert answer.status_code == 403, name
        assert "<script>alert" not in answer.text
    assert hub.browser().sign_in("ada", "y" * 100_000).status_code == 403
    until(lambda: len(service.refusals) >= 7, "refusals are told")

    admin = hub.browser()
    assert admin.sign_in("root-like").status_code == 200
    assert admin.api("GET", "/user").json()["admin"] is True

    # Accounts are known while the service is down, hangs or not.
    service.hang = True
    assert hub.browser().sign_in("ada").status_code == 200
    service.hang = False

    service.disabled.add("bob")
    service.accounts = [
        one.model_copy(update={"disabled": one.username == "bob"}) for one in service.accounts
    ]
    refused = hub.browser().sign_in("bob")
    assert refused.status_code == 403
    assert "Your account is disabled" in refused.text

    for _ in range(12):
        answer = hub.browser().sign_in("eve", "guess")
    assert answer.status_code == 429
    assert "Too many attempts" in answer.text
    assert hub.browser().sign_in("eve").status_code == 429  # also with the right one
    assert hub.browser().sign_in("ada").status_code == 200


async def test_a_name_that_does_not_exist_costs_a_password_check_too(
    service: FakeService, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else the time of the answer would tell which names exist."""
    verified = []
    verify = argon2.PasswordHasher.verify

    def noted(self: argon2.PasswordHasher, password_hash: str, password: str) -> bool:
        verified.append(password_hash)
        return verify(self, password_hash, password)

    monkeypatch.setattr(argon2.PasswordHasher, "verify", noted)
    outbox, client = Outbox(tmp_path / "outbox.sqlite"), Service(service.url, TOKEN)
    try:
        passwords = Passwords(outbox, client, LoginSettings())
        assert await passwords.check("nobody", "wrong", "127.0.0.1") is None
        assert await passwords.check("ada", "wrong", "127.0.0.1") is None
        ada = await passwords.check("ada", "ada-password", "127.0.0.1")
        assert ada == service.accounts[0]
    finally:
        await client.close()
        await outbox.close()
    assert len(verified) == 3
    assert verified[1] == verified[2] == service.accounts[0].password_hash
    # Not a cheaper check either: with the parameters that passwords are stored with.
    assert argon2.extract_parameters(verified[0]) == argon2.PasswordHasher()._parameters


def test_the_form(hub: RunningHub, service: FakeService) -> None:
    from dachub.model.usage import GroupBalance, SizeForecast

    service.balances["coma"] = GroupBalance(
        group="coma",
        title="Coma <b>",
        used=3_600_000 * 40,
        allocated=3_600_000 * 100,
        left=3_600_000 * 60,
        forecasts=[
            SizeForecast(size="tiny", text="enough for 1.5 hours, until 13:30 UTC"),
            SizeForecast(size="large"),
        ],
    )
    service.balances["virgo"] = GroupBalance(
        group="virgo", title="Virgo", used=1, allocated=1, left=0, message="All spent. Ask ada."
    )
    service.notices.append("Your home is 95 % full. Delete <something>.")
    bob = hub.browser()
    bob.sign_in("bob")
    page = bob.client.get("/hub/spawn").text
    assert "Your home is 95 % full. Delete &lt;something&gt;." in page
    assert 'href="/services/dac/notices"' in page
    assert "40.0 of 100 core-hours used, 60.0 left" in page
    assert "enough for 1.5 hours, until 13:30 UTC" in page
    assert "Coma &lt;b&gt;" in page
    assert "All spent. Ask ada." in page
    assert "Only for coma" in page
    refused = bob.spawn(group="virgo", size="tiny", environment="astronomy")
    assert refused.status_code == 403
    assert "All spent. Ask ada." in refused.text

    service.down = True
    page = bob.client.get("/hub/spawn").text
    assert "not available at the moment" in page
    assert 'value="coma"' in page
    service.down = False

    eve = hub.browser()
    eve.sign_in("eve")
    page = eve.client.get("/hub/spawn").text
    assert "You belong to no group yet" in page
    assert 'type="submit">Start' not in page
    assert "/services/dac/" in page

    ada = hub.browser()
    ada.sign_in("ada")
    page = ada.client.get("/hub/spawn").text
    assert '<input type="hidden" name="group" value="virgo">' in page
