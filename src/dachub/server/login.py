"""Signing in with a browser: the hub is the OAuth 2 provider (authorization code with PKCE)."""

from __future__ import annotations

import base64
import hashlib
import json
import secrets
from typing import Annotated
from urllib.parse import quote, unquote, urlencode

from fastapi import APIRouter, Query, Request
from fastapi.responses import RedirectResponse, Response

from dachub.model.problems import PermissionDenied
from dachub.server.auth import (
    PREFIX,
    SESSION_COOKIE,
    SESSION_SECONDS,
    Signer,
    session_cookie,
)
from dachub.server.cookies import COOKIE_PATH, set_cookie
from dachub.server.dependencies import CurrentProcess

CLIENT_ID = "service-dac"
CALLBACK = f"{PREFIX}/oauth_callback"
AUTHORIZE = "/hub/api/oauth2/authorize"
HUB_LOGOUT = "/hub/logout"
LOGIN_SECONDS = 600

router = APIRouter(include_in_schema=False)


class LoginFailed(PermissionDenied):
    """The hub or the browser did not bring back what was sent with it."""

    code = "login-failed"


def login_url(path: str) -> str:
    """Where to send a browser that has to sign in before it may see ``path``."""
    return f"{PREFIX}/login?next={quote(path, safe='')}"


def _safe(path: str) -> str:
    """``path`` if it is a page of ours, else the first page: no other host, nobody's server."""
    parts = unquote(path.split("?", 1)[0]).removeprefix(COOKIE_PATH).split("/")
    plain = path.isprintable() and "\\" not in path and not {".", ".."}.intersection(parts)
    inside = path.startswith(COOKIE_PATH) and "" not in parts[:-1]
    return path if plain and inside and len(path) < 2000 else COOKIE_PATH


def _state_cookie(state: str) -> str:
    return f"dachub-login-{state[:12]}"


@router.get("/login")
async def login(
    request: Request,
    process: CurrentProcess,
    target: Annotated[str, Query(alias="next", max_length=4000)] = COOKIE_PATH,
) -> Response:
    """Send the browser to the hub."""
    state, verifier = secrets.token_urlsafe(32), secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest())
    query = {
        "client_id": CLIENT_ID,
        "redirect_uri": CALLBACK,
        "response_type": "code",
        "state": state,
        "code_challenge": challenge.rstrip(b"=").decode(),
        "code_challenge_method": "S256",
    }
    response = _redirect(f"{AUTHORIZE}?{urlencode(query)}")
    # A cookie for each state: several tabs may sign in at once.
    begun = Signer(process.portal_secret, "login").sign(
        json.dumps({"state": state, "verifier": verifier, "next": _safe(target)})
    )
    set_cookie(response, request, process, _state_cookie(state), begun, LOGIN_SECONDS)
    return response


@router.get("/oauth_callback")
async def oauth_callback(
    request: Request,
    process: CurrentProcess,
    code: Annotated[str, Query(max_length=2000)] = "",
    state: Annotated[str, Query(max_length=200)] = "",
    error: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Take the browser back from the hub, signed in."""
    name = _state_cookie(state)
    kept = Signer(process.portal_secret, "login").read(request.cookies.get(name, ""), LOGIN_SECONDS)
    begun = json.loads(kept) if kept else {}
    if not state or not secrets.compare_digest(
        begun.get("state", "").encode(), state.encode("utf-8", "replace")
    ):
        raise LoginFailed(
            "This sign-in took too long, or your browser does not keep cookies for this site. "
            "Allow cookies, open the page again, and sign in once more."
        )
    token = None
    if code and not error:
        token = await process.hub.exchange_code(
            {
                "client_id": CLIENT_ID,
                "grant_type": "authorization_code",
                "code": code,
                "redirect_uri": CALLBACK,
                "code_verifier": begun["verifier"],
            }
        )
    if token is None:
        raise LoginFailed("The hub did not confirm who you are. Open the page again to sign in.")
    response = _redirect(begun["next"])
    response.delete_cookie(name, path=COOKIE_PATH)
    signed = session_cookie(process, token)
    set_cookie(response, request, process, SESSION_COOKIE, signed, SESSION_SECONDS)
    return response


@router.get("/logout")
async def logout() -> Response:
    """Sign out, here and at the hub, which ends the token as well."""
    response = _redirect(HUB_LOGOUT)
    response.delete_cookie(SESSION_COOKIE, path=COOKIE_PATH)
    return response


def _redirect(url: str) -> RedirectResponse:
    return RedirectResponse(url, status_code=302, headers={"Cache-Control": "no-store"})
