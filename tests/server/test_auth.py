"""Who calls: real tokens of a real hub, cookies, forged requests, and a hub that is away."""

from __future__ import annotations

from urllib.parse import parse_qs, urlsplit

import httpx
import pytest
from fastapi import FastAPI
from tests.server.conftest import PUBLIC_URL
from tests.server.realhub import RealHub
from tests.server.world import GROUP, HUB_TOKEN, OPERATOR

from dachub.directory.models import PrincipalKind
from dachub.server.auth import SESSION_COOKIE, Signer, session_cookie
from dachub.server.factory import Process

API = "/services/dac/api/v1"

pytestmark = pytest.mark.hub


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


async def test_a_persons_token_is_the_person(
    client: httpx.AsyncClient, tokens: dict[str, str]
) -> None:
    for scheme in ("Bearer", "token", "bearer"):
        answer = await client.get(
            f"{API}/me", headers={"Authorization": f"{scheme} {tokens['pia']}"}
        )
        assert answer.status_code == 200
        assert answer.json()["username"] == "pia"


async def test_a_servers_token_acts_for_the_person_but_never_administers(
    client: httpx.AsyncClient, tokens: dict[str, str]
) -> None:
    answer = await client.get(f"{API}/me", headers=bearer(tokens["adam's server"]))
    assert answer.json()["username"] == "adam"
    assert answer.json()["administrator"]
    for path in ("/users", "/status", "/audit"):
        answer = await client.get(f"{API}{path}", headers=bearer(tokens["adam's server"]))
        assert (answer.status_code, answer.json()["code"]) == (403, "permission-denied")
        assert (await client.get(f"{API}{path}", headers=bearer(tokens["adam"]))).is_success


async def test_a_lesser_token_of_a_person_does_not_administer(
    client: httpx.AsyncClient, hub: RealHub
) -> None:
    lesser = hub.token("adam", scopes=["access:services!service=dac"])
    assert (await client.get(f"{API}/me", headers=bearer(lesser))).is_success
    assert (await client.get(f"{API}/users", headers=bearer(lesser))).status_code == 403


async def test_a_token_for_something_else_is_refused(
    client: httpx.AsyncClient, hub: RealHub
) -> None:
    other = hub.token("pia", scopes=["users:activity!user"])
    answer = await client.get(f"{API}/me", headers=bearer(other))
    assert answer.status_code == 403
    assert "access:services!service=dac" in answer.json()["detail"]


@pytest.mark.parametrize(
    "header",
    ["Bearer nonsense", "Basic cGlhOnB3", "Bearer", "", "Bearer a b", "token \x00", "Bearer \xff"],
)
async def test_what_is_no_token_is_nobody(client: httpx.AsyncClient, header: str) -> None:
    answer = await client.get(f"{API}/me", headers={"Authorization": header.encode("latin-1")})
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == "Bearer"
    assert answer.json()["code"] == "not-authenticated"


async def test_a_services_token_is_no_person(client: httpx.AsyncClient, hub: RealHub) -> None:
    answer = await client.get(f"{API}/me", headers=bearer(hub.service_token))
    assert answer.status_code == 401


async def test_somebody_the_directory_does_not_know_yet_is_told_so(
    client: httpx.AsyncClient, hub: RealHub
) -> None:
    answer = await client.get(f"{API}/me", headers=bearer(hub.token("newcomer")))
    assert (answer.status_code, answer.json()["code"]) == (403, "not-registered")


async def test_a_deleted_token_is_dead_within_half_a_minute(
    client: httpx.AsyncClient, hub: RealHub, process: Process, monkeypatch: pytest.MonkeyPatch
) -> None:
    from dachub.server import hubapi

    token = hub.token("max")
    assert (await client.get(f"{API}/me", headers=bearer(token))).is_success
    for known in hub.api("GET", "/users/max/tokens")["api_tokens"]:
        hub.api("DELETE", f"/users/max/tokens/{known['id']}")
    now = hubapi.time.monotonic()
    monkeypatch.setattr(hubapi.time, "monotonic", lambda: now + 31)
    assert (await client.get(f"{API}/me", headers=bearer(token))).status_code == 401


async def test_a_disabled_person_is_refused_at_the_next_request(
    client: httpx.AsyncClient, process: Process, tokens: dict[str, str]
) -> None:
    assert (await client.get(f"{API}/me", headers=bearer(tokens["oscar"]))).is_success
    async with process.factory() as services:
        await services.people().disable(OPERATOR, "oscar", "left")
    answer = await client.get(f"{API}/me", headers=bearer(tokens["oscar"]))
    assert (answer.status_code, answer.json()["code"]) == (403, "account-disabled")
    assert "left" in answer.json()["detail"]


async def test_roles_count_from_the_next_request_on(
    client: httpx.AsyncClient, process: Process, tokens: dict[str, str]
) -> None:
    path = f"{API}/usage?group={GROUP}&user=mia"
    assert (await client.get(path, headers=bearer(tokens["vera"]))).status_code == 403
    async with process.factory() as services:
        from dachub.model.people import Role

        await services.groups().put_member(OPERATOR, GROUP, "vera", Role.MANAGER)
    assert (await client.get(path, headers=bearer(tokens["vera"]))).is_success


async def test_a_hub_that_is_away_is_said_to_be_away(app: FastAPI, process: Process) -> None:
    process.hub._client.base_url = httpx.URL("http://127.0.0.1:1/hub/api")
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url=PUBLIC_URL) as client:
        answer = await client.get(f"{API}/me", headers=bearer("some-token"))
        assert (answer.status_code, answer.json()["code"]) == (503, "hub-unavailable")
        assert answer.headers["retry-after"]
        # What needs no hub goes on.
        answer = await client.get(f"{API}/hub/local-accounts", headers=bearer(HUB_TOKEN))
        assert answer.is_success
        assert (await client.get(f"{API}/health")).is_success


# -- browsers ---------------------------------------------------------------------------------


async def sign_in_through_the_hub(
    browser: httpx.AsyncClient, hub: RealHub, username: str, start: str
) -> httpx.Response:
    """Follow the redirects as a browser does: the portal here, the hub at its own address."""
    answer = await browser.get(start)
    assert answer.status_code == 302
    assert answer.headers["location"].startswith("/services/dac/login?next=")
    answer = await browser.get(answer.headers["location"])
    authorize = answer.headers["location"]
    assert authorize.startswith("/hub/api/oauth2/authorize?")
    query = parse_qs(urlsplit(authorize).query)
    assert query["code_challenge_method"] == ["S256"]
    location = hub.sign_in(username, authorize)
    assert urlsplit(location).path == "/services/dac/oauth_callback"
    return await browser.get(location)


async def test_a_browser_signs_in_through_the_hub_and_out_again(
    client: httpx.AsyncClient, hub: RealHub
) -> None:
    answer = await sign_in_through_the_hub(
        client, hub, "pia", f"/services/dac/groups/{GROUP}?from=mail"
    )
    assert answer.status_code == 302, answer.text
    assert answer.headers["location"] == f"/services/dac/groups/{GROUP}?from=mail"
    cookies = [value.lower() for value in answer.headers.get_list("set-cookie")]
    (session,) = [value for value in cookies if value.startswith(SESSION_COOKIE)]
    assert "httponly" in session
    assert "samesite=lax" in session
    assert "path=/services/dac/" in session
    assert (await client.get(f"{API}/me")).json()["username"] == "pia"
    answer = await client.get("/services/dac/logout")
    assert answer.headers["location"] == "/hub/logout"
    assert (await client.get(f"{API}/me")).status_code == 401


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example/",
        "//evil.example",
        "/services/dac//evil",
        "/services/dac/\\evil",
        "/hub",
    ],
)
async def test_signing_in_leads_to_no_other_place(
    client: httpx.AsyncClient, hub: RealHub, process: Process, target: str
) -> None:
    answer = await client.get("/services/dac/login", params={"next": target})
    (name,) = [cookie for cookie in client.cookies if cookie.startswith("dachub-login-")]
    kept = Signer(process.portal_secret, "login").read(client.cookies[name], 60)
    assert kept is not None
    assert '"next": "/services/dac/"' in kept
    assert answer.headers["location"].startswith("/hub/api/oauth2/authorize?")


async def test_a_sign_in_that_somebody_else_began_is_refused(client: httpx.AsyncClient) -> None:
    answer = await client.get("/services/dac/oauth_callback?code=abc&state=of-another-browser")
    assert answer.status_code == 403
    assert SESSION_COOKIE not in client.cookies


async def test_a_code_that_the_hub_refuses_signs_nobody_in(
    client: httpx.AsyncClient, hub: RealHub
) -> None:
    answer = await client.get("/services/dac/login")
    state = parse_qs(urlsplit(answer.headers["location"]).query)["state"][0]
    answer = await client.get(f"/services/dac/oauth_callback?code=made-up&state={state}")
    assert answer.status_code == 403
    assert SESSION_COOKIE not in client.cookies


async def test_a_cookie_that_we_did_not_sign_is_nobodys(
    client: httpx.AsyncClient, tokens: dict[str, str], process: Process
) -> None:
    for forged in (tokens["adam"], "x", Signer("guess", "session").sign(tokens["adam"])):
        client.cookies.set(SESSION_COOKIE, forged)
        assert (await client.get(f"{API}/me")).status_code == 401
    assert PrincipalKind.PERSON  # the same token, signed by us, is adam's:
    client.cookies.clear()
    client.cookies.set(SESSION_COOKIE, session_cookie(process, tokens["adam"]))
    assert (await client.get(f"{API}/users")).is_success


async def test_writes_with_a_cookie_come_from_our_own_pages_only(
    client: httpx.AsyncClient, tokens: dict[str, str], process: Process
) -> None:
    client.cookies.set(SESSION_COOKIE, session_cookie(process, tokens["adam"]))
    token = Signer(process.portal_secret, "csrf:adam").sign("")
    other = Signer(process.portal_secret, "csrf:pia").sign("")
    group = {"slug": "made", "title": "Made"}

    async def post(**headers: str) -> int:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        return (await client.post(f"{API}/groups", json=group, headers=sent)).status_code

    assert await post() == 403
    assert await post(x_csrf_token=other) == 403
    assert await post(x_csrf_token=token, origin="https://evil.example") == 403
    assert await post(x_csrf_token=token, origin="null") == 403
    assert await post(x_csrf_token=token, sec_fetch_site="cross-site") == 403
    assert await post(x_csrf_token=token, sec_fetch_site="same-site") == 403
    assert await post(x_csrf_token=token, origin=PUBLIC_URL, sec_fetch_site="same-origin") == 201
