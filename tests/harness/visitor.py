"""A person at the hub, without a browser: form login with its XSRF cookie, then REST."""

from __future__ import annotations

import re
import ssl
from typing import Any, Self

import httpx
from tests.harness.waiting import until

XSRF = "_xsrf"
# Made anew for each call, as httpx does, it would cost more than the call; nothing here is TLS.
NO_TLS = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


class Visitor:
    """A person with a cookie jar of their own.

    Parameters
    ----------
    url
        Where the platform is.
    token
        Of somebody who has one already, and need not log in.
    """

    def __init__(
        self, url: str, username: str, password: str = "", token: str | None = None
    ) -> None:
        self.url = url
        self.username = username
        self._password = password
        self._token = token
        self.http = httpx.Client(
            base_url=url, follow_redirects=True, timeout=30, trust_env=False, verify=NO_TLS
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.http.close()

    @property
    def xsrf(self) -> str:
        """The newest XSRF token the hub gave."""
        values = [c.value for c in self.http.cookies.jar if c.name == XSRF and c.path == "/hub/"]
        return values[-1] or "" if values else ""

    def login(self) -> httpx.Response:
        """Fill in the hub's login form; gives the page one ends on."""
        page = self.http.get("/hub/login")
        page.raise_for_status()
        field = re.search(r'name="_xsrf"\s+value="([^"]+)"', page.text)
        return self.http.post(
            "/hub/login",
            params={"next": "/hub/home"},
            data={
                "username": self.username,
                "password": self._password,
                XSRF: field.group(1) if field else self.xsrf,
            },
        )

    def is_logged_in(self) -> bool:
        """Whether the hub knows who this is."""
        return self.http.get("/hub/home", follow_redirects=False).status_code == 200

    def token(self) -> str:
        """A token of one's own, as the token page gives it."""
        if self._token is None:
            self.http.get("/hub/token").raise_for_status()
            answer = self.http.post(
                f"/hub/api/users/{self.username}/tokens",
                headers={"X-XSRFToken": self.xsrf, "Referer": f"{self.url}/hub/token"},
                json={"note": "test"},
            )
            answer.raise_for_status()
            self._token = str(answer.json()["token"])
        return self._token

    def api(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Call the hub's REST API with one's own token."""
        return self._request(method, f"/hub/api{path}", **arguments)

    def service(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Call the service's REST API with one's own token."""
        return self._request(method, f"/services/dac/api/v1{path}", **arguments)

    def _request(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        headers = {"Authorization": f"token {self.token()}"}
        with httpx.Client(base_url=self.url, timeout=60, trust_env=False, verify=NO_TLS) as client:
            return client.request(method, path, headers=headers, **arguments)

    def start(self, server_name: str = "", **choice: str) -> httpx.Response:
        """Ask for a server through the hub's REST API."""
        return self.api("POST", self._server_path(server_name), json=choice)

    def stop(self, server_name: str = "") -> httpx.Response:
        """Ask for the server to stop."""
        return self.api("DELETE", self._server_path(server_name))

    def servers(self) -> dict[str, Any]:
        """The servers one has, by name, as the hub knows them."""
        answer = self.api("GET", f"/users/{self.username}")
        answer.raise_for_status()
        return dict(answer.json()["servers"])

    def _server_path(self, server_name: str) -> str:
        suffix = f"servers/{server_name}" if server_name else "server"
        return f"/users/{self.username}/{suffix}"

    def wait_until_started(self, server_name: str = "", seconds: float = 60) -> None:
        """Wait until the hub says that the server is ready."""
        until(
            lambda: self.servers().get(server_name, {}).get("ready"),
            f"the server '{server_name}' of {self.username} is ready",
            seconds,
        )

    def wait_until_stopped(self, server_name: str = "", seconds: float = 60) -> None:
        """Wait until the hub knows of no such server."""
        until(
            lambda: server_name not in self.servers(),
            f"the server '{server_name}' of {self.username} is gone",
            seconds,
        )
