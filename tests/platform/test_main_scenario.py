"""A person signs in, chooses group and size, works in JupyterLab, stops, and sees what it cost."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.harness.browser import NARROW, WIDE, Visit, overflows, screenshot
from tests.harness.platform import Platform
from tests.harness.visitor import Visitor
from tests.harness.waiting import until

from dachub.server.portal.formats import core_time, hours

pytestmark = [pytest.mark.browser, pytest.mark.hub]

FIRST_STEPS = Path(__file__).parents[2] / "tutorials" / "first_steps.ipynb"
LAB_SECONDS = 90


def sign_in(page: Page, username: str, password: str) -> None:
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(password)
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda url: "/hub/login" not in url)


def choose_and_start(page: Page, url: str, size: str) -> None:
    page.goto(f"{url}/hub/spawn")
    page.get_by_label(size).check()
    screenshot(page, "start")
    page.get_by_role("button", name="Start").click()


def wait_for_lab(page: Page) -> None:
    page.wait_for_url("**/user/*/lab**", timeout=LAB_SECONDS * 1000)
    page.locator("#jp-main-dock-panel").wait_for(timeout=LAB_SECONDS * 1000)


def run_first_steps(page: Page, url: str, person: Visitor) -> None:
    """Open the tutorial in JupyterLab and run all its cells."""
    upload(person, "first_steps.ipynb", FIRST_STEPS.read_text())
    page.goto(f"{url}/user/{person.username}/lab/tree/first_steps.ipynb")
    wait_for_lab(page)
    cells = page.locator(".jp-Notebook .jp-CodeCell")
    cells.first.wait_for(timeout=LAB_SECONDS * 1000)
    # Idle it says before there is a kernel, too.
    expect(page.locator(".jp-Toolbar-kernelName")).to_contain_text("Python 3", timeout=60_000)
    page.locator(".jp-Notebook-ExecutionIndicator[data-status=idle]").wait_for(timeout=60_000)
    page.get_by_role("menuitem", name="Run", exact=True).click()
    page.get_by_role("menuitem", name="Run All Cells", exact=True).click()
    expect(page.locator(".jp-Notebook .jp-OutputArea img")).to_have_count(1, timeout=90_000)


def share_with_group(platform: Platform, person: Visitor) -> None:
    """Save a file through JupyterLab's file browser in the folder of the group."""
    link = platform.data / "group-links" / person.username / "trial"
    until(link.exists, "the group's folder is there")
    upload(person, "groups/trial/first_steps.ipynb", FIRST_STEPS.read_text())
    assert (platform.data / "groups/trial/first_steps.ipynb").exists()


def upload(person: Visitor, name: str, text: str) -> None:
    answer = httpx.put(
        f"{person.url}/user/{person.username}/api/contents/{name}",
        headers={"Authorization": f"token {person.token()}"},
        json={"type": "notebook", "format": "json", "content": json.loads(text)},
        trust_env=False,
        timeout=30,
    )
    assert answer.status_code in {200, 201}, answer.text


def ended_sessions(platform: Platform, username: str) -> list[dict[str, Any]]:
    return [
        session
        for session in platform.sessions()
        if session["username"] == username and session["ended_at"] is not None
    ]


def exact_milli_core_seconds(sessions: list[dict[str, Any]]) -> int:
    """What the ledger's times come to, by our own arithmetic."""
    total = 0
    for session in sessions:
        if session["started_at"] is not None:
            start = datetime.fromisoformat(session["started_at"])
            end = datetime.fromisoformat(session["ended_at"])
            total += int((end - start).total_seconds()) * session["milli_cores"]
    return total


@pytest.mark.parametrize(("width", "size"), [(WIDE, "small"), (NARROW, "tiny")])
def test_from_login_to_the_hours_charged(
    platform: Platform, visit: Visit, width: int, size: str
) -> None:
    name = platform.admin_name()
    page = visit(platform.url, width=width)
    screenshot(page, "login")
    assert not overflows(page)
    sign_in(page, name, platform.admin_password())
    before = len(ended_sessions(platform, name))

    page.goto(f"{platform.url}/hub/spawn")
    assert not overflows(page)
    choose_and_start(page, platform.url, size.capitalize())
    wait_for_lab(page)
    if width == WIDE:
        page.locator(".jp-Launcher").first.wait_for()
    screenshot(page, "jupyterlab")
    with Visitor(platform.url, name, platform.admin_password()) as person:
        person.login()
        if width == WIDE:  # JupyterLab's own menus do not fit a telephone
            run_first_steps(page, platform.url, person)
            assert page.locator(".jp-OutputArea-output pre:has-text('Traceback')").count() == 0
            screenshot(page, "first-steps")
            assert page.locator(".Toastify__toast").count() == 0, "nobody is asked about news"
            page.get_by_role("menuitem", name="File", exact=True).click()
            expect(page.get_by_role("menuitem", name="Usage and Groups")).to_be_visible()
            page.keyboard.press("Escape")
            share_with_group(platform, person)
            assert page.get_by_text(f"Administrator ({name})").count() > 0
        [running] = [s for s in platform.sessions() if s["state"] == "running"]
        assert (running["username"], running["group"], running["size"]) == (name, "trial", size)

        page.goto(f"{platform.url}/hub/home")
        assert not overflows(page)
        screenshot(page, "home")
        page.get_by_role("button", name="Stop My Server").or_(
            page.get_by_role("link", name="Stop My Server")
        ).click()
        person.wait_until_stopped()

    until(
        lambda: len(ended_sessions(platform, name)) == before + 1, "the ledger closed the session"
    )
    ended = ended_sessions(platform, name)
    assert ended[0]["end_reason"] == "stopped"
    assert not ended[0]["end_is_estimate"]
    charged = exact_milli_core_seconds(ended)
    assert charged > 0
    assert charged == round(sum(s["core_seconds"] for s in ended) * 1000)

    page.goto(f"{platform.url}/services/dac/")
    expect(page.get_by_role("heading", name="My usage")).to_be_visible()
    page.locator("#plot-days canvas").first.wait_for()
    screenshot(page, "my-usage")
    assert not overflows(page)
    tiles = page.locator("dl.tiles").inner_text()
    assert core_time(charged) in tiles
    assert hours(charged) in tiles

    page.goto(f"{platform.url}/services/dac/groups/trial")
    screenshot(page, "group")
    assert core_time(charged) in page.locator("main").inner_text()
    assert not overflows(page)


def test_a_foreign_group_and_an_unknown_size_are_refused_with_a_message(
    platform: Platform, admin: Visitor
) -> None:
    platform.dachub("group", "add", "foreign", "--title", "Of others")
    for choice, reason in (
        ({"group": "foreign", "size": "small"}, "not a member of the group 'foreign'"),
        ({"group": "trial", "size": "gigantic"}, "size 'gigantic' is not available"),
        ({"group": "trial", "environment": "windows"}, "environment 'windows' is not available"),
        ({"group": "'; drop table session; --"}, "not a member"),
    ):
        answer = admin.start(**choice)
        assert 400 <= answer.status_code < 500, (choice, answer.status_code, answer.text)
        assert reason in answer.text, answer.text
        until(lambda: not admin.servers(), "no server is left half-started")
    assert not [s for s in platform.sessions() if s["state"] != "ended"]


def test_usage_for_a_program_is_what_the_portal_shows(platform: Platform, admin: Visitor) -> None:
    from dachub import DAC

    dac = DAC(platform.url, admin.token())
    assert dac.me.username == platform.admin_name()
    ended = ended_sessions(platform, platform.admin_name())
    usage = dac.usage(since=datetime.now(UTC).date().replace(day=1), by=["day", "group"])
    assert usage["milli_core_seconds"].sum() == exact_milli_core_seconds(ended)
