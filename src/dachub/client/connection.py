"""The client's HTTP: one request a call, every failure a message that says what to do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from dachub.client.errors import BadAnswer, NotConfigured, RequestRefused, ServiceUnreachable

if TYPE_CHECKING:
    import httpx
    from pydantic import TypeAdapter

    from dachub.model.problems import Problem

API_PATH = "/services/dac/api/v1"
CONNECT_RETRIES = 2
Parameters = Mapping[str, str | int | list[str] | None]


def api_address(url: str) -> str:
    """Address of the API, from its own or from the platform's.

    Raises
    ------
    NotConfigured
        If ``url`` is no http(s) address.
    """
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:  # such as http://[::1
        valid = False
    if not valid:
        raise NotConfigured(
            f"'{url}' is not an address. Give the platform's, such as https://dac.example.org."
        )
    address = url.rstrip("/")
    return address if address.endswith(API_PATH) else address.removesuffix("/hub") + API_PATH


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Connection:
    """Requests to the service with a person's token.

    Parameters
    ----------
    url
        Address of the API or of the platform; ``DACHUB_API_URL`` where not given.
    token
        A JupyterHub token; ``JUPYTERHUB_API_TOKEN`` where not given.
    timeout_seconds
        For connecting, and for every pause in the answer.

    Raises
    ------
    NotConfigured
        If an address or a token is missing.
    """

    def __init__(
        self, url: str | None = None, token: str | None = None, *, timeout_seconds: float = 30
    ) -> None:
        url = url or os.environ.get("DACHUB_API_URL")
        if not url:
            raise NotConfigured(
                "This program does not run in a server of the platform, so its address is not "
                "known. Use DAC(url='https://<the platform>', token='<a token>')."
            )
        self.url = api_address(url)
        token = token or os.environ.get("JUPYTERHUB_API_TOKEN")
        if not token:
            raise NotConfigured(
                f"No token is known. Request one at {self._token_page} "
                "and give it as DAC(url=..., token='...')."
            )
        self._token = token
        self._timeout_seconds = timeout_seconds

    @property
    def _token_page(self) -> str:
        return self.url.removesuffix(API_PATH) + "/hub/token"

    def get(self, path: str, answer: TypeAdapter[Any], parameters: Parameters | None = None) -> Any:
        """Ask ``GET path`` and validate the answer.

        Raises
        ------
        ServiceUnreachable
            If it does not answer, or cannot at the moment.
        RequestRefused
            If it answers with a problem.
        BadAnswer
            If something else answers.
        """
        response = self._send(path, parameters or {})
        if not response.is_success:
            raise self._error(response)
        try:
            return answer.validate_json(response.content)
        except ValueError as error:  # pydantic's ValidationError is one
            raise BadAnswer(
                f"{self.url} answered what this client does not understand. "
                "Is it the platform's address? If so, update dachub in this environment."
            ) from error

    def _send(self, path: str, parameters: Parameters) -> httpx.Response:
        import httpx

        # A proxy from the environment has no way to a loopback address, and must not see the token.
        trust_env = not _is_loopback(self.url)
        transport = httpx.HTTPTransport(retries=CONNECT_RETRIES, trust_env=trust_env)
        try:
            with httpx.Client(
                transport=None if trust_env else transport,
                trust_env=trust_env,
                timeout=self._timeout_seconds,
                headers={"Authorization": f"token {self._token}", "Accept": "application/json"},
            ) as client:
                present = {key: value for key, value in parameters.items() if value is not None}
                return client.get(self.url + path, params=present)
        except httpx.TransportError as error:
            raise ServiceUnreachable(
                f"{self.url} does not answer ({type(error).__name__}). Your server and your files "
                "are not affected: try again in a minute; if it stays so, tell your administrator."
            ) from error

    def _error(self, response: httpx.Response) -> Exception:
        if response.status_code in {502, 503, 504}:
            return ServiceUnreachable(
                "The service is not available at the moment. Your server and your files are not "
                "affected: try again in a minute; if it stays so, tell your administrator."
            )
        from dachub.model.problems import Problem

        problem: Problem | None
        try:
            problem = Problem.model_validate_json(response.content)
        except ValueError:
            problem = None
        if response.status_code == 401:
            return RequestRefused(
                f"The token is not valid, or no longer. Request a new one at {self._token_page}; "
                "in a notebook of the platform, restart the server.",
                problem or Problem(title="", status=401, code="unauthorized", detail=""),
            )
        if problem is None:
            return BadAnswer(
                f"{self.url} answered {response.status_code} and is not the platform's API. "
                "Check the address: it looks like https://<the platform>" + API_PATH + "."
            )
        traceable = problem.status >= 500 and problem.request_id
        hint = f" (request {problem.request_id})" if traceable else ""
        return RequestRefused(problem.detail + hint, problem)
