"""Who is calling: from the token or the cookie of a request to a principal of this moment."""

from __future__ import annotations

import hmac
import re

from fastapi import Request
from itsdangerous import BadData, URLSafeTimedSerializer

from dachub.directory.models import Principal, PrincipalKind
from dachub.model.names import is_username
from dachub.model.problems import DachubError, NotFound, PermissionDenied
from dachub.server.factory import Process
from dachub.server.hubapi import TokenOwner

PREFIX = "/services/dac"
API = f"{PREFIX}/api/v1"
SESSION_COOKIE = "dachub-session"
HUB_SESSION_COOKIE = "jupyterhub-session-id"
SESSION_SECONDS = 14 * 24 * 3600
CSRF_HEADER = "X-CSRF-Token"
CSRF_SECONDS = 12 * 3600
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})

_AUTHORIZATION = re.compile(r"(?:bearer|token)\s+(\S+)\s*", re.IGNORECASE)


class NotAuthenticated(DachubError):
    """Nobody we know."""

    code = "not-authenticated"
    status = 401


class NotRegistered(PermissionDenied):
    """The hub knows the person, the directory does not yet."""

    code = "not-registered"


class Forged(PermissionDenied):
    """A request that a browser sent with its cookie, but that did not come from our own pages."""

    code = "request-not-trusted"


async def authenticate(request: Request, process: Process) -> Principal:
    """Who sent ``request``; people are looked up in the directory every time.

    In a transaction of its own, over before the handler's begins: no request ever holds one
    connection while it waits for another, or for the hub.

    Raises
    ------
    NotAuthenticated
        Without a token or cookie that the hub (still) vouches for.
    AccountDisabled
        If the person is disabled, from that moment on.
    HubUnavailable
        If the hub would have to be asked and does not answer.
    """
    header = request.headers.get("authorization")
    if header is None:
        return await _from_cookie(request, process)
    match = _AUTHORIZATION.fullmatch(header)
    if match is None:
        raise NotAuthenticated("Send 'Authorization: Bearer <token>'.")
    token = match[1]
    if process.hub_token and hmac.compare_digest(token.encode(), process.hub_token.encode()):
        return Principal(name="hub", kind=PrincipalKind.HUB)
    owner = await process.hub.user_for_token(token)
    if owner is None:
        raise NotAuthenticated("The hub does not know this token, or it has expired.")
    return await _principal(process, owner, _kind(owner))


async def _from_cookie(request: Request, process: Process) -> Principal:
    token = _signer(process, "session").read(
        request.cookies.get(SESSION_COOKIE, ""), SESSION_SECONDS
    )
    if token is None:
        raise NotAuthenticated(
            "Sign in first: in a browser at the hub's address, in a program with a token."
        )
    owner = await process.hub.user_for_token(
        token, session_id=request.cookies.get(HUB_SESSION_COOKIE, "")
    )
    if owner is None:
        raise NotAuthenticated("You were signed out; sign in again.")
    _require_own_page(request, process, owner.name)
    return await _principal(process, owner, PrincipalKind.PERSON)


def _kind(owner: TokenOwner) -> PrincipalKind:
    """A person's own token can do all they can; any lesser one acts as a server's does.

    Servers' tokens are bound to their server and cannot make tokens: nothing that runs in a server
    becomes an administrator by them.
    """
    of_a_server = any("!server=" in scope for scope in owner.scopes)
    whole = not owner.scopes.isdisjoint({"tokens", f"tokens!user={owner.name}"})
    return PrincipalKind.PERSON if whole and not of_a_server else PrincipalKind.SERVER


async def _principal(process: Process, owner: TokenOwner, kind: PrincipalKind) -> Principal:
    if owner.kind != "user" or not is_username(owner.name):
        raise NotAuthenticated("This token belongs to no person.")
    if owner.scopes.isdisjoint({"access:services", "access:services!service=dac"}):
        raise PermissionDenied(
            "This token may not be used here: it lacks the scope 'access:services!service=dac'."
        )
    try:
        async with process.factory() as services:
            return await services.people().principal(owner.name, kind)
    except NotFound:
        raise NotRegistered(
            "Your sign-in has not reached this service yet. It will within minutes; "
            "signing out and in again does it at once."
        ) from None


def _require_own_page(request: Request, process: Process, username: str) -> None:
    """Raise unless what came with the browser's cookie was asked for by a page of ours.

    People's servers share our host name: what runs on a page of theirs sends the cookie too, and
    the browser tells it from ours by nothing but this. Whoever opens a page or sends a form of ours
    navigates (the portal checks the token in the form); a script must show a token of our pages in
    a header, as must whatever changes something through the REST API.

    Raises
    ------
    Forged
    """
    is_read = request.method in SAFE_METHODS
    origin = request.headers.get("origin")
    own = f"{request.url.scheme}://{request.url.netloc}"
    site = request.headers.get("sec-fetch-site", "same-origin")
    if not is_read and (
        site not in {"same-origin", "none"} or origin not in {None, own, process.public_origin}
    ):
        raise Forged("This was sent from another site; nothing was changed.")
    navigates = request.headers.get("sec-fetch-mode", "navigate") == "navigate"
    if navigates and (is_read or not request.url.path.startswith(f"{API}/")):
        return
    if _csrf(process, username).read(request.headers.get(CSRF_HEADER, ""), CSRF_SECONDS) is None:
        raise Forged(
            f"Scripts must show a token of the page they run on, in the header {CSRF_HEADER}; this "
            "one is missing or too old, and nothing was changed. Open the address in a tab of its "
            "own, or load the page again and repeat what you wanted to do."
        )


class Signer:
    """Signs short texts that come back from a browser."""

    def __init__(self, secret: str, purpose: str) -> None:
        self._serializer = URLSafeTimedSerializer(secret, salt=purpose)

    def sign(self, value: str) -> str:
        """``value`` with a signature and the time."""
        return self._serializer.dumps(value)

    def read(self, signed: str, max_age_seconds: int) -> str | None:
        """The value, or ``None`` if it is not ours or too old."""
        try:
            return str(self._serializer.loads(signed, max_age=max_age_seconds))
        except BadData:
            return None


def _signer(process: Process, purpose: str) -> Signer:
    return Signer(process.portal_secret, purpose)


def _csrf(process: Process, username: str) -> Signer:
    return Signer(process.portal_secret, f"csrf:{username}")


def session_cookie(process: Process, token: str) -> str:
    """Content of the session cookie for a token."""
    return _signer(process, "session").sign(token)
