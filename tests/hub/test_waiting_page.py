"""The page of a server that starts, in a real browser: what it says while one waits, and after."""

from __future__ import annotations

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.harness.browser import NARROW, WIDE, Visit, browser, overflows, screenshot, visit
from tests.harness.fake_service import FakeService
from tests.hub.running import RunningHub

from dachub.model.queue import Place, WaitsFor

__all__ = ["browser", "visit"]

pytestmark = [pytest.mark.browser, pytest.mark.hub]
BACK_SECONDS = 30
"""The browser and the page ask again after some seconds each."""
WAIT = (
    "You are number {} of 23 in the queue: this platform runs 32 cores at once. Your server starts "
    "by itself when it is your turn."
)


def place(number: int) -> Place:
    return Place(number=number, waiting=23, waits_for=WaitsFor.SITE, message=WAIT.format(number))


def signed_in(hub: RunningHub, visit: Visit, width: int) -> Page:
    page = visit(f"{hub.url}/hub/login", width=width)
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("ada-password")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda address: "/hub/login" not in address)
    return page


def ask_for_a_server(hub: RunningHub, **choice: str) -> None:
    ada = hub.browser()
    ada.sign_in("ada")
    asked = {"group": "virgo", "size": "tiny"} | choice
    answer = ada.api("POST", "/users/ada/server", asked)
    assert answer.status_code < 500, answer.text


def check(page: Page, name: str) -> None:
    screenshot(page, name)
    assert not overflows(page)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def test_ones_place_in_the_queue_is_told_and_the_start_leads_on_or_is_given_up(
    hub: RunningHub, service: FakeService, visit: Visit
) -> None:
    service.waiting["ada"] = place(17)
    ask_for_a_server(hub)
    wide, narrow = (signed_in(hub, visit, width) for width in (WIDE, NARROW))
    for page in (wide, narrow):
        page.goto(f"{hub.url}/hub/spawn-pending/ada")
        expect(page.get_by_role("status")).to_contain_text("You are number 17 of 23")
    service.waiting["ada"] = place(16)
    for page in (wide, narrow):
        expect(page.get_by_role("status")).to_contain_text("You are number 16 of 23")
        page.get_by_text("What happened so far").click()
        lines = page.get_by_role("listitem").filter(has_text="in the queue")
        expect(lines).to_have_count(1)  # what goes on is one line
        check(page, "hub-queue")
    wide.get_by_role("button", name="Do not start it").click()
    wide.wait_for_url("**/hub/home")
    expect(narrow.get_by_role("heading", name="is not running")).to_be_visible()
    check(narrow, "hub-given-up-elsewhere")


@pytest.mark.parametrize("width", [WIDE, NARROW])
def test_a_start_that_fails_says_why_and_leads_to_another_choice(
    hub: RunningHub, service: FakeService, visit: Visit, width: int
) -> None:
    service.waiting["ada"] = place(2)
    ask_for_a_server(hub)
    page = signed_in(hub, visit, width)
    page.goto(f"{hub.url}/hub/spawn-pending/ada")
    expect(page.get_by_role("status")).to_contain_text("You are number 2 of 23")
    service.disabled.add("ada")
    del service.waiting["ada"]
    expect(page.get_by_role("heading", name="did not start")).to_be_visible()
    expect(page.get_by_role("alert")).to_have_text("You are disabled.")
    check(page, "hub-did-not-start")
    service.disabled.clear()
    page.get_by_role("link", name="Choose again").click()
    expect(page.get_by_role("heading", name="Start a server")).to_be_visible()


def test_a_hub_that_was_away_meanwhile_is_asked_again_by_the_page_itself(
    hub: RunningHub, service: FakeService, visit: Visit
) -> None:
    service.waiting["ada"] = place(2)
    ask_for_a_server(hub)
    page = signed_in(hub, visit, WIDE)
    page.goto(f"{hub.url}/hub/spawn-pending/ada")
    expect(page.get_by_role("status")).to_contain_text("You are number 2 of 23")
    hub.kill()
    hub.start()
    heading = page.get_by_role("heading", name="is not running")
    expect(heading).to_be_visible(timeout=BACK_SECONDS * 1000)
