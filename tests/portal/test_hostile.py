"""What people ask for who mean harm, or nonsense: refused, and nobody else's page breaks."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta

import httpx
import pytest
from sqlalchemy.exc import DBAPIError
from tests.portal.conftest import HOST, Portal, csrf
from tests.portal.seed import PASSWORD

from dachub.directory.services.accounts import ATTEMPTS_PER_MINUTE
from dachub.model.usage import Resource
from dachub.server.auth import Signer
from dachub.server.workers import enforce, keep_series

BASE = f"{HOST}/services/dac"
SignIn = Callable[[str | None], httpx.AsyncClient]


def program(portal: Portal, name: str, kind: str = "token") -> httpx.AsyncClient:
    """A program with a token of ``name``'s; errors inside reach it as answers."""
    return httpx.AsyncClient(
        transport=httpx.ASGITransport(portal.app, raise_app_exceptions=False),
        base_url=f"{BASE}/api/v1",
        headers={"Authorization": f"Bearer {name}-{kind}"},
    )


@pytest.mark.parametrize("resource", Resource)
async def test_whatever_a_member_asks_for_administrators_can_decide_on_it(
    portal: Portal, sign_in: SignIn, resource: Resource
) -> None:
    async with program(portal, "meg") as meg:
        wanted = {"group": "photoz", "resource": resource, "amount": 3_000_000, "reason": "more"}
        made = await meg.post("/requests", json=wanted)
        assert made.status_code == 201
        async with sign_in("admin") as browser:
            page = await browser.get(f"{BASE}/admin/requests")
        await meg.post(f"/requests/{made.json()['request_id']}/withdraw")
    assert page.status_code == 200


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999", "9" * 400])
async def test_what_is_no_number_reaches_neither_allocations_nor_workers(
    portal: Portal, number: str
) -> None:
    period = '"starts_at": "2027-01-01T00:00:00Z", "ends_at": "2028-01-01T00:00:00Z"'
    bodies = {
        "/allocations": [
            f'{{"group": "empty", "amount": {number}, {period}, "reason": "x"}}',
            f'{{"group": "empty", "amount": 1, {period}, "reason": "x", '
            f'"policy": {{"grace_percent": {number}}}}}',
        ],
        "/series": [f'{{"group": "empty", "amount": {number}, "every": "month", "reason": "x"}}'],
        "/storage/limits": [f'{{"user": "meg", "bytes": {number}, "reason": "x"}}'],
        "/requests": [f'{{"group": "empty", "amount": {number}, "reason": "x"}}'],
    }
    async with program(portal, "admin") as admin:
        for path, all_of_it in bodies.items():
            for body in all_of_it:
                answer = await admin.post(
                    path, content=body, headers={"Content-Type": "application/json"}
                )
                assert answer.status_code == 422, (path, body[:80], answer.text)
    await keep_series(portal.process)
    await enforce(portal.process)


FORMS_WITH_DAYS = {
    "groups/lenses/allocations": ({"first": "2027-04-01"}, "last"),
    "groups/lenses/series": ({"every": "month"}, "until"),
    "groups/lenses/allocations/1/adjustments": ({}, "last"),
    "admin/requests/1/grant": ({"first": "2027-04-01"}, "last"),
}


@pytest.mark.parametrize("path", FORMS_WITH_DAYS)
@pytest.mark.parametrize("day", ["9999-12-31", "2200-01-01", "1999-12-31", "0001-01-01"])
async def test_a_day_beyond_what_can_be_counted_is_said_at_its_field(
    sign_in: SignIn, path: str, day: str
) -> None:
    others, name = FORMS_WITH_DAYS[path]
    async with sign_in("admin") as admin:
        token = csrf(await admin.get(f"{BASE}/admin/groups"))
        filled = {"amount": "1", "reason": "x", **others, name: day, "csrf_token": token}
        answer = await admin.post(f"{BASE}/{path}", data=filled)
    assert answer.status_code == 422


FOREIGN_POSTS = [
    ("groups/transients/members/otto/limit", {"amount": "0", "reason": "x"}),
    ("groups/transients/members", {"username": "pia", "role": "manager"}),
    ("groups/transients/members/otto/remove", {}),
    ("groups/transients/edit", {"title": "mine now"}),
    ("groups/transients/requests", {"resource": "core-hours", "amount": "1", "reason": "x"}),
    ("groups/lenses/members", {"username": "pia", "role": "pi"}),
    ("groups/lenses/allocations", {"amount": "1", "reason": "x"}),
    ("groups/lenses/series", {"amount": "1", "every": "month", "reason": "x"}),
    ("groups/lenses/series/1/end", {"reason": "x"}),
    ("groups/lenses/allocations/1/adjustments", {"amount": "1", "reason": "x"}),
    ("groups/lenses/storage/limit", {"files": "1", "reason": "x"}),
    ("admin/requests/1/grant", {"amount": "1"}),
    ("admin/requests/1/decline", {"reason": "x"}),
    ("admin/people/meg/forget", {"reason": "x", "again": "meg"}),
    ("admin/people/meg/storage-limit", {"gigabytes": "1", "reason": "x"}),
    ("admin/people/meg/disable", {"reason": "x"}),
]


@pytest.mark.parametrize(("path", "fields"), FOREIGN_POSTS, ids=[path for path, _ in FOREIGN_POSTS])
async def test_a_pi_reaches_neither_other_groups_nor_what_administrators_do(
    portal: Portal, sign_in: SignIn, path: str, fields: dict[str, str]
) -> None:
    async with sign_in("pia") as pia:
        token = csrf(await pia.get(f"{BASE}/groups/lenses/members"))
        answer = await pia.post(f"{BASE}/{path}", data={**fields, "csrf_token": token})
    assert answer.status_code in (403, 404), answer.text


@pytest.mark.parametrize("thief", ["max", "admin"])
async def test_a_form_made_for_one_person_does_nothing_for_another(
    sign_in: SignIn, thief: str
) -> None:
    async with sign_in("pia") as pia, sign_in(thief) as other:
        token = csrf(await pia.get(f"{BASE}/groups/lenses/members"))
        answer = await other.post(
            f"{BASE}/groups/lenses/members",
            data={"username": "loner", "role": "member", "csrf_token": token},
        )
    assert answer.status_code == 403


@pytest.mark.parametrize("form", ["csv", "parquet"])
async def test_a_member_downloads_nobody_elses_part(sign_in: SignIn, form: str) -> None:
    async with sign_in("meg") as meg:
        for member in ("ada", "pia"):
            answer = await meg.get(f"{BASE}/groups/lenses/sessions.{form}?member={member}")
            assert answer.status_code == 403
        for path in ("admin/people/pia/usage", "admin/sessions", "groups/transients/usage"):
            assert (await meg.get(f"{BASE}/{path}.{form}")).status_code in (403, 404)
        mine = await meg.get(f"{BASE}/groups/lenses/sessions.csv?period=this-year")
    assert {line.split(",")[2] for line in mine.text.splitlines()[1:]} <= {"meg"}


async def test_a_servers_token_neither_administers_nor_sets_limits(portal: Portal) -> None:
    async with program(portal, "admin", "server") as server:
        for path in ("/users/meg/forget", "/requests/1/grant", "/series/1/end"):
            assert (await server.post(path, json={"reason": "x"})).status_code in (403, 404)
    async with program(portal, "pia", "server") as server:
        limit = {"amount": 1, "reason": "x"}
        assert (await server.put("/groups/lenses/limits/meg", json=limit)).status_code == 403
        assert (await server.get("/me/data")).status_code == 403


class Deadlock(Exception):
    """What PostgreSQL says to the transaction that gives way."""

    sqlstate = "40P01"


async def test_who_gave_way_to_another_transaction_is_told_to_repeat(
    portal: Portal, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gives_way() -> None:
        raise DBAPIError("update session", {}, Deadlock())

    monkeypatch.setattr(portal.process.clock, "now", gives_way)
    async with program(portal, "meg") as meg:
        answer = await meg.get("/storage/history")
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable"), answer.text


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/", "//evil.example", "/hub/logout", "/user/eve/page", "javascript:x",
        "/services/dac/../../user/eve/page", "/services/dac/%2e%2e/%2E%2e/user/eve/page",
        "/services/dac/..%2f..%2fuser/eve", "/services/dac/./..", "/services/dac//evil.example",
        "/services/dac/\\evil", "/services/dac/\r\nSet-Cookie: a=b",
    ],
)  # fmt: skip
async def test_signing_in_leads_to_no_page_but_ours(portal: Portal, target: str) -> None:
    async with portal.client(None) as browser:
        answer = await browser.get(f"{BASE}/login", params={"next": target})
    (cookie,) = (
        value for name, value in browser.cookies.items() if name.startswith("dachub-login-")
    )
    kept = Signer(portal.process.portal_secret, "login").read(cookie.strip('"'), 60)
    assert kept is not None
    assert json.loads(kept)["next"] == "/services/dac/"
    assert answer.headers["location"].startswith("/hub/api/oauth2/authorize?")


async def test_whoever_found_a_browser_unlocked_does_not_try_passwords_for_ever(
    portal: Portal, sign_in: SignIn
) -> None:
    async with sign_in("max") as browser:
        page = f"{BASE}/password"
        filled = {"new": "a new one for me", "again": "a new one for me"}
        filled["csrf_token"] = csrf(await browser.get(page))
        for number in range(ATTEMPTS_PER_MINUTE):
            answer = await browser.post(page, data={**filled, "current": f"guess {number}"})
            assert answer.status_code == 403
        answer = await browser.post(page, data={**filled, "current": PASSWORD})
        assert answer.status_code == 429
        assert "Wait a minute" in answer.text
        portal.process.clock.jump(timedelta(minutes=1))  # type: ignore[attr-defined]
        answer = await browser.post(page, data={**filled, "current": PASSWORD})
        assert answer.status_code == 303
