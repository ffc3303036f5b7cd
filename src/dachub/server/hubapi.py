"""JupyterHub's REST API, as far as the service needs it."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
import structlog
from pydantic import BaseModel, ConfigDict, ValidationError

from dachub.accounting.models import ActiveServer
from dachub.infra.logging import request_id
from dachub.model.problems import DachubError
from dachub.model.sessions import SessionDescription

log = structlog.get_logger(__name__)

PAGE = 50  # The hub does nothing else while it makes one, which takes it some ms a person.
# Without it the hub counts once more, and warns that the page is not all there is.
PAGED = "application/jupyterhub-pagination+json"
TOKEN_ANSWERS_KEPT_SECONDS = 30.0
TOKEN_ANSWERS_MAX = 10_000


class HubUnavailable(DachubError):
    """The hub does not answer, or refuses us."""

    code = "hub-unavailable"
    status = 503


class TokenOwner(BaseModel):
    """Whom a token belongs to, and what it may do."""

    model_config = ConfigDict(frozen=True)

    name: str
    kind: str = "user"
    scopes: frozenset[str] = frozenset()


class HubAPI:
    """Talks to the hub with the service's own token.

    Parameters
    ----------
    url
        Such as ``http://127.0.0.1:8081/hub/api``.
    """

    def __init__(
        self, url: str, token: str, *, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._token = token
        self._url = url
        self._client = httpx.AsyncClient(
            base_url=url,
            timeout=httpx.Timeout(10, connect=3),
            transport=transport,
            # The hub is near: no proxy that the environment may name comes between.
            trust_env=False,
        )
        self._owners: dict[str, tuple[float, TokenOwner | None]] = {}

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def version(self) -> str:
        """JupyterHub's version.

        Raises
        ------
        HubUnavailable
        """
        return str((await self._json("GET", "/"))["version"])

    async def active_servers(self) -> list[ActiveServer]:
        """All servers that run, start or stop, with the sessions the hub keeps in their state.

        Raises
        ------
        HubUnavailable
        """
        found: list[ActiveServer] = []
        offset = 0
        while True:
            params = {"state": "active", "offset": offset, "limit": PAGE}
            page = await self._json("GET", "/users", accept=PAGED, params=params)
            for user in page["items"]:
                servers = (user.get("servers") or {}).values()
                found += [
                    _active(user["name"], each) for each in servers if not each.get("stopped")
                ]
            if page["_pagination"]["next"] is None:
                return found
            offset += PAGE

    async def servers_of(self, username: str) -> list[str]:
        """Names of a person's active servers.

        Raises
        ------
        HubUnavailable
        """
        answer = await self._request("GET", f"/users/{_quote(username)}")
        if answer.status_code == 404:
            return []
        self._check(answer)
        servers = (answer.json().get("servers") or {}).values()
        return [server.get("name") or "" for server in servers if not server.get("stopped")]

    async def stop_server(self, username: str, server_name: str) -> bool:
        """Ask the hub to stop a server; ``True`` once it has stopped (or never ran).

        Raises
        ------
        HubUnavailable
        """
        path = f"/users/{_quote(username)}/server"
        if server_name:
            path = f"/users/{_quote(username)}/servers/{_quote(server_name)}"
        answer = await self._request("DELETE", path)
        if answer.status_code in (204, 404):
            return True
        # 202: stopping; 400: pending start or stop, ask again.
        if answer.status_code not in (202, 400):
            self._check(answer)
        return False

    async def delete_tokens(self, username: str) -> None:
        """Delete all tokens of a person, those of their servers included.

        Raises
        ------
        HubUnavailable
        """
        path = f"/users/{_quote(username)}/tokens"
        answer = await self._request("GET", path)
        if answer.status_code == 404:
            return
        self._check(answer)
        for token in answer.json().get("api_tokens", []):
            gone = await self._request("DELETE", f"{path}/{_quote(str(token['id']))}")
            if gone.status_code != 404:
                self._check(gone)
        self.forget_tokens()

    async def delete_user(self, username: str) -> bool:
        """Have the hub forget a person; ``False`` while a server of theirs still stops.

        Raises
        ------
        HubUnavailable
        """
        answer = await self._request("DELETE", f"/users/{_quote(username)}")
        if answer.status_code == 400:
            return False
        if answer.status_code != 404:
            self._check(answer)
        self.forget_tokens()
        return True

    def forget_tokens(self) -> None:
        """Look every token up again when it is next used."""
        self._owners.clear()

    async def user_for_token(self, token: str, *, session_id: str = "") -> TokenOwner | None:
        """Whom a token belongs to; the hub's answer is kept for half a minute.

        Parameters
        ----------
        session_id
            The browser's hub session: logging out changes it and so ends what is kept.

        Raises
        ------
        HubUnavailable
        """
        key = hashlib.sha256(f"{session_id}\n{token}".encode("utf-8", "replace")).hexdigest()
        now = time.monotonic()
        kept = self._owners.get(key)
        if kept is not None and now - kept[0] < TOKEN_ANSWERS_KEPT_SECONDS:
            return kept[1]
        owner = await self._owner(token)
        if len(self._owners) >= TOKEN_ANSWERS_MAX:
            self._owners.clear()
        self._owners[key] = (now, owner)
        return owner

    async def _owner(self, token: str) -> TokenOwner | None:
        if not token.isascii() or not token.isprintable() or " " in token or len(token) > 4096:
            return None
        answer = await self._request("GET", "/user", token=token)
        if answer.status_code in (401, 403, 404):
            return None
        self._check(answer)
        return TokenOwner.model_validate(answer.json())

    async def exchange_code(self, form: Mapping[str, str]) -> str | None:
        """Turn an authorization code into a token; ``None`` if the hub refuses the code.

        Raises
        ------
        HubUnavailable
        """
        try:
            answer = await self._client.post(
                "/oauth2/token", data={**form, "client_secret": self._token}
            )
        except httpx.HTTPError as error:
            raise self._unavailable(error) from error
        if 400 <= answer.status_code < 500:
            log.warning("hub refused an authorization code", status=answer.status_code)
            return None
        self._check(answer)
        return str(answer.json()["access_token"])

    async def _json(self, method: str, path: str, **arguments: Any) -> Any:
        answer = await self._request(method, path, **arguments)
        self._check(answer)
        return answer.json()

    async def _request(
        self,
        method: str,
        path: str,
        *,
        token: str | None = None,
        accept: str = "application/json",
        **arguments: Any,
    ) -> httpx.Response:
        headers = {"Authorization": f"token {token or self._token}", "Accept": accept}
        if (current := request_id.get()) is not None:
            headers["X-Request-ID"] = current
        try:
            return await self._client.request(method, path, headers=headers, **arguments)
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> HubUnavailable:
        log.warning("hub does not answer", url=self._url, error=type(error).__name__)
        return HubUnavailable("The hub does not answer at the moment. Try again in a minute.")

    def _check(self, answer: httpx.Response) -> None:
        if answer.is_success:
            return
        log.warning(
            "hub refused a request",
            method=answer.request.method,
            path=answer.request.url.path,
            status=answer.status_code,
        )
        raise HubUnavailable(
            f"The hub answered {answer.status_code} to the service. Try again in a minute; "
            "an administrator finds the reason in the logs."
        )


def _quote(part: str) -> str:
    return quote(part, safe="")


def _active(username: str, server: Mapping[str, Any]) -> ActiveServer:
    state = server.get("state") or {}
    session = None
    try:
        session = (
            SessionDescription.model_validate(state["session"]) if "session" in state else None
        )
    except ValidationError:
        log.warning("the hub's state of a server cannot be read", username=username)
    return ActiveServer(
        username=username,
        server_name=server.get("name") or "",
        ready=bool(server.get("ready")),
        waits=session is None and server.get("pending") == "spawn",
        session_id=session.session_id if session else None,
        session=session,
        started_at=state.get("started_at") if session else None,
        hub_started_at=server.get("started"),
        last_activity_at=server.get("last_activity"),
    )
