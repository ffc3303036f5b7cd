"""Logging in, with a real hub and a real OpenID provider; and without one."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.harness.fake_service import FakeService
from tests.harness.openid import CLIENT_ID, Provider, entitlement, openid_provider
from tests.harness.waiting import until
from tests.hub.running import RunningHub

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
            client_id=CLIENT_ID,
            scopes=("openid", "profile", "email"),
            request_timeout_seconds=3,
            **more,
        ),
    )


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

    # As slow for a name that does not exist.
    def seconds(name: str) -> float:
        began = time.perf_counter()
        hub.browser().sign_in(name, "wrong")
        return time.perf_counter() - began

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


def test_the_form(hub: RunningHub, service: FakeService) -> None:
    from dachub.model.usage import GroupBalance

    service.balances["coma"] = GroupBalance(
        group="coma",
        title="Coma <b>",
        used=3_600_000 * 40,
        allocated=3_600_000 * 100,
        left=3_600_000 * 60,
    )
    service.balances["virgo"] = GroupBalance(
        group="virgo", title="Virgo", used=1, allocated=1, left=0, message="All spent. Ask ada."
    )
    bob = hub.browser()
    bob.sign_in("bob")
    page = bob.client.get("/hub/spawn").text
    assert "40.0 of 100 core-hours used, 60.0 left" in page
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
