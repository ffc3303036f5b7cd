"""The main scenario with an OpenID provider: its groups are ours."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect
from tests.harness import openid
from tests.harness.browser import NARROW, WIDE, Visit, overflows, screenshot
from tests.harness.platform import Platform
from tests.harness.visitor import Visitor

pytestmark = [pytest.mark.browser, pytest.mark.hub]

SUBJECT = "f00ba5@example.org"


@pytest.fixture(scope="module")
def provider() -> Iterator[openid.Provider]:
    with openid.openid_provider() as running:
        yield running


@pytest.fixture(scope="module")
def platform(provider: openid.Provider) -> Iterator[Platform]:
    settings = {
        "login": {
            "openid": {
                "preset": "egi-check-in",
                "issuer": provider.issuer,
                "client_id": openid.CLIENT_ID,
                "title": "Test Check-in",
                "required_groups": {"any_of": ["survey"]},
            }
        }
    }
    secret = {"DACHUB_OIDC_CLIENT_SECRET": openid.CLIENT_SECRET}
    with Platform(settings, environment=secret) as running:
        yield running


def sign_in_at_the_provider(page: Page, subject: str) -> None:
    page.get_by_role("link", name="Sign in with Test Check-in").click()
    page.wait_for_url("**/oauth2/authorize**")
    page.locator("input[name=sub]").fill(subject)
    page.get_by_role("button", name="Authorize").click()


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_person_of_the_provider_chooses_among_their_groups(
    provider: openid.Provider, platform: Platform, visit: Visit, width: int
) -> None:
    provider.put_person(
        SUBJECT,
        name="Grace O'Hopper <script>",
        email="grace@example.org",
        preferred_username="grace",
        eduperson_scoped_affiliation=["member@example.org"],
        entitlements=[
            openid.entitlement("survey"),
            openid.entitlement("survey", role="pi"),
            openid.entitlement("survey:transients"),
        ],
    )
    page = visit(platform.url, width=width)
    screenshot(page, "openid-login")
    assert not overflows(page)
    sign_in_at_the_provider(page, SUBJECT)
    page.wait_for_url(f"{platform.url}/hub/**")

    page.goto(f"{platform.url}/hub/spawn")
    expect(page.get_by_role("radio", name="survey")).to_have_count(2)  # survey and its subgroup
    screenshot(page, "openid-start")
    assert not overflows(page)
    page.goto(f"{platform.url}/services/dac/")
    main = page.locator("main")
    expect(main).to_contain_text("Grace O'Hopper <script>")
    expect(main).to_contain_text("member@example.org")
    screenshot(page, "openid-my-usage")
    assert not overflows(page)

    [person] = [one for one in platform.json("user", "list") if one["username"] == "grace"]
    assert {each["group"]: each["role"] for each in person["groups"]}["survey"] == "pi"


def test_somebody_outside_the_required_groups_learns_why(
    provider: openid.Provider, platform: Platform, visit: Visit
) -> None:
    provider.put_person("stranger@example.org", name="Stranger", entitlements=[])
    page = visit(platform.url)
    sign_in_at_the_provider(page, "stranger@example.org")
    page.wait_for_url(f"{platform.url}/hub/**")
    screenshot(page, "openid-refused")
    text = page.locator("body").inner_text()
    assert "survey" in text
    assert "your administrator" in text  # whom to ask
    assert "stranger" not in {one["username"] for one in platform.json("user", "list")}


def test_local_accounts_still_work_beside_it(platform: Platform) -> None:
    with Visitor(platform.url, platform.admin_name(), platform.admin_password()) as admin:
        admin.login()
        assert admin.is_logged_in()
