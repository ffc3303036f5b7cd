"""Hostile input: every answer is a problem with a code, never an inner error."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from tests.server.realhub import RealHub
from tests.server.world import GROUP, HUB_TOKEN, World

from dachub.server.factory import Process

API = "/services/dac/api/v1"

pytestmark = pytest.mark.hub


@pytest.fixture
async def admin(client: httpx.AsyncClient, tokens: dict[str, str]) -> httpx.AsyncClient:
    client.headers["Authorization"] = f"Bearer {tokens['adam']}"
    return client


@pytest.fixture
async def as_hub(client: httpx.AsyncClient) -> httpx.AsyncClient:
    client.headers["Authorization"] = f"Bearer {HUB_TOKEN}"
    return client


def is_problem(answer: httpx.Response, *statuses: int) -> bool:
    assert answer.status_code in statuses, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    told = answer.json()
    assert told["status"] == answer.status_code
    assert told["code"]
    assert told["detail"]
    assert told["request_id"] == answer.headers["x-request-id"]
    return True


async def test_unknown_addresses_and_methods_are_problems(admin: httpx.AsyncClient) -> None:
    assert is_problem(await admin.get(f"{API}/nothing"), 404)
    assert is_problem(await admin.get("/"), 404)
    assert is_problem(await admin.delete(f"{API}/me"), 405)
    assert is_problem(await admin.request("TRACE", f"{API}/me"), 405)
    assert is_problem(await admin.request("PROPFIND", f"{API}/groups/{GROUP}"), 405)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"x"',
        b"\xff\xfe",
        b"{" * 100_000,
        b'{"a":' * 50_000,
        b'{"slug": "x", "title": 1e999}',
        b'{"slug": "x", "title": ' + b"9" * 5000 + b"}",
        b'{"slug": "a\\u0000b", "title": "x"}',
        b'{"slug": "ab", "title": "\\ud800"}',
        b'{"slug": "ab", "title": "x", "unknown": "\\ud800"}',
        b'{"slug": "\\ud800", "title": "\\ud800"}',
        b'{"slug": "ab", "title": "x", "description": ' + b'"' + b"y" * 5000 + b'"}',
    ],
    ids=lambda body: repr(body[:24]),
)
async def test_bodies_that_make_no_sense(admin: httpx.AsyncClient, body: bytes) -> None:
    answer = await admin.post(
        f"{API}/groups", content=body, headers={"Content-Type": "application/json"}
    )
    assert is_problem(answer, 400, 422)


async def test_text_that_no_database_stores_is_cleaned(admin: httpx.AsyncClient) -> None:
    answer = await admin.post(f"{API}/groups", json={"slug": "ab", "title": "a\x00b\u202ec"})
    assert answer.status_code == 201
    assert answer.json()["title"] == "abc"


@pytest.mark.parametrize(
    "path",
    [
        "/sessions?limit=0",
        "/sessions?limit=100000",
        "/sessions?before=%00",
        "/sessions?state=%00",
        "/sessions?user=%00",
        "/sessions?user=a%00b",
        "/sessions?since=0001-01-01T00:00:00Z&until=9999-12-31T23:59:59Z",
        "/sessions?since=2026-01-01",
        "/sessions?since=2026-01-01T00:00:00",
        "/usage?since=9999-12-31T23:59:59-23:59",
        "/usage?until=0001-01-01T00:00:00%2B23:59",
        "/usage?since=2027-01-01T00:00:00Z&until=2026-01-01T00:00:00Z",
        "/usage?by=shoe",
        "/usage?by=day&by=day&by=day&by=day&by=day",
        "/usage?group=' or 1=1--",
        "/sessions/not-a-uuid",
        "/audit?before=99999999999999999999999",
        "/audit?before=-1",
        "/users/..%2f..%2fetc",
        "/users/%00",
        "/groups/%ff%fe",
        "/users?limit=9999999",
    ],
)
async def test_parameters_that_make_no_sense(admin: httpx.AsyncClient, path: str) -> None:
    answer = await admin.get(f"{API}{path}")
    if answer.status_code != 200:
        assert is_problem(answer, 403, 404, 422)


async def test_a_search_takes_any_text(admin: httpx.AsyncClient) -> None:
    for text in ("%", "_", "\\", "'", "\x00", "\u202e", "x" * 200):
        answer = await admin.get(f"{API}/users", params={"search": text, "after": text[:32]})
        assert answer.status_code == 200, answer.text
    for name in ("user", "action"):
        answer = await admin.get(f"{API}/audit", params={name: "a\x00b"})
        assert answer.status_code == 200, answer.text


async def test_what_is_too_large_is_refused_before_it_is_read(as_hub: httpx.AsyncClient) -> None:
    answer = await as_hub.post(f"{API}/events", content=b" " * (5 * 1024**2))
    assert is_problem(answer, 413)

    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b" " * 65_536

    answer = await as_hub.post(f"{API}/events", content=endless())
    assert is_problem(answer, 413)
    answer = await as_hub.post(f"{API}/events", content=b"{}", headers={"Content-Length": "-1"})
    assert is_problem(answer, 413)


async def test_a_password_is_never_repeated(admin: httpx.AsyncClient) -> None:
    for body in (
        {"username": "Not A Name", "password": "hunter2-hunter2"},
        {"username": "fine", "password": ["hunter2-hunter2"]},
        {"username": "fine", "password": "hunter2-hunter2", "hunter2-hunter2": 1},
    ):
        answer = await admin.post(f"{API}/users", json=body)
        assert is_problem(answer, 422)
        if "hunter2-hunter2" not in body:
            assert "hunter2" not in answer.text


async def test_logins_with_anything_in_them_are_taken_or_refused(
    as_hub: httpx.AsyncClient,
) -> None:
    nasty = ["'; drop table person;--", "<b>", "\x00", "\u202e", "x" * 500, "名前", "a\nb", "{}"]
    for number, text in enumerate(nasty):
        record = {
            "issuer": f"https://idp.example/{text}"[:2000],
            "subject": text,
            "candidate": f"n{number}",
            "full_name": text,
            "email": text,
            "affiliations": [text, "y" * 10_000],
            "memberships": [{"provider_name": text, "role": "pi"}],
            "at": "2027-03-10T12:00:00Z",
        }
        answer = await as_hub.post(f"{API}/hub/logins", json=record)
        assert answer.status_code in (200, 422), answer.text


async def test_an_inner_error_tells_nothing_of_the_inside(
    admin: httpx.AsyncClient, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise RuntimeError("secret detail of the inside")

    monkeypatch.setattr(process.clock, "now", broken)
    answer = await admin.get(f"{API}/me")
    assert is_problem(answer, 500)
    assert "secret detail" not in answer.text
    assert "Traceback" not in answer.text


async def test_every_answer_carries_the_security_headers(admin: httpx.AsyncClient) -> None:
    for path in ("/health", "/me", "/nothing"):
        headers = (await admin.get(f"{API}{path}")).headers
        policy = headers["content-security-policy"]
        assert "default-src 'self'" in policy
        assert "frame-ancestors 'none'" in policy
        assert "unsafe-inline" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["cache-control"] == "no-store"
        assert "server" not in headers


async def test_a_sane_request_id_is_kept_and_another_replaced(admin: httpx.AsyncClient) -> None:
    async def sent(value: str) -> str:
        answer = await admin.get(f"{API}/health", headers={"X-Request-ID": value})
        return str(answer.headers["x-request-id"])

    assert await sent("abc-123") == "abc-123"
    for bad in ("", "a b", "x" * 65, "<script>", '{"a":1}'):
        assert await sent(bad) != bad


async def test_local_accounts_are_sent_again_only_when_they_changed(
    as_hub: httpx.AsyncClient, process: Process
) -> None:
    first = await as_hub.get(f"{API}/hub/local-accounts")
    assert [account["username"] for account in first.json()] == ["lola"]
    etag = first.headers["etag"]
    again = await as_hub.get(f"{API}/hub/local-accounts", headers={"If-None-Match": etag})
    assert (again.status_code, again.content) == (304, b"")
    from tests.server.world import OPERATOR

    async with process.factory() as services:
        await services.people().disable(OPERATOR, "lola", "left")
    changed = await as_hub.get(f"{API}/hub/local-accounts", headers={"If-None-Match": etag})
    assert changed.status_code == 200
    assert changed.json()[0]["disabled"] is True


async def test_the_status_tells_how_every_part_is(admin: httpx.AsyncClient, hub: RealHub) -> None:
    told = (await admin.get(f"{API}/status")).json()
    assert told["healthy"] is True
    assert told["database"]["answers"] is True
    assert told["database"]["size_bytes"] > 0
    assert told["hub"]["version"]
    assert told["people"] == 8
    assert told["running_sessions"] == 1


async def test_the_document_describes_every_problem(client: httpx.AsyncClient) -> None:
    document = (await client.get(f"{API}/openapi.json")).json()
    for path, methods in document["paths"].items():
        assert path.startswith(API)
        for method, operation in methods.items():
            assert operation["summary"], (path, method)
            for status, answer in operation["responses"].items():
                if int(status) >= 400:
                    assert list(answer["content"]) == ["application/problem+json"], (path, status)


ATTACKERS = ("adam", "mia", "hub")
EXAMPLES = 6


@pytest.mark.parametrize("who", ATTACKERS)
async def test_an_attack_with_the_document_in_hand_finds_no_inner_error(
    app: FastAPI,
    process: Process,
    world: World,
    tokens: dict[str, str],
    client: httpx.AsyncClient,
    who: str,
) -> None:
    """Valid and invalid requests for every operation, made from the OpenAPI document."""
    schema = schemathesis.openapi.from_dict(app.openapi())
    client.headers["Authorization"] = f"Bearer {tokens[who]}"
    asked = 0
    for result in schema.get_all_operations():
        operation = result.ok()
        for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):
            cases: list[Any] = []
            try:
                strategy = operation.as_strategy(generation_mode=mode)
            except Exception:  # noqa: BLE001  nothing invalid can be made without parameters
                continue
            collect(strategy, cases)
            for case in cases:
                arguments = case.as_transport_kwargs(base_url="http://dac.test")
                answer = await send(client, arguments)
                asked += 1
                assert answer.status_code < 500, (operation.label, arguments, answer.text)
    assert asked > 150


def collect(strategy: st.SearchStrategy[Any], into: list[Any]) -> None:
    @settings(
        max_examples=EXAMPLES,
        database=None,
        deadline=None,
        derandomize=True,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def take(case: Any) -> None:
        into.append(case)

    try:
        take()
    except Exception as error:
        if "Unsatisfiable" not in type(error).__name__:
            raise


async def send(client: httpx.AsyncClient, arguments: dict[str, Any]) -> httpx.Response:
    """Send a generated request as it is, as far as HTTP can carry it."""
    headers = {
        name: value.encode("utf-8", "surrogatepass") if isinstance(value, str) else value
        for name, value in (arguments.get("headers") or {}).items()
        if name.lower() != "authorization"
    }
    content: bytes | None = None
    if arguments.get("json") is not None:
        content = json.dumps(arguments["json"]).encode()
        headers.setdefault("Content-Type", b"application/json")
    elif isinstance(arguments.get("data"), bytes | str):
        data = arguments["data"]
        content = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    try:
        request = client.build_request(
            arguments["method"],
            arguments["url"],
            headers=headers,
            params=arguments.get("params") or None,
            content=content,
        )
    except (UnicodeError, httpx.InvalidURL, ValueError):
        return httpx.Response(400)
    return await client.send(request)
