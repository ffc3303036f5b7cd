"""A real Chromium, wide and narrow, that saves what it saw.

Fixtures for a ``conftest.py``: ``from tests.harness.browser import browser, visit``. Chromium is
the system's, or what ``DACHUB_CHROMIUM`` names.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
WIDE, NARROW = 1280, 390
HEIGHTS = {WIDE: 900, NARROW: 844}
TIMEOUT_SECONDS = 30
NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")

Visit = Callable[..., Page]


def chromium() -> str | None:
    """Path of the Chromium to drive; ``None`` lets playwright take its own."""
    return os.environ.get("DACHUB_CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """One browser for a module; it has no way to any host but loopback."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(
            executable_path=chromium(),
            args=[
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
                "--disable-dev-shm-usage",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
            ],
        )
        yield running
        running.close()


@pytest.fixture
def visit(browser: Browser, request: pytest.FixtureRequest) -> Iterator[Visit]:
    """Open a page in a context of its own, ``visit(url, width=NARROW)``; photograph a failure."""
    with ExitStack() as stack:
        pages: list[Page] = []

        def open_page(url: str | None = None, width: int = WIDE) -> Page:
            context: BrowserContext = browser.new_context(
                viewport={"width": width, "height": HEIGHTS.get(width, 900)}
            )
            stack.callback(context.close)
            context.set_default_timeout(TIMEOUT_SECONDS * 1000)
            page = context.new_page()
            pages.append(page)
            if url is not None:
                page.goto(url)
            return page

        failed_before = request.session.testsfailed
        yield open_page
        if request.session.testsfailed > failed_before:
            for number, page in enumerate(pages):
                screenshot(page, f"failed-{request.node.name}-{number}")


def screenshot(page: Page, name: str) -> Path:
    """Save what the page shows under ``screenshots/``, named by its width too."""
    SCREENSHOTS.mkdir(exist_ok=True)
    width = (page.viewport_size or {"width": 0})["width"]
    path = SCREENSHOTS / f"{re.sub(r'[^a-z0-9-]+', '-', name.lower())}-{width}.png"
    page.screenshot(path=path, full_page=True)
    return path


def overflows(page: Page) -> bool:
    """Whether the page is wider than the window: on a telephone, a fault."""
    return bool(
        page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    )
