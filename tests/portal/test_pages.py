"""What the pages say."""

from __future__ import annotations

import html
import re
from datetime import timedelta
from uuid import UUID

import httpx
import pytest
from tests.portal.conftest import Portal
from tests.portal.seed import HOSTILE, ISSUER, NOW

from dachub.server.portal.assets import BOKEH_FILES, OUR_FILES, asset_path

BASE = "/services/dac"


async def _get(portal: Portal, name: str | None, path: str) -> httpx.Response:
    async with portal.client(name) as client:
        return await client.get(BASE + path)


def _text(page: httpx.Response) -> str:
    """What a person reads, on one line."""
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", page.text)).split())


async def test_my_usage_is_what_the_ledger_says_to_the_second(portal: Portal) -> None:
    page = await _get(portal, "meg", "/?period=this-year")
    async with portal.process.factory() as factory:
        me = await factory.people().principal("meg")
        sessions = await factory.sessions().list(me, username="meg", limit=1000)
    year_began = NOW.replace(month=1, day=1, hour=0)
    total = sum(
        session.milli_cores
        * int(((session.ended_at or NOW) - max(session.started_at, year_began)).total_seconds())
        for session in sessions
        if session.started_at and (session.ended_at or NOW) > year_began and not session.is_void
    )
    seconds, thousandths = divmod(total, 1000)
    exact = f"{seconds // 3600:,}:{seconds // 60 % 60:02}:{seconds % 60:02}"
    exact += f".{thousandths:03}".rstrip("0") if thousandths else ""
    assert total > 0
    assert exact in _text(page)


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("meg", "/groups/hostile"), ("meg", "/"), ("meg", "/groups"), ("admin", "/admin/people"),
        ("admin", "/groups/lenses/allocations"), ("admin", "/groups/hostile"),
        ("admin", "/admin/groups"), ("admin", "/admin/servers"), ("admin", "/admin/audit"),
        ("admin", f"/admin/people?search={HOSTILE}"), ("admin", f"/admin/audit?user={HOSTILE}"),
        ("meg", f"/?period=custom&first={HOSTILE[:20]}&last={HOSTILE[:20]}"),
    ],
)  # fmt: skip
async def test_hostile_names_are_shown_as_written(portal: Portal, name: str, path: str) -> None:
    page = await _get(portal, name, path)
    assert "<script>alert" not in page.text
    assert HOSTILE[:20] in html.unescape(page.text)


@pytest.mark.parametrize("path", ["/", "/groups/lenses", "/admin", "/admin/people", "/nothing"])
async def test_nothing_runs_that_is_not_a_file_of_ours(portal: Portal, path: str) -> None:
    page = await _get(portal, "admin", path)
    policy = page.headers["content-security-policy"]
    assert "script-src 'self';" in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert not re.search(r"<script(?![^>]* src=)", page.text)
    assert not re.search(r"\son[a-z]+=", page.text)
    assert not re.search(r'(src|href)="(https?:)?//', page.text)
    assert page.headers["cache-control"] == "no-store"


async def test_affiliations_show_their_age_and_who_asserted_them(portal: Portal) -> None:
    page = _text(await _get(portal, "admin", "/admin/people"))
    assert f"asserted 1 day ago by {ISSUER}" in page
    assert f"asserted 200 days ago by {ISSUER} stale" in page


async def test_people_are_found_by_affiliation_and_name(portal: Portal) -> None:
    found = await _get(portal, "admin", "/admin/people?search=observatory.example")
    assert "/admin/people/ada" in found.text
    assert "/admin/people/bruno" not in found.text
    found = await _get(portal, "admin", "/admin/people?search=BIRKE")
    assert "/admin/people/bruno" in found.text
    assert "/admin/people/ada" not in found.text
    nobody = await _get(portal, "admin", "/admin/people?search=100%25_")
    assert "Nobody matches" in nobody.text


async def test_estimated_ends_are_marked_and_explained(portal: Portal) -> None:
    page = _text(await _get(portal, "meg", "/?period=custom&first=2026-12-01&last=2027-03-10"))
    assert "Nobody saw the end of this server" in page


async def test_a_long_list_of_sessions_is_paged_without_losing_one(portal: Portal) -> None:
    period = "period=custom&first=2026-12-01&last=2027-03-10"
    seen: list[str] = []
    address = f"/?{period}"
    while address:
        page = await _get(portal, "meg", address)
        table = page.text.partition("Ended sessions")[2].partition("</table>")[0]
        seen += re.findall(r'data-label="Start"[^>]*>\s*<a [^>]*><time datetime="([^"]+)"', table)
        older = re.search(r'href="(\?[^"]+before=[^"]+)#', page.text)
        address = "/" + html.unescape(older[1]) if older else ""
    async with portal.process.factory() as factory:
        me = await factory.people().principal("meg")
        ended = await factory.sessions().list(me, username="meg", state="ended", limit=1000)
    assert len(ended) > 50
    assert seen == [f"{session.started_at:%Y-%m-%dT%H:%M:%SZ}" for session in ended]


async def test_a_member_sees_own_usage_of_a_group_and_not_the_others(portal: Portal) -> None:
    member = _text(await _get(portal, "meg", "/groups/lenses?period=this-quarter"))
    assert "My usage in this group" in member
    assert "By member" not in member
    assert "Core-hours by day" in member
    manager = _text(await _get(portal, "max", "/groups/lenses?period=this-quarter"))
    assert "Usage of the group" in manager
    assert "Meg Example (meg)" in manager


async def test_an_allocation_says_who_gave_it_and_why(portal: Portal) -> None:
    page = _text(await _get(portal, "meg", "/groups/lenses/allocations"))
    assert "Decision of the time allocation committee" in page
    assert "root (operator)" in page
    assert "+2,000.00 core-hours" in page
    assert "+0.50 core-hours" in page


async def test_a_wrong_period_is_said_and_kept(portal: Portal) -> None:
    page = await _get(portal, "meg", "/?period=custom&first=2027-03-02&last=2027-03-01")
    assert page.status_code == 422
    assert "The last day lies before the first" in page.text
    assert 'value="2027-03-02"' in page.text


async def test_plots_tell_what_the_table_does(portal: Portal) -> None:
    page = await _get(portal, "meg", "/?period=this-month")
    plot = await _get(portal, "meg", "/plots/days.json?period=this-month&theme=dark")
    assert plot.headers["content-type"] == "application/json"
    days = set(re.findall(r'<th scope="row"[^>]*>(2027-03-\d\d)</th>', page.text))
    assert days
    assert days <= set(re.findall(r"2027-03-\d\d", plot.text))
    refused = await _get(portal, "meg", "/plots/days.json?theme=<script>")
    assert refused.status_code == 422


async def test_static_files_may_be_kept_for_ever_and_are_compressed(portal: Portal) -> None:
    for name in (*OUR_FILES, *BOKEH_FILES):
        answer = await _get(portal, None, f"/{asset_path(name)}")
        assert answer.status_code == 200
        assert answer.headers["content-encoding"] == "gzip"
        assert "immutable" in answer.headers["cache-control"]
    old = await _get(portal, None, "/static/000000000000/portal.css")
    assert old.headers["cache-control"] == "no-cache"
    for outside in ("/static/x/..%2Fassets.py", "/static/x/passwd"):
        assert (await _get(portal, None, outside)).status_code == 404


async def test_the_hub_being_down_is_said_on_a_page(portal: Portal) -> None:
    portal.process.hub.forget_tokens()
    portal.hub.down = True
    try:
        page = await _get(portal, "meg", "/")
    finally:
        portal.hub.down = False
    assert page.status_code == 503
    assert "Try again in a minute" in page.text
    assert "Running servers are not affected" in page.text
    assert page.headers["x-request-id"] in page.text


async def test_health_shows_what_does_not_answer(portal: Portal) -> None:
    assert "all well" in (await _get(portal, "admin", "/admin")).text
    portal.hub.down = True
    try:
        page = await _get(portal, "admin", "/admin")
    finally:
        portal.hub.down = False
    assert page.status_code == 200
    assert "needs attention" in page.text


async def test_somebody_who_left_a_group_is_told_what_will_stop(portal: Portal) -> None:
    session_id = portal.site.running["otto"]
    async with portal.process.factory() as factory:
        await factory.sessions().schedule_stop(
            session_id, NOW + timedelta(minutes=15), "left-group"
        )
    page = _text(await _get(portal, "otto", "/"))
    async with portal.process.factory() as factory:
        await factory.sessions().schedule_stop(session_id, None)
    assert "will be stopped at 10 March 2027, 12:15 UTC: you no longer belong to its group" in page


async def test_what_nobody_expected_is_a_page_with_the_request_id(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the inside of it")

    monkeypatch.setattr("dachub.accounting.services.UsageService.report", broken)
    page = await _get(portal, "meg", "/")
    assert page.status_code == 500
    assert "<h1>Something went wrong</h1>" in page.text
    assert page.headers["x-request-id"] in page.text
    assert "the inside of it" not in page.text


async def test_administrators_see_who_waits_for_cores_and_set_how_many_may_run(
    portal: Portal,
) -> None:
    async with portal.client("admin") as client:
        page = await client.get(f"{BASE}/admin/servers")
        token = re.search(r'name="csrf_token" value="([^"]+)"', page.text)
        assert token is not None
        form = {"csrf_token": token[1], "cores": "0.5", "reason": "a rack is off"}
        saved = await client.post(f"{BASE}/admin/servers", data=form)
        assert saved.status_code == 303, saved.text
        for number in range(2):
            async with portal.process.factory() as factory:
                await factory.queue().enter(
                    UUID(int=number), username=f"waiter{number}", server_name="", group="photoz",
                    milli_cores=250, is_rescue=False,
                )  # fmt: skip
        shown = _text(await client.get(f"{BASE}/admin/servers"))
        assert "of 0.5 cores in use, 2 servers wait." in shown
        assert "cores of the site 1 of 2" in shown
        assert "a rack is off" in shown
        assert "2 servers wait" in _text(await client.get(f"{BASE}/admin"))
        form |= {"cores": "", "reason": "on again"}
        await client.post(f"{BASE}/admin/servers", data=form)
        form |= {"cores": "2.5", "reason": "a course"}
        await client.post(f"{BASE}/groups/photoz/cores", data=form)
    shown = _text(await _get(portal, "meg", "/groups/photoz"))
    assert re.search(r"Cores at once \S+ of 2.5 cores in use", shown)
    assert "a course" in _text(await _get(portal, "meg", "/groups/photoz/allocations"))
