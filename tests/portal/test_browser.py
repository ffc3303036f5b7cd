"""Every page in a real Chromium, wide and narrow: what it looks like, axe-core, the console."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import uvicorn
from axe_playwright_python.async_playwright import Axe
from jupyterhub._data import DATA_FILES_PATH
from playwright.async_api import Browser, Page, async_playwright
from playwright.async_api import Route as Intercepted
from starlette.applications import Starlette
from starlette.responses import FileResponse, PlainTextResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from tests.harness.browser import HEIGHTS, NARROW, SCREENSHOTS, WIDE, chromium
from tests.portal.conftest import Portal

from dachub.server.auth import SESSION_COOKIE

pytestmark = pytest.mark.browser

DEADLINE_SECONDS = 30
BASE = "/services/dac"
PAGES = {
    "my-usage": ("meg", "/?period=this-year"),
    "my-usage-nothing": ("loner", "/"),
    "my-usage-wrong-period": ("meg", "/?period=custom&first=2027-03-02&last=2027-03-01"),
    "my-groups": ("meg", "/groups"),
    "my-groups-of-a-pi": ("paul", "/groups"),
    "my-storage": ("meg", "/storage"),
    "group-of-a-member": ("meg", "/groups/photoz"),
    "group-of-a-pi": ("pia", "/groups/lenses?period=this-quarter"),
    "group-for-an-administrator": ("admin", "/groups/transients?period=this-quarter"),
    "group-with-hostile-names": ("admin", "/groups/hostile?period=this-year"),
    "group-members": ("pia", "/groups/lenses/members?sort=-used"),
    "group-members-for-an-administrator": ("admin", "/groups/transients/members"),
    "group-sessions": ("pia", "/groups/lenses/sessions?period=this-quarter"),
    "group-allocations": ("meg", "/groups/lenses/allocations"),
    "group-allocations-for-an-administrator": ("admin", "/groups/transients/allocations"),
    "group-recurring": ("paul", "/groups/clusters/allocations"),
    "group-storage": ("pia", "/groups/lenses/storage?period=this-quarter"),
    "group-storage-with-hostile-names": ("admin", "/groups/hostile/storage"),
    "group-edit": ("pia", "/groups/lenses/edit"),
    "group-member": ("pia", "/groups/lenses/members/max"),
    "group-history": ("pia", "/groups/lenses/history"),
    "group-requests": ("pia", "/groups/lenses/requests"),
    "group-requests-of-a-member": ("meg", "/groups/lenses/requests"),
    "notices": ("meg", "/notices"),
    "notices-nothing": ("loner", "/notices"),
    "notices-older": ("ada", "/notices"),
    "remove-member": ("pia", "/groups/lenses/members/meg/remove"),
    "stop-server": ("pia", "/sessions/{running}/stop"),
    "session": ("pia", "/sessions/{running}"),
    "admin-report": ("admin", "/admin/report?quarter=2027Q1"),
    "admin-reports": ("admin", "/admin/reports"),
    "session-for-an-administrator": ("admin", "/sessions/{corrected}"),
    "password": ("meg", "/password"),
    "admin-overview": ("admin", "/admin"),
    "admin-usage": ("admin", "/admin/usage?period=this-quarter"),
    "admin-usage-by-person": ("admin", "/admin/usage?period=this-year&by=user&sort=name"),
    "admin-people": ("admin", "/admin/people"),
    "admin-person": ("admin", "/admin/people/meg?period=this-quarter"),
    "admin-storage": ("admin", "/admin/storage?area=home"),
    "admin-person-disabled": ("admin", "/admin/people/dmitri"),
    "admin-groups": ("admin", "/admin/groups"),
    "admin-requests": ("admin", "/admin/requests"),
    "admin-servers": ("admin", "/admin/servers"),
    "admin-audit": ("admin", "/admin/audit"),
    "error-403": ("meg", "/admin"),
    "error-404": ("meg", "/nothing-here"),
}


@dataclass
class Window:
    """Opens pages, and remembers what their consoles said."""

    browser: Browser
    portal: Portal
    origin: str

    async def open(self, name: str, path: str, width: int, **options: str) -> Page:
        context = await self.browser.new_context(
            viewport={"width": width, "height": HEIGHTS.get(width, 900)}, **options
        )
        context.set_default_timeout(DEADLINE_SECONDS * 1000)
        await context.add_cookies(
            [{"name": SESSION_COOKIE, "value": self.portal.cookie(name), "url": self.origin}]
        )
        page = await context.new_page()
        page.complaints = []
        page.on("console", lambda said: _note(page, said))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("dialog", lambda dialog: page.complaints.append(dialog.message))
        await page.goto(self.address(path))
        return page

    def address(self, path: str) -> str:
        running = str(self.portal.site.running["pia"])
        corrected = str(self.portal.site.corrected)
        path = path.replace("{running}", running).replace("{corrected}", corrected)
        return f"{self.origin}{BASE}{path}"


def _note(page: Page, said: object) -> None:
    # The status of the page itself is an "error" to Chromium's console.
    if said.type in {"error", "warning"} and page.url not in said.location.get("url", ""):
        page.complaints.append(f"{said.type}: {said.text} {said.location}")


def _beside_the_hub(portal: Portal) -> Starlette:
    share = Path(DATA_FILES_PATH)
    return Starlette(
        routes=[
            Route("/hub/logo", lambda _: FileResponse(share / "static/images/jupyterhub-80.png")),
            Route("/favicon.ico", lambda _: FileResponse(share / "static/favicon.ico")),
            Route("/hub/home", lambda _: PlainTextResponse("home")),
            Mount("/hub/static", StaticFiles(directory=share / "static")),
            Mount("/", portal.app),
        ]
    )


@asynccontextmanager
async def open_window(portal: Portal) -> AsyncIterator[Window]:
    """A browser before the application, which is served on loopback."""
    listener = socket.create_server(("127.0.0.1", 0))
    server = uvicorn.Server(
        uvicorn.Config(_beside_the_hub(portal), log_level="warning", lifespan="off")
    )
    serving = asyncio.create_task(server.serve([listener]))
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium(),
            args=[
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
            ],
        )
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        portal.process.public_origin = origin
        yield Window(browser, portal, origin)
        await browser.close()
    server.should_exit = True
    await serving


@pytest.fixture(scope="module")
async def window(portal: Portal) -> AsyncIterator[Window]:
    async with open_window(portal) as opened:
        yield opened


async def drawn(page: Page) -> None:
    """Wait until every plot of a page is there."""
    plots = page.locator("[data-plot]")
    for number in range(await plots.count()):
        await page.wait_for_function(
            "n => document.querySelectorAll('[data-plot]')[n].dataset.drawn", arg=number
        )
        assert await plots.nth(number).get_attribute("data-drawn") != "failed"
        assert await page.evaluate(
            "n => !!document.querySelectorAll('[data-plot]')[n].firstElementChild", number
        )


async def _photograph(page: Page, name: str, width: int) -> None:
    SCREENSHOTS.mkdir(exist_ok=True)
    await page.screenshot(path=SCREENSHOTS / f"portal-{name}-{width}.png", full_page=True)


async def _check(page: Page, name: str, width: int) -> None:
    await drawn(page)
    await _photograph(page, name, width)
    # Before axe-core, which loads the hub's style sheets once more, from a wrong address.
    assert not page.complaints, "\n".join(page.complaints)
    found = await Axe().run(page)
    serious = [
        (fault["id"], fault["impact"], [node["html"][:200] for node in fault["nodes"][:3]])
        for fault in found.response["violations"]
        if fault["impact"] in {"serious", "critical"}
    ]
    assert not serious, json.dumps(serious, indent=1)
    assert not await page.evaluate(
        "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    ), "wider than the window"
    if width == NARROW:
        assert not await page.evaluate(
            "[...document.querySelectorAll('main *')].filter(part => part.scrollWidth > "
            "part.clientWidth + 1 && ['auto', 'scroll'].includes(getComputedStyle(part).overflowX))"
            ".map(part => part.outerHTML.slice(0, 100))"
        ), "parts of the page are to be moved sideways"


@pytest.mark.parametrize("width", [WIDE, NARROW])
@pytest.mark.parametrize("name", PAGES)
async def test_pages_are_sound(window: Window, name: str, width: int) -> None:
    who, path = PAGES[name]
    page = await window.open(who, path, width)
    await _check(page, name, width)
    await page.context.close()


DARK = ["my-usage", "notices", "group-of-a-pi", "admin-usage", "admin-people"]


@pytest.mark.parametrize("name", DARK)
async def test_pages_are_sound_in_the_dark(window: Window, name: str) -> None:
    who, path = PAGES[name]
    page = await window.open(who, path, WIDE, color_scheme="dark")
    assert await page.get_attribute("html", "data-bs-theme") == "dark"
    await _check(page, f"{name}-dark", WIDE)
    await page.context.close()


async def test_pages_are_readable_while_the_hub_is_down(window: Window) -> None:
    for width in (WIDE, NARROW):
        page = await window.open("meg", "/?period=this-year", width)
        await page.route("**/hub/**", lambda route: route.abort())
        await page.reload()
        await drawn(page)
        page.complaints.clear()  # of what the hub did not send
        await _check(page, "my-usage-without-hub", width)
        await page.context.close()


async def test_pages_work_by_keyboard_alone(window: Window) -> None:
    page = await window.open("pia", "/", WIDE)
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.className") == "skip"
    await page.keyboard.press("Enter")
    assert await page.evaluate("document.activeElement.id") == "main"
    reached: list[str] = []
    for _ in range(40):
        await page.keyboard.press("Tab")
        reached.append(await page.evaluate("document.activeElement.textContent.trim()"))
    assert {"This month", "Show", "Stop…", "Change password"} <= set(reached)
    await page.context.close()


async def test_light_and_dark_are_kept_and_redraw_the_plots(window: Window) -> None:
    page = await window.open("meg", "/?period=this-year", WIDE)
    await drawn(page)
    await page.get_by_role("button", name="Toggle dark mode").click()
    await page.wait_for_selector("[data-plot][data-drawn=dark]")
    await page.reload()
    await page.wait_for_selector("[data-plot][data-drawn=dark]")
    assert await page.get_attribute("html", "data-bs-theme") == "dark"
    assert page.complaints == []
    await page.context.close()


async def test_a_plot_that_fails_says_so_and_the_table_stays(window: Window) -> None:
    page = await window.open("meg", "/?period=this-year", WIDE)
    await page.route("**/days.json*", lambda route: route.abort())
    await page.reload()
    await page.wait_for_selector("[data-plot][data-drawn=failed]")
    assert await page.get_by_text("The plot could not be loaded").is_visible()
    assert await page.get_by_role("table").count() >= 2
    await page.context.close()


async def test_a_server_is_stopped_from_the_page(window: Window) -> None:
    page = await window.open("otto", "/", NARROW)
    await page.get_by_role("link", name="Stop the server of otto").click()
    await page.get_by_role("heading", name="Stop this server?").wait_for()
    await page.get_by_role("button", name="Stop the server").click()
    await page.get_by_role("status").get_by_text("The server is being stopped").wait_for()
    await _photograph(page, "stopping", NARROW)
    session_id = window.portal.site.running["otto"]
    async with window.portal.process.factory() as factory:
        await factory.sessions().schedule_stop(session_id, None)
    assert page.complaints == []
    await page.context.close()


async def test_a_form_says_what_is_wrong_and_keeps_what_was_typed(window: Window) -> None:
    page = await window.open("pia", "/groups/lenses/members", NARROW)
    await page.get_by_label("Username").fill("nobody-knows")
    await page.get_by_role("button", name="Save").click()
    await page.get_by_role("alert").get_by_text("first sign-in").wait_for()
    assert await page.get_by_label("Username").input_value() == "nobody-knows"
    assert await page.evaluate("document.activeElement.id") == "member-problem"
    await drawn(page)
    await page.wait_for_function(
        "y => (y = document.activeElement.getBoundingClientRect().top, 0 <= y && y < innerHeight)"
    )
    await _photograph(page, "form-refused", NARROW)
    await page.context.close()


async def test_a_form_that_is_clicked_twice_is_sent_once(window: Window) -> None:
    page = await window.open("otto", "/groups/transients/requests", WIDE)
    await page.fill("[name=amount]", "5")
    await page.fill("[name=reason]", "twice")
    sent: list[str] = []

    async def answer_late(route: Intercepted) -> None:
        sent.append(route.request.method)
        await clicked.wait()
        await route.fulfill(status=200, content_type="text/html", body="<p id=done>done</p>")

    clicked = asyncio.Event()
    await page.route("**/groups/transients/requests", answer_late)
    await page.evaluate(
        "() => { const form = document.querySelector('form:has([name=amount])');"
        " form.requestSubmit(); form.requestSubmit(); setTimeout(() => form.requestSubmit(), 0); }"
    )
    clicked.set()
    await page.wait_for_selector("#done")
    assert sent == ["POST"]
    await page.context.close()
