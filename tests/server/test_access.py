"""Every route for every kind of caller, by the one table that the documentation shows as well."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest
from fastapi import FastAPI
from fastapi.routing import iter_route_contexts
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker
from tests.server.world import GROUP, ISSUER, PASSWORD, World

from dachub.server.access import TABLE, Access, Caller
from dachub.server.auth import PREFIX, SESSION_COOKIE, Signer, session_cookie
from dachub.server.factory import Process
from dachub.server.portal.assets import asset_path

pytestmark = pytest.mark.hub

WHO = {
    Caller.PERSON: "oscar",
    Caller.MEMBER: "mia",
    Caller.MANAGER: "max",
    Caller.PI: "pia",
    Caller.ADMINISTRATOR: "adam",
    Caller.DISABLED: "dora",
    Caller.SERVER: "mia's server",
    Caller.ADMINISTRATORS_SERVER: "adam's server",
    Caller.HUB: "hub",
}
NOW = "2027-03-10T12:00:00Z"
LATER = "2028-03-10T12:00:00Z"


@dataclass(frozen=True)
class Example:
    """A call that can succeed, and what it answers to those who pass."""

    url: str = ""
    body: Any = None
    passes: frozenset[int] = frozenset({200})


def ok(url: str = "", body: Any = None, *passes: int) -> Example:
    return Example(url, body, frozenset(passes or {200}))


def examples(world: World) -> dict[str, Example]:
    """One for each row of the table; the address is the row's where none is given."""
    session, other = f"/sessions/{world.session_id}", uuid4()
    request = f"/requests/{world.request_id}"
    own_request = f"/requests/{world.own_request_id}"
    event = {
        "event_id": str(other),
        "kind": "requested",
        "at": NOW,
        "session": {
            "session_id": str(other),
            "username": "mia",
            "group": GROUP,
            "size": "small",
            "environment": "astronomy",
            "milli_cores": 1000,
            "memory_bytes": 1,
            "requested_at": NOW,
        },
    }
    allocation = {
        "group": GROUP,
        "amount": 10,
        "starts_at": NOW,
        "ends_at": LATER,
        "reason": "granted",
    }
    password = {"new": "quite another password"}
    api: dict[str, Example] = {
        "PUT /me/password": ok("", {"current": "x", **password}, 404),
        "POST /me/notices/read": ok("", {"up_to": 1}, 204),
        "POST /me/notices/{notice_id}/read": ok(f"/me/notices/{world.notice_id}/read", None, 204),
        "PUT /me/notice-preferences/{kind}": ok(
            "/me/notice-preferences/quota", {"portal": True, "email": False}
        ),
        "GET /usage?group": ok(f"/usage?group={GROUP}"),
        "GET /usage?user": ok("/usage?user=mia"),
        "GET /sessions?group": ok(f"/sessions?group={GROUP}"),
        "GET /sessions?user": ok("/sessions?user=mia"),
        "GET /sessions/{session_id}": ok(session),
        "POST /sessions/{session_id}/stop": ok(f"{session}/stop", None, 202),
        "GET /sessions/{session_id}/corrections": ok(f"{session}/corrections"),
        "POST /sessions/{session_id}/corrections": ok(
            f"{session}/corrections", {"action": "void", "reason": "x"}, 201
        ),
        "POST /sessions/authorize": ok("", {"username": "mia", "choice": {}}),
        "POST /events": ok("", {"events": [event]}),
        "POST /hub/logins": ok(
            "", {"issuer": ISSUER, "subject": "new", "candidate": "newbie", "at": NOW}
        ),
        "POST /hub/refusals": ok("", {"claimed_name": "x", "code": "no", "at": NOW}, 204),
        "POST /hub/queue": ok("", {"waiting": [str(other)]}),
        "GET /hub/people/{username}/start-options": ok("/hub/people/mia/start-options"),
        "POST /users": ok("", {"username": "added", "password": "quite a password"}, 201),
        "GET /users/{username}": ok("/users/mia"),
        "POST /users/{username}/disable": ok("/users/vera/disable", {"reason": "left"}),
        "POST /users/{username}/enable": ok("/users/vera/enable"),
        "POST /users/{username}/forget": ok("/users/vera/forget", {"reason": "asked"}, 202),
        "PUT /users/{username}/password": ok("/users/lola/password", password, 204),
        "POST /groups": ok("", {"slug": "added", "title": "Added"}, 201),
        "GET /groups/{group}": ok(f"/groups/{GROUP}"),
        "PUT /groups/{group}/members/{username}": ok(
            f"/groups/{GROUP}/members/oscar", {"role": "manager"}
        ),
        "DELETE /groups/{group}/members/{username}": ok(f"/groups/{GROUP}/members/vera", None, 204),
        "GET /allocations?group": ok(f"/allocations?group={GROUP}"),
        "GET /allocations/{allocation_id}": ok(f"/allocations/{world.allocation_id}"),
        "POST /allocations": ok("", allocation, 201),
        "GET /series?group": ok(f"/series?group={GROUP}"),
        "POST /series": ok(
            "", {"group": GROUP, "amount": 10, "every": "quarter", "reason": "granted"}, 201
        ),
        "POST /series/{series_id}/end": ok(f"/series/{world.series_id}/end", {"reason": "over"}),
        "GET /groups/{group}/balances": ok(f"/groups/{GROUP}/balances"),
        "GET /groups/{group}/limits": ok(f"/groups/{GROUP}/limits"),
        "GET /groups/{group}/limits/history": ok(f"/groups/{GROUP}/limits/history"),
        "PUT /groups/{group}/limits/{username}": ok(
            f"/groups/{GROUP}/limits/mia", {"amount": 5, "reason": "fair share"}
        ),
        "POST /allocations/{allocation_id}/adjustments": ok(
            f"/allocations/{world.allocation_id}/adjustments", {"amount": -1.5, "reason": "x"}, 201
        ),
        "GET /requests?group": ok(f"/requests?group={GROUP}"),
        "POST /requests": ok("", {"group": GROUP, "amount": 5, "reason": "more"}, 201),
        "GET /requests/{request_id}": ok(request),
        "POST /requests/{request_id}/grant": ok(f"{request}/grant", {}),
        "POST /requests/{request_id}/decline": ok(f"{request}/decline", {"reason": "no"}),
        "POST /requests/{request_id}/grant?own": ok(f"{own_request}/grant", {}),
        "POST /requests/{request_id}/decline?own": ok(f"{own_request}/decline", {"reason": "no"}),
        "POST /requests/{request_id}/withdraw": ok(f"{request}/withdraw"),
        "GET /reports/{quarter_name}": ok("/reports/2027Q1"),
        "GET /exports/differences": ok(
            "/exports/differences?since=2027-01-01T00:00:00Z&until=2027-03-01T00:00:00Z"
        ),
        "GET /storage?user": ok("/storage?user=mia"),
        "GET /storage?group": ok(f"/storage?group={GROUP}"),
        "GET /storage/history?user": ok("/storage/history?user=mia"),
        "GET /storage/history?group": ok(f"/storage/history?group={GROUP}"),
        "POST /storage/me/resample": ok("", None, 404),  # nobody has a home here
        "GET /storage/limits?group": ok(f"/storage/limits?group={GROUP}"),
        "GET /cores/limits?group": ok(f"/cores/limits?group={GROUP}"),
        "POST /cores/limits": ok("", {"cores": 64, "reason": "x"}, 201),
        "GET /groups/{group}/cores": ok(f"/groups/{GROUP}/cores"),
        "POST /storage/limits": ok("", {"user": "mia", "bytes": 1, "reason": "x"}, 201),
        "GET /audit?group": ok(f"/audit?group={GROUP}"),
    }
    group = f"/groups/{GROUP}"
    pages: dict[str, Example] = {
        "GET /login": ok("/login", None, 302),
        "GET /oauth_callback": ok("/oauth_callback", None, 403),
        "GET /logout": ok("/logout", None, 302),
        "GET ": ok("", None, 307),
        "GET /static/{digest}/{name}": ok("/" + asset_path("portal.css")),
        "GET /usage.{form}": ok("/usage.csv"),
        "GET /sessions.{form}": ok("/sessions.csv"),
        "GET /sessions/{session_id}": ok(session),
        "POST /sessions/{session_id}/corrections": ok(
            f"{session}/corrections", {"action": "void", "reason": "a fault"}, 303
        ),
        "GET /storage.{form}": ok("/storage.csv"),
        "GET /sessions/{session_id}/stop": ok(f"{session}/stop"),
        "POST /sessions/{session_id}/stop": ok(f"{session}/stop", {}, 303),
        "GET /password": ok("", None, 404),
        "POST /password": ok("", {"current": "x", **password, "again": password["new"]}, 404),
        "POST /notices/read": ok("", {"up_to": "1"}, 303),
        "POST /notices/{notice_id}/read": ok(f"/notices/{world.notice_id}/read", {}, 303),
        "POST /notices/preferences": ok("", {"quota-portal": "on"}, 303),
        "GET /groups/{slug}/requests": ok(f"{group}/requests"),
        "POST /groups/{slug}/requests": ok(
            f"{group}/requests", {"resource": "core-hours", "amount": "5", "reason": "more"}, 303
        ),
        "POST /groups/{slug}/requests/{request_id}/withdraw": ok(
            f"{group}{request}/withdraw", {}, 303
        ),
        "POST /groups/{slug}/requests/{request_id}/grant": ok(
            f"{group}{own_request}/grant", {"amount": "5"}, 303
        ),
        "POST /groups/{slug}/requests/{request_id}/decline": ok(
            f"{group}{own_request}/decline", {"reason": "no"}, 303
        ),
        "POST /admin/requests/{request_id}/grant": ok(
            f"/admin{request}/grant", {"amount": "5"}, 303
        ),
        "POST /admin/requests/{request_id}/decline": ok(
            f"/admin{request}/decline", {"reason": "no"}, 303
        ),
        "GET /groups/{slug}": ok(group),
        "GET /groups/{slug}/plots/days.json": ok(f"{group}/plots/days.json"),
        "GET /groups/{slug}/usage.{form}": ok(f"{group}/usage.csv"),
        "GET /groups/{slug}/sessions.{form}": ok(f"{group}/sessions.parquet"),
        "GET /groups/{slug}/members/{username}": ok(f"{group}/members/vera"),
        "POST /groups/{slug}/members/{username}/limit": ok(
            f"{group}/members/vera/limit", {"amount": "5", "reason": "fair"}, 303
        ),
        "GET /groups/{slug}/edit": ok(f"{group}/edit"),
        "POST /groups/{slug}/edit": ok(f"{group}/edit", {"title": "Another"}, 303),
        "GET /groups/{slug}/storage": ok(f"{group}/storage"),
        "GET /groups/{slug}/storage/plot.json": ok(f"{group}/storage/plot.json"),
        "GET /groups/{slug}/storage.{form}": ok(f"{group}/storage.csv"),
        "POST /groups/{slug}/storage/limit": ok(
            f"{group}/storage/limit", {"files": "5", "reason": "many"}, 303
        ),
        "POST /groups/{slug}/cores": ok(f"{group}/cores", {"cores": "8", "reason": "x"}, 303),
        "POST /groups/{slug}/series": ok(
            f"{group}/series", {"amount": "5", "every": "month", "reason": "award"}, 303
        ),
        "POST /groups/{slug}/series/{series_id}/end": ok(
            f"{group}/series/1/end", {"reason": ""}, 422
        ),
        "GET /groups/{slug}/members": ok(f"{group}/members"),
        "GET /groups/{slug}/sessions": ok(f"{group}/sessions"),
        "GET /groups/{slug}/allocations": ok(f"{group}/allocations"),
        "POST /groups/{slug}/members": ok(
            f"{group}/members", {"username": "oscar", "role": "member"}, 303
        ),
        "GET /groups/{slug}/members/{username}/remove": ok(f"{group}/members/vera/remove"),
        "POST /groups/{slug}/members/{username}/remove": ok(
            f"{group}/members/vera/remove", {}, 303
        ),
        "GET /groups/{slug}/history": ok(f"{group}/history"),
        "POST /groups/{slug}/allocations": ok(
            f"{group}/allocations",
            {
                "amount": "5",
                "first": "2027-03-10",
                "last": "2027-04-01",
                "when_spent": "deny",
                "reason": "granted",
            },
            303,
        ),
        "POST /groups/{slug}/allocations/{allocation_id}/adjustments": ok(
            f"{group}/allocations/{world.allocation_id}/adjustments",
            {"amount": "5", "reason": "more"},
            303,
        ),
        "GET /admin/storage.{form}": ok("/admin/storage.csv"),
        "GET /admin/people/{username}/plots/days.json": ok("/admin/people/mia/plots/days.json"),
        "GET /admin/people/{username}/usage.{form}": ok("/admin/people/mia/usage.csv"),
        "GET /admin/people/{username}/sessions.{form}": ok("/admin/people/mia/sessions.csv"),
        "POST /admin/people/{username}/storage-limit": ok(
            "/admin/people/vera/storage-limit", {"gigabytes": "5", "reason": "more"}, 303
        ),
        "GET /admin/usage.{form}": ok("/admin/usage.parquet"),
        "GET /admin/sessions.{form}": ok("/admin/sessions.csv"),
        "POST /admin/groups": ok("", {"slug": "added", "title": "Added"}, 303),
        "POST /admin/servers": ok("", {"cores": "0", "reason": "x"}, 422),
        "POST /admin/people": ok("", {"username": "added", "password": "quite a password"}, 303),
        "GET /admin/people/{username}": ok("/admin/people/mia"),
        "POST /admin/people/{username}/disable": ok(
            "/admin/people/vera/disable", {"reason": "left"}, 303
        ),
        "POST /admin/people/{username}/enable": ok("/admin/people/vera/enable", {}, 303),
        "POST /admin/people/{username}/forget": ok(
            "/admin/people/vera/forget", {"reason": "asked", "again": "vera"}, 303
        ),
        "POST /admin/people/{username}/password": ok("/admin/people/lola/password", password, 303),
    }
    return {f"{key.split(' ')[0]} /api/v1{key.split(' ')[1]}": one for key, one in api.items()} | {
        key: Example(one.url, one.body, one.passes) for key, one in pages.items()
    }


@pytest.fixture
async def forgetful(process: Process) -> Any:
    """Runs each call in a transaction that is forgotten after it."""

    async def ask(send: Callable[[], Any]) -> httpx.Response:
        kept = process.sessions
        async with kept() as outer:
            connection = await outer.connection()
            savepoint = await connection.begin_nested()
            process.sessions = async_sessionmaker(
                connection,
                class_=AsyncSession,
                expire_on_commit=False,
                join_transaction_mode="create_savepoint",
            )
            try:
                return await send()  # type: ignore[no-any-return]
            finally:
                process.sessions = kept
                await savepoint.rollback()

    return ask


@pytest.mark.parametrize("access", TABLE, ids=lambda a: f"{a.method} {a.path}")
async def test_a_route_is_for_those_in_the_table_and_nobody_else(
    access: Access,
    world: World,
    app: FastAPI,
    process: Process,
    tokens: dict[str, str],
    forgetful: Any,
) -> None:
    is_page = not access.path.startswith(("/api/", "/metrics"))
    example = examples(world).get(f"{access.method} {access.path}", Example())
    plain = access.path.removeprefix("/api/v1")
    base = PREFIX if plain == access.path else f"{PREFIX}/api/v1"
    url = base + (example.url or plain)
    for caller in Caller:
        passes = caller in access.callers
        headers, cookies, who = {}, {}, WHO.get(caller, "")
        if (
            is_page
            and who in tokens
            and caller
            not in (
                Caller.SERVER,
                Caller.ADMINISTRATORS_SERVER,
                Caller.HUB,
            )
        ):
            cookies = {SESSION_COOKIE: session_cookie(process, tokens[who])}
        elif who:
            headers = {"Authorization": f"Bearer {tokens[who]}"}
        body: dict[str, Any] = {}
        if is_page and access.method == "POST":
            csrf = Signer(process.portal_secret, f"csrf:{who}").sign("")
            body = {"data": {**(example.body or {}), "csrf_token": csrf}}
        elif example.body is not None:
            body = {"json": example.body}

        async def send(
            headers: Any = headers, cookies: Any = cookies, body: Any = body
        ) -> httpx.Response:
            async with httpx.AsyncClient(
                transport=httpx.ASGITransport(app, raise_app_exceptions=False),
                base_url="http://dac.test",
                cookies=cookies,
            ) as client:
                return await client.request(access.method, url, headers=headers, **body)

        answer = await forgetful(send)
        said = (caller.value, answer.status_code, answer.text[:300])
        if passes:
            assert answer.status_code in example.passes, said
        elif caller is Caller.ANYONE:
            to_login = is_page and access.method == "GET"
            assert answer.status_code == (302 if to_login else 401), said
            if to_login:
                assert answer.headers["location"].startswith(f"{PREFIX}/login?next=")
        elif caller is Caller.DISABLED:
            assert answer.status_code == 403, said
            assert "account-disabled" in answer.text
        else:
            assert answer.status_code in (403, 404), said
        if answer.status_code >= 400 and not is_page:
            assert answer.headers["content-type"] == "application/problem+json"
            assert answer.json()["code"]


def test_every_route_is_in_the_table(app: FastAPI) -> None:
    offered = {
        (method, str(context.path).removeprefix(PREFIX))
        for context in iter_route_contexts(app.routes)
        for method in context.methods or ()
        if method != "HEAD"
    }
    assert offered
    known = {(access.method, access.path.split("?")[0]) for access in TABLE}
    assert offered == known


async def test_a_local_account_changes_its_own_password(
    client: httpx.AsyncClient, tokens: dict[str, str]
) -> None:
    path = "/services/dac/api/v1/me/password"
    client.headers["Authorization"] = f"Bearer {tokens['lola']}"
    current, new = PASSWORD, "some new password"
    wrong = await client.put(path, json={"current": "x", "new": new})
    assert (wrong.status_code, wrong.json()["code"]) == (403, "wrong-password")
    weak = await client.put(path, json={"current": current, "new": "short"})
    assert (weak.status_code, weak.json()["code"]) == (422, "weak-password")
    assert "short" not in weak.text
    right = await client.put(path, json={"current": current, "new": new})
    assert right.status_code == 204
