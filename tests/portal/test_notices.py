"""Notices and requests as people meet them: pages, forms, and the API that pages poll."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

import httpx
import pytest
from tests.portal.conftest import HOST, Portal, csrf
from tests.portal.seed import OPERATOR
from tests.portal.test_forms import _send

from dachub.directory.models import Principal, PrincipalKind
from dachub.model.notices import NoticeKind, Severity
from dachub.model.people import Role
from dachub.model.requests import RequestState
from dachub.model.usage import Resource

BASE = "/services/dac"
API = f"{BASE}/api/v1"


async def tell(portal: Portal, username: str, key: str, title: str = "Told") -> int:
    """A notice, and its id."""
    async with portal.process.factory() as factory:
        await factory.notices().give(
            [username], key=key, kind=NoticeKind.QUOTA, severity=Severity.WARNING, title=title,
            text="Something happened.",
        )  # fmt: skip
        return (await factory.notices().unread(username))[0].notice_id


def counted(page: httpx.Response) -> str | None:
    """The number in the navigation bar."""
    found = re.search(r'class="badge count">(\d+)', page.text)
    return found and found[1]


async def test_the_bar_counts_what_is_unread_on_every_page(portal: Portal) -> None:
    async with portal.client("max") as client:
        before = [counted(await client.get(BASE + path)) for path in ("/", "/groups", "/notices")]
        number = await tell(portal, "max", "bar")
        after = [counted(await client.get(BASE + path)) for path in ("/", "/groups", "/notices")]
    assert len(set(before)) == len(set(after)) == 1
    assert int(after[0] or 0) == int(before[0] or 0) + 1
    page = await _send(portal, "max", "/notices", f"/notices/{number}/read")
    assert counted(page) == before[0]
    assert "The notice is marked as read" in page.text


async def test_all_that_was_on_the_page_is_marked_and_nothing_later(portal: Portal) -> None:
    async with portal.client("otto") as client:
        await tell(portal, "otto", "first", "The first thing")
        last = await tell(portal, "otto", "second", "The second thing")
        shown = await client.get(f"{BASE}/notices")
        await tell(portal, "otto", "third", "The third thing")
        page = await client.post(
            f"{BASE}/notices/read",
            data={"csrf_token": csrf(shown), "up_to": str(last)},
            follow_redirects=True,
        )
    new, read = page.text.split('id="read-heading"')
    assert "The third thing" in new
    assert "The second thing" not in new
    assert "The first thing" in read


async def test_nobody_marks_what_others_were_told(portal: Portal) -> None:
    number = await tell(portal, "max", "of max")
    page = await _send(portal, "otto", "/notices", f"/notices/{number}/read")
    assert page.status_code == 404


async def test_people_choose_in_a_form_how_they_are_told(portal: Portal) -> None:
    page = await _send(portal, "loner", "/notices", "/notices/preferences", **{"quota-email": "on"})
    assert "Your choice counts from now on" in page.text
    async with portal.process.factory() as factory:
        loner = await factory.people().principal("loner")
        wishes = {wish.kind: wish for wish in await factory.notices().preferences(loner)}
    assert wishes[NoticeKind.QUOTA].email
    assert not wishes[NoticeKind.QUOTA].portal
    assert not wishes[NoticeKind.GROUP].email
    assert wishes[NoticeKind.STOP].portal


async def test_a_member_asks_and_withdraws(portal: Portal) -> None:
    requests = "/groups/transients/requests"
    wrong = await _send(
        portal, "otto", requests, requests, resource="core-hours", amount="0", reason="More"
    )
    assert wrong.status_code == 422
    assert 'aria-invalid="true"' in wrong.text
    page = await _send(
        portal, "otto", requests, requests, resource="file-bytes", amount="1.5", reason="Images"
    )
    assert "Your request was sent" in page.text
    assert "1.50 GB" in page.text
    async with portal.process.factory() as factory:
        (made,) = await factory.requests().list(OPERATOR, group="transients")
    assert (made.amount, made.resource) == (1_500_000_000, Resource.FILE_BYTES)
    page = await _send(portal, "otto", requests, f"{requests}/{made.request_id}/withdraw")
    assert "Your request was withdrawn" in page.text


async def test_a_member_asks_the_pi_for_a_higher_limit_of_their_own(portal: Portal) -> None:
    requests = "/groups/clusters/requests"
    page = await _send(
        portal, "meg", requests, requests,
        own_limit="true", resource="core-hours", amount="5.5", reason="My thesis",
    )  # fmt: skip
    assert "Your request was sent to the group&#39;s PI." in page.text
    async with portal.process.factory() as factory:
        (made,) = await factory.requests().list(OPERATOR, group="clusters")
    async with portal.client("paul") as client:
        page = await client.get(BASE + requests)
    assert "5.5 core-hours more for meg" in page.text
    assert "The limit is then 25.5 core-hours in each period." in page.text
    grant = f"{requests}/{made.request_id}/grant"
    done = await _send(portal, "paul", requests, grant, amount="4", reason="Enjoy")
    assert "meg may use 4 core-hours more from now on." in done.text
    again = await _send(portal, "paul", requests, grant, amount="4")
    assert again.status_code == 409
    assert "granted by paul already" in again.text
    async with portal.client("meg") as client:
        page = await client.get(BASE + requests)
    assert "of the 24.00 core-hours that I may use in each period" in page.text


async def test_who_has_no_limit_of_their_own_is_not_offered_to_raise_it(portal: Portal) -> None:
    requests = "/groups/photoz/requests"
    async with portal.client("meg") as client:
        page = await client.get(BASE + requests)
    assert "own_limit" not in page.text
    refused = await _send(
        portal, "meg", requests, requests,
        own_limit="true", resource="core-hours", amount="5", reason="Mine",
    )  # fmt: skip
    assert refused.status_code == 409


async def test_administrators_see_the_own_limit_of_who_asks_for_the_group(portal: Portal) -> None:
    async with portal.client("admin") as client:
        page = (await client.get(f"{BASE}/admin/requests")).text
    assert "of 1,200.00 core-hours of their own limit. More for the group does not raise it" in page
    assert "150 core-hours more for" not in page, "a PI decides on that"


async def test_an_administrator_grants_once(portal: Portal) -> None:
    requests = "/groups/photoz/requests"
    await _send(
        portal, "meg", requests, requests, resource="core-hours", amount="30", reason="More sky"
    )
    async with portal.process.factory() as factory:
        (made,) = await factory.requests().list(OPERATOR, group="photoz")
    page, grant = "/admin/requests", f"/admin/requests/{made.request_id}/grant"
    without = await _send(portal, "admin", page, grant, amount="30")
    assert without.status_code == 409
    assert "Name the period of a new one" in without.text
    days = {"first": "2027-03-01", "last": "2027-03-31"}
    done = await _send(portal, "admin", page, grant, amount="25", reason="Enjoy", **days)
    assert "photoz was given 25 core-hours more" in done.text
    again = await _send(portal, "admin", page, grant, amount="25")
    assert again.status_code == 409
    assert "granted by admin already" in again.text
    async with portal.process.factory() as factory:
        (decided,) = await factory.requests().list(OPERATOR, group="photoz")
        (allocation, *_) = await factory.allocations().list(OPERATOR, group="photoz")
    assert decided.state is RequestState.GRANTED
    assert allocation.amount == 25 * 3_600_000
    assert (allocation.ends_at - allocation.starts_at).days == 31
    async with portal.client("meg") as client:
        told = await client.get(f"{BASE}/notices")
    assert "25.00 core-hours more were granted" in told.text


async def test_a_request_for_whatever_can_be_allocated_is_shown_with_its_unit(
    portal: Portal,
) -> None:
    otto = Principal("otto", PrincipalKind.PERSON, roles={"transients": Role.MEMBER})
    async with portal.process.factory() as factory:
        for resource in Resource:
            await factory.requests().ask(
                otto, group="transients", resource=resource, amount=2, reason="More"
            )
    async with portal.client("admin") as client:
        page = await client.get(f"{BASE}/admin/requests")
    assert page.status_code == 200
    for unit in ("core-hours", "GPU-hours", "GiB-hours of memory", "GB of files"):
        assert f"How much more, in {unit}" in page.text


@pytest.fixture
async def program(portal: Portal) -> AsyncIterator[httpx.AsyncClient]:
    """A program that polls for stranger."""
    async with httpx.AsyncClient(
        transport=httpx.ASGITransport(portal.app),
        base_url=HOST + API,
        headers={"Authorization": "Bearer max-server"},
    ) as client:
        yield client


async def test_a_program_polls_cheaply(portal: Portal, program: httpx.AsyncClient) -> None:
    first = await tell(portal, "max", "poll 1")
    answer = await program.get("/me/notices", params={"unread": True})
    assert answer.json()["notices"][0]["notice_id"] == answer.json()["last_id"] == first
    unread = answer.json()["unread"]
    etag = {"If-None-Match": answer.headers["etag"]}
    assert (await program.get("/me/notices", headers=etag)).status_code == 304
    second = await tell(portal, "max", "poll 2")
    news = await program.get("/me/notices", headers=etag, params={"after": first})
    assert [one["notice_id"] for one in news.json()["notices"]] == [second]
    assert news.json()["unread"] == unread + 1
    etag = {"If-None-Match": news.headers["etag"]}
    assert (await program.post(f"/me/notices/{first}/read")).status_code == 204
    assert (await program.post(f"/me/notices/{first}/read")).status_code == 204
    again = await program.get("/me/notices", headers=etag, params={"unread": True})
    assert first not in [one["notice_id"] for one in again.json()["notices"]]
    assert (await program.post("/me/notices/read", json={"up_to": second})).status_code == 204
    assert (await program.get("/me/notices")).json()["unread"] == 0
    since = await program.get("/me/notices", params={"since": "2099-01-01T00:00:00Z"})
    assert since.json()["notices"] == []


async def test_a_server_silences_nothing(program: httpx.AsyncClient) -> None:
    quiet = {"portal": False, "email": False}
    refused = await program.put("/me/notice-preferences/quota", json=quiet)
    assert refused.status_code == 403
    assert all(wish["portal"] for wish in (await program.get("/me/notice-preferences")).json())
    program.headers["Authorization"] = "Bearer max-token"
    refused = await program.put("/me/notice-preferences/stop", json=quiet)
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid-input")
    by_mail = {"portal": True, "email": False}
    assert (await program.put("/me/notice-preferences/stop", json=by_mail)).status_code == 200
