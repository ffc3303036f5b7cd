"""*Administration, Reports*: the funder's page, and what was exported."""

from __future__ import annotations

import httpx
from tests.portal.conftest import Portal
from tests.portal.seed import NOW, OPERATOR

from dachub.reports.services.page import hours
from dachub.reports.services.periods import quarter_of

BASE = "/services/dac/admin"


async def _get(portal: Portal, path: str) -> httpx.Response:
    async with portal.client("admin") as client:
        return await client.get(BASE + path)


async def test_the_page_offers_quarters_and_lists_exports(portal: Portal) -> None:
    page = await _get(portal, "/reports")
    assert page.status_code == 200
    assert 'href="/services/dac/admin/report?quarter=2027Q1"' in page.text
    assert 'href="/services/dac/admin/report?quarter=2025Q2"' in page.text
    assert "Nothing was exported yet." in page.text


async def test_the_report_says_what_the_portal_says(portal: Portal) -> None:
    this = quarter_of(NOW)
    async with portal.process.factory() as services:
        used = await services.usage().report(OPERATOR, since=this.since, until=this.until)
    page = await _get(portal, "/report?quarter=2027Q1")
    assert f"<dd>{hours(used.total.milli_core_seconds)}" in page.text
    assert "script-src 'self'" in page.headers["content-security-policy"]
    assert "<script" not in page.text
    last = await _get(portal, "/report")
    assert "Q4 2026" in last.text
    assert (await _get(portal, "/report?quarter=2027Q9")).status_code == 422
