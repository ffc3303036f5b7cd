"""What runs on a page of somebody's server, under our host name, reads nothing with the cookie."""

from __future__ import annotations

import re

import httpx
import pytest
from tests.portal.conftest import HOST, Portal, csrf
from tests.portal.test_access import PAGES, RUNNING

BASE = "/services/dac"
SCRIPT = {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Site": "same-origin", "Sec-Fetch-Dest": "empty"}
READ_BY_PROGRAMS = (
    "/api/v1/me", "/api/v1/me/notices", "/api/v1/me/data", "/api/v1/users", "/api/v1/audit",
    "/api/v1/usage", "/api/v1/groups/lenses", "/api/v1/allocations", "/api/v1/sessions",
    "/api/v1/storage", "/api/v1/requests", "/metrics",
)  # fmt: skip
OURS = [path for path in PAGES if path != "/nothing-here"]
PLOTS = [path for path in PAGES if path.endswith(".json")]


def token(page: httpx.Response) -> str:
    """The token that scripts of a page find in it."""
    (found,) = re.findall(r'<meta name="csrf-token" content="([^"]+)">', page.text)
    return str(found)


@pytest.mark.parametrize("path", [*OURS, *READ_BY_PROGRAMS])
async def test_a_script_reads_neither_pages_nor_plots_files_or_the_rest_api(
    portal: Portal, path: str
) -> None:
    path = BASE + path.replace(RUNNING, str(portal.site.running["otto"]))
    async with portal.client("admin") as browser:
        for mode in ("cors", "no-cors", "same-origin"):
            answer = await browser.get(path, headers={**SCRIPT, "Sec-Fetch-Mode": mode})
            assert answer.status_code == 403, answer.text
            assert "csrf" not in answer.text
            assert "request-not-trusted" in answer.text
        opened = await browser.get(path, headers={"Sec-Fetch-Mode": "navigate"})
    assert opened.status_code in (200, 404)


@pytest.mark.parametrize("path", PLOTS)
async def test_a_pages_own_script_draws_its_plots(portal: Portal, path: str) -> None:
    async with portal.client("admin") as browser, portal.client("meg") as other:
        shown = token(await browser.get(f"{BASE}/"))
        plot = await browser.get(BASE + path, headers={**SCRIPT, "X-CSRF-Token": shown})
        assert plot.status_code == 200
        theirs = token(await other.get(f"{BASE}/"))
        refused = await browser.get(BASE + path, headers={**SCRIPT, "X-CSRF-Token": theirs})
    assert refused.status_code == 403


async def test_a_script_sends_no_form_without_a_token_of_its_page(portal: Portal) -> None:
    async with portal.client("pia") as browser:
        members = f"{BASE}/groups/lenses/members"
        filled = {"username": "loner", "csrf_token": csrf(await browser.get(members))}
        sent = await browser.post(members, data=filled, headers={**SCRIPT, "Origin": HOST})
    assert sent.status_code == 403
    assert "csrf_token" not in sent.text


async def test_programs_are_no_scripts_of_a_page(portal: Portal) -> None:
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(portal.app), base_url=HOST, headers=SCRIPT
    ) as program:
        answer = await program.get(
            f"{BASE}/api/v1/me", headers={"Authorization": "Bearer meg-token"}
        )
    assert answer.status_code == 200
