"""The page of a rescue session in a real browser, on a file system filled to the last byte."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect
from tests.harness.browser import NARROW, WIDE, Visit, browser, overflows, screenshot, visit
from tests.harness.full_disk import fill, small_disk
from tests.hub.running import RunningHub
from tests.hub.test_rescue import RESCUE, disks, person

from dachub.hub.machine.accounts import ensure_account, ensure_home
from dachub.storage.services import FolderService
from dachub.storage.settings import StorageSettings

__all__ = ["browser", "disks", "person", "visit"]

pytestmark = [pytest.mark.browser, pytest.mark.hub, pytest.mark.root]
ENVIRONMENT = os.environ.get("DACHUB_USER_ENVIRONMENT") or str(
    Path(__file__).parents[2] / ".environments/astronomy/bin/python"
)
LAB_MS = 90_000
MIB = 1024**2


def sign_in(page: Page, url: str, username: str) -> None:
    page.goto(f"{url}/hub/login")
    page.get_by_label("Username").fill(username)
    page.get_by_label("Password").fill(f"{username}-password")
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(lambda address: "/hub/login" not in address)


def start(page: Page, address: str) -> None:
    page.goto(address)
    page.get_by_role("button", name="Start", exact=True).click()


def check(page: Page, name: str) -> None:
    screenshot(page, name)
    assert not overflows(page)
    found = Axe().run(page)
    assert found.violations_count == 0, found.generate_report()


def furnish(home: Path, username: str) -> Path:
    """A home as people have it, without room for one more byte."""
    owner = ensure_account(username, home)
    ensure_home(home, owner)
    for name, size_bytes in {
        ".cache/pip/wheel": 2 * MIB,
        ".local/share/Trash/files/old.fits": 3 * MIB,
        "photoz/training/colours.parquet": 4 * MIB,
        "photoz/training/magnitudes with <b>blanks</b> & 'quotes'.parquet": MIB,
        "notebooks/first.ipynb": 1000,
    }.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_bytes(bytes(size_bytes))
    (home / "photoz/elsewhere").symlink_to("/usr/share")
    for at in home.rglob("*"):
        os.chown(at, owner.pw_uid, owner.pw_gid, follow_symlinks=False)
    return fill(home)


def share(directory: Path, username: str) -> None:
    """A folder of the group with something of another member's in it."""
    settings = StorageSettings(groups=directory / "groups", group_links=directory / "group-links")
    following = FolderService(settings).follow({"virgo": [username]})
    with ThreadPoolExecutor() as elsewhere:  # the browser's loop runs in this thread
        elsewhere.submit(asyncio.run, following).result()
    (directory / "groups/virgo/shared.fits").write_bytes(bytes(MIB))
    (directory / "groups/virgo/shared.fits").chmod(0o660)


def test_a_person_makes_room_and_goes_on(
    person: str,
    start_hub: Callable[..., RunningHub],
    disks: ExitStack,
    visit: Visit,
) -> None:
    hub = start_hub(
        unix_accounts=True, rescue=RESCUE, interpreter=ENVIRONMENT,
        command=("-P", "-m", "jupyterhub.singleuser"),
    )  # fmt: skip
    disk = disks.enter_context(small_disk(hub.directory / "homes"))
    big = furnish(disk / person, person)
    share(hub.directory, person)
    page = visit(width=WIDE)
    complaints: list[str] = []
    page.on("console", lambda told: complaints.append(told.text) if told.type == "error" else None)
    sign_in(page, hub.url, person)

    # Who comes by a bookmark of JupyterLab is led to the page as well.
    start(page, f"{hub.url}/hub/spawn?next=%2Fuser%2F{person}%2Flab%2Ftree%2Fnotebooks")
    page.wait_for_url("**/dachub/rescue", timeout=LAB_MS)
    expect(page.get_by_text("Your home directory is full: 0 bytes")).to_be_visible()
    expect(page.locator("#progress")).to_be_empty()
    expect(page.get_by_role("row", name="survey/images.fits")).to_be_visible()
    expect(page.locator("#room")).to_have_text("There is not enough room yet.")
    expect(page.locator("#time-left")).to_have_text("in 60 minutes")
    check(page, "rescue")
    page.set_viewport_size({"width": NARROW, "height": 844})
    check(page, "rescue")
    page.get_by_role("button", name="Delete survey/images.fits").click()
    expect(page.get_by_role("dialog")).to_contain_text("The file survey/images.fits (30")
    check(page, "rescue-sure")
    page.get_by_role("button", name="Keep it").click()
    assert big.exists()

    page.get_by_role("button", name="Delete .local/share/Trash").first.click()
    page.get_by_role("button", name="Delete", exact=True).click()
    expect(page.get_by_text(".local/share/Trash is deleted.")).to_be_visible()
    expect(page.locator("#room")).to_contain_text("There is room on the file system.")
    assert not (disk / person / ".local/share/Trash").exists()
    page.set_viewport_size({"width": WIDE, "height": 900})
    check(page, "rescue-room")
    assert complaints == []
    forged = "fetch(document.body.dataset.here + '/remove', {method: 'POST', body: '{}'})"
    assert page.evaluate(f"{forged}.then((answer) => answer.status)") == 403
    of_group = page.get_by_role("region", name="The folder of virgo")
    expect(of_group.get_by_role("row", name="shared.fits")).to_be_visible()

    page.get_by_role("link", name="Open a terminal").click()
    page.locator(".jp-Terminal .xterm-screen").wait_for(timeout=LAB_MS)
    screenshot(page, "rescue-terminal")
    page.goto(f"{hub.url}/user/{person}/dachub/rescue")
    page.get_by_role("button", name="I have made room").click()
    page.wait_for_url("**/hub/home")
    start(page, f"{hub.url}/hub/spawn")
    page.wait_for_url("**/user/*/lab**", timeout=LAB_MS)
    page.locator("#jp-main-dock-panel").wait_for(timeout=LAB_MS)
    page.goto(f"{hub.url}/user/{person}/lab/tree/groups/virgo")
    expect(page.get_by_role("listitem", name="shared.fits")).to_be_visible(timeout=LAB_MS)
    screenshot(page, "group-folder")
