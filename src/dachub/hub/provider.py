"""The OpenID Connect provider over HTTP; every way it fails has a name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import httpx
from pydantic import BaseModel, ValidationError

from dachub.model.problems import DachubError

DISCOVERY_SECONDS = 3600.0
ANSWER_BYTES_MAX = 1_000_000
BASIC = "client_secret_basic"


class ProviderDown(DachubError):
    """The provider does not answer in time, or answers 5xx."""

    code = "provider-down"
    status = 503


class ProviderNonsense(DachubError):
    """The provider answers something that is not OpenID Connect."""

    code = "provider-nonsense"
    status = 502


class ClientRefused(DachubError):
    """The provider does not accept our client: secret wrong or expired, registration gone."""

    code = "provider-refuses-client"
    status = 502


class GrantRefused(DachubError):
    """The provider does not accept the person's code or token (any more)."""

    code = "grant-refused"
    status = 403


class Endpoints(BaseModel):
    """What we need of the discovery document."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    userinfo_endpoint: str
    # The standard's default where the provider says nothing.
    token_endpoint_auth_methods_supported: list[str] = [BASIC]


class Provider:
    """Talks to one provider. Discovery is cached; an old copy serves while the provider is down.

    Parameters
    ----------
    issuer
        As configured; the provider must call itself the same.
    client_id, client_secret
        Of our registration there.
    timeout_seconds
        Limit of each exchange.
    """

    def __init__(
        self, issuer: str, client_id: str, client_secret: str, timeout_seconds: float
    ) -> None:
        self.issuer = issuer.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._timeout_seconds = timeout_seconds
        self._client = httpx.AsyncClient(
            timeout=timeout_seconds, limits=httpx.Limits(max_connections=50), follow_redirects=False
        )
        self._endpoints: Endpoints | None = None
        self._discovered_at = 0.0
        self._lock = asyncio.Lock()

    async def endpoints(self) -> Endpoints:
        """Where the provider listens.

        Raises
        ------
        ProviderDown, ProviderNonsense
            If it was never discovered and cannot be now.
        """
        async with self._lock:
            if self._endpoints and time.monotonic() - self._discovered_at < DISCOVERY_SECONDS:
                return self._endpoints
            try:
                self._endpoints = await self._discover()
            except (ProviderDown, ProviderNonsense):
                if self._endpoints is None:
                    raise
            self._discovered_at = time.monotonic()
            return self._endpoints

    async def tokens(self, form: Mapping[str, str]) -> dict[str, Any]:
        """Exchange a code or refresh token.

        Raises
        ------
        ProviderDown, ProviderNonsense, ClientRefused, GrantRefused
        """
        endpoints = await self.endpoints()
        ours = (self._client_id, self._client_secret)
        request: dict[str, Any]
        if BASIC in endpoints.token_endpoint_auth_methods_supported:
            request = {"data": dict(form), "auth": tuple(quote(part, safe="") for part in ours)}
        else:
            request = {"data": {**form, "client_id": ours[0], "client_secret": ours[1]}}
        status, answer = await self._ask("POST", endpoints.token_endpoint, **request)
        error = answer.get("error")
        if error in {"invalid_client", "unauthorized_client"} or (status == 401 and not error):
            raise ClientRefused(f"The provider refuses our client: {_shown(answer)}")
        if error or status >= 400:
            raise GrantRefused(f"The provider refuses the grant: {_shown(answer)}")
        token, kind = answer.get("access_token"), answer.get("token_type")
        if not isinstance(token, str) or not token or not isinstance(kind, str):
            raise ProviderNonsense("The provider's token answer holds no access token")
        return answer

    async def claims(self, access_token: str) -> dict[str, Any]:
        """What the provider says of the person now.

        Raises
        ------
        ProviderDown, ProviderNonsense, GrantRefused
        """
        endpoints = await self.endpoints()
        status, answer = await self._ask(
            "GET",
            endpoints.userinfo_endpoint,
            headers={"Authorization": f"Bearer {access_token}"},
        )
        if status in {400, 401, 403}:
            raise GrantRefused(f"The provider refuses the access token: {_shown(answer)}")
        if status >= 400:
            raise ProviderNonsense(f"The provider's userinfo answers {status}")
        return answer

    async def _discover(self) -> Endpoints:
        url = f"{self.issuer}/.well-known/openid-configuration"
        status, document = await self._ask("GET", url)
        if status != 200:
            raise ProviderNonsense(f"The provider's discovery {url} answers {status}")
        try:
            endpoints = Endpoints.model_validate(document)
        except ValidationError as error:
            raise ProviderNonsense(
                f"The provider's discovery {url} lacks what OpenID Connect needs"
            ) from error
        if endpoints.issuer.rstrip("/") != self.issuer:
            raise ProviderNonsense(
                f"The provider at {self.issuer} calls itself {endpoints.issuer[:200]}"
            )
        return endpoints

    async def _ask(self, method: str, url: str, **request: Any) -> tuple[int, dict[str, Any]]:
        request["headers"] = {"Accept": "application/json", **request.get("headers", {})}
        body = b""
        try:
            async with (
                asyncio.timeout(self._timeout_seconds),
                self._client.stream(method, url, **request) as answer,
            ):
                async for part in answer.aiter_bytes():
                    body += part
                    if len(body) > ANSWER_BYTES_MAX:
                        raise ProviderNonsense(f"The provider's answer from {url} has no end")
        except (httpx.HTTPError, httpx.InvalidURL, OSError, TimeoutError) as error:
            raise ProviderDown(
                f"The provider does not answer at {url}: {error or type(error).__name__}"
            ) from error
        if answer.status_code >= 500 or answer.status_code == 429:
            raise ProviderDown(f"The provider answers {answer.status_code} at {url}")
        try:
            parsed = httpx.Response(answer.status_code, content=body).json()
        except ValueError:
            parsed = None
        if not isinstance(parsed, dict):
            if answer.status_code < 400:
                raise ProviderNonsense(f"The provider's answer from {url} is no JSON object")
            parsed = {}
        return answer.status_code, parsed


def _shown(answer: Mapping[str, Any]) -> str:
    text = f"{answer.get('error', 'no reason given')} {answer.get('error_description', '')}"
    return " ".join(text.split())[:300]
