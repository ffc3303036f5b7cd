"""What is sent twice counts once: forms of the portal, and requests of programs with a key."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import httpx
import pytest
from sqlalchemy import text
from tests.portal.conftest import HOST, Portal, csrf
from tests.portal.seed import OPERATOR

from dachub.infra.clock import HeldClock
from dachub.model.people import Role
from dachub.server.privacy import retain

BASE = f"{HOST}/services/dac"
API = f"{BASE}/api/v1"
ALLOCATION = {
    "amount": "5000", "unit": "core-hours", "first": "2027-04-01", "last": "2027-06-30",
    "reason": "second quarter",
}  # fmt: skip
FORMS = [
    ("admin", "groups/{slug}/allocations", "groups/{slug}/allocations", ALLOCATION, "allocation"),
    (
        "admin",
        "groups/{slug}/allocations",
        "groups/{slug}/series",
        {"amount": "10", "every": "month", "reason": "every month"},
        "allocation_series",
    ),
    (
        "admin",
        "groups/lenses/allocations",
        "groups/lenses/allocations/1/adjustments",
        {"amount": "7", "reason": "a little more"},
        "allocation_adjustment",
    ),
    (
        "meg",
        "groups/lenses/requests",
        "groups/lenses/requests",
        {"amount": "3", "resource": "core-hours", "reason": "the survey grew"},
        "allocation_request",
    ),
    (
        "pia",
        "groups/lenses/members/meg",
        "groups/lenses/members/meg/limit",
        {"amount": "100", "reason": "a fair share"},
        "member_limit",
    ),
    (
        "admin",
        "admin/people/meg",
        "admin/people/meg/storage-limit",
        {"gigabytes": "5", "reason": "images"},
        "storage_limit",
    ),
    ("admin", "admin/groups", "admin/groups", {"slug": "newly", "title": "New"}, "research_group"),
]


async def _count(portal: Portal, table: str) -> int:
    async with portal.process.engine.connect() as connection:
        return int(await connection.scalar(text(f"select count(*) from {table}")) or 0)


@pytest.mark.parametrize(
    ("name", "page", "to", "fields", "table"), FORMS, ids=[form[4] for form in FORMS]
)
async def test_a_form_sent_twice_counts_once(
    portal: Portal, name: str, page: str, to: str, fields: dict[str, str], table: str
) -> None:
    page, to = (f"{BASE}/{path.format(slug='empty')}" for path in (page, to))
    before = await _count(portal, table)
    async with portal.client(name) as browser:
        filled = {**fields, "csrf_token": csrf(await browser.get(page))}
        first, second = await asyncio.gather(
            browser.post(to, data=filled), browser.post(to, data=filled)
        )
        assert (first.status_code, second.status_code) == (303, 303), first.text + second.text
        assert first.headers["location"] == second.headers["location"]
        assert await _count(portal, table) == before + 1
        reloaded = await browser.post(to, data=filled, follow_redirects=True)
        assert "This form was sent before, and counted once." in reloaded.text
        assert await _count(portal, table) == before + 1


async def test_the_same_wish_from_a_page_loaded_anew_is_another(portal: Portal) -> None:
    page = f"{BASE}/groups/photoz/requests"
    before = await _count(portal, "allocation_request")
    async with portal.client("meg") as browser:
        for reason in ("more", "more"):
            filled = {"amount": "1", "resource": "core-hours", "reason": reason}
            filled["csrf_token"] = csrf(await browser.get(page))
            await browser.post(page, data=filled)
        await browser.post(page, data={**filled, "reason": "changed after going back"})
    assert await _count(portal, "allocation_request") == before + 3


async def test_a_form_that_was_refused_may_be_sent_again(portal: Portal) -> None:
    page = f"{BASE}/groups/clusters/requests"
    before = await _count(portal, "allocation_request")
    async with portal.client("meg") as browser:
        filled = {"amount": "1", "resource": "core-hours", "reason": "more"}
        filled["csrf_token"] = csrf(await browser.get(page))
        async with portal.process.factory() as services:
            await services.groups().remove_member(OPERATOR, "clusters", "meg")
        assert (await browser.post(page, data=filled)).status_code in (403, 404)
        async with portal.process.factory() as services:
            await services.groups().put_member(OPERATOR, "clusters", "meg", Role.MEMBER)
        again = await browser.post(page, data=filled, follow_redirects=True)
    assert "counted once" not in again.text
    assert await _count(portal, "allocation_request") == before + 1


async def _ask(portal: Portal, key: str) -> httpx.Response:
    async with program(portal, "meg") as meg:
        body = {"group": "lenses", "amount": 1, "reason": "x"}
        return await meg.post(f"{API}/requests", json=body, headers={"Idempotency-Key": key})


PERIOD = {"starts_at": "2027-07-01T00:00:00Z", "ends_at": "2027-10-01T00:00:00Z"}
CALLS = [
    ("/allocations", {"group": "empty", "amount": 1.5, **PERIOD, "reason": "x"}, "allocation"),
    ("/allocations/1/adjustments", {"amount": 1, "reason": "x"}, "allocation_adjustment"),
    (
        "/series",
        {"group": "empty", "amount": 1, "every": "year", "reason": "x"},
        "allocation_series",
    ),
    ("/requests", {"group": "lenses", "amount": 1, "reason": "x"}, "allocation_request"),
    ("/sessions/{session}/corrections", {"action": "void", "reason": "x"}, "session_correction"),
    ("/storage/limits", {"user": "meg", "files": 9, "reason": "x"}, "storage_limit"),
]  # fmt: skip


def program(portal: Portal, name: str = "admin", kind: str = "token") -> httpx.AsyncClient:
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(portal.app),
        headers={"Authorization": f"Bearer {name}-{kind}"},
    )


@pytest.mark.parametrize(("path", "body", "table"), CALLS, ids=[call[2] for call in CALLS])
async def test_a_call_with_a_key_is_done_once_and_answered_alike(
    portal: Portal, path: str, body: dict[str, object], table: str
) -> None:
    path = API + path.format(session=portal.site.corrected)
    before = await _count(portal, table)
    key = {"Idempotency-Key": f"a key of the test of {table}"}
    async with program(portal) as caller:
        one, other = await asyncio.gather(
            caller.post(path, json=body, headers=key), caller.post(path, json=body, headers=key)
        )
        assert (one.status_code, other.status_code) == (201, 201), one.text + other.text
        assert one.json() == other.json()
        assert await _count(portal, table) == before + 1
        other_wish = await caller.post(path, json={**body, "reason": "y"}, headers=key)
        assert other_wish.status_code == 422
        assert other_wish.json()["code"] == "idempotency-key-reused"


async def test_a_key_is_of_whoever_sends_it(portal: Portal) -> None:
    key = {"Idempotency-Key": "1"}
    body = {"group": "photoz", "amount": 1, "reason": "x"}
    async with program(portal, "meg") as meg, program(portal, "paul") as paul:
        mine = await meg.post(f"{API}/requests", json=body, headers=key)
        theirs = await paul.post(f"{API}/requests", json=body, headers=key)
    assert mine.json()["request_id"] != theirs.json()["request_id"]
    async with program(portal, "meg", "server") as server:
        as_server = await server.post(f"{API}/requests", json=body, headers=key)
    assert as_server.json()["code"] == "idempotency-key-reused"


async def test_a_call_that_was_refused_keeps_nothing(portal: Portal) -> None:
    key = {"Idempotency-Key": "refused at first"}
    body = {"group": "hostile", "amount": 1, "reason": "x"}
    async with program(portal, "loner") as loner:
        assert (await loner.post(f"{API}/requests", json=body, headers=key)).status_code == 403
        async with portal.process.factory() as services:
            await services.groups().put_member(OPERATOR, "hostile", "loner", Role.MEMBER)
        assert (await loner.post(f"{API}/requests", json=body, headers=key)).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256])
async def test_a_key_that_is_none_is_refused(portal: Portal, key: str) -> None:
    assert (await _ask(portal, key)).status_code == 422


async def test_what_was_sent_is_remembered_for_days_only(portal: Portal) -> None:
    clock = portal.process.clock
    assert isinstance(clock, HeldClock)
    await _ask(portal, "remembered")
    clock.jump(timedelta(days=2))
    await retain(portal.process)
    assert await _count(portal, "sent")
    clock.jump(timedelta(seconds=1))
    await retain(portal.process)
    assert await _count(portal, "sent") == 0
