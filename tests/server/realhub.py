"""A real JupyterHub for the service's tests: real tokens, real scopes, real OAuth, tiny servers."""

from __future__ import annotations

import os
import re
import secrets
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
from tests.harness.waiting import until
from tests.harness.witness import TINY_SERVER

ROOT = Path(__file__).parents[2]

# The roles are those that the hub plugin configures (dachub.hub.configuration).
CONFIG = """
import os, pathlib, sys
from jupyterhub.spawner import SimpleLocalProcessSpawner

here = pathlib.Path({directory!r})
class Spawner(SimpleLocalProcessSpawner):
    home_dir_template = str(here / "homes" / "{{username}}")
    cmd = [sys.executable, {tiny_server!r}]
    def get_env(self):
        env = super().get_env()
        (here / f"{{self.user.name}}.token").write_text(env["JUPYTERHUB_API_TOKEN"])
        return env
    def get_args(self):
        return []
    def get_state(self):
        # The hub plugin keeps the session here; the tests say which with the start.
        told = self.user_options
        kept = {{key: told[key] for key in ("session", "started_at") if key in told}}
        return {{**super().get_state(), **kept}}

c = get_config()
c.JupyterHub.bind_url = "http://127.0.0.1:{port}"
c.JupyterHub.hub_bind_url = "http://127.0.0.1:{hub_port}"
c.JupyterHub.db_url = f"sqlite:///{{here}}/hub.sqlite"
c.JupyterHub.cookie_secret_file = str(here / "cookie-secret")
c.JupyterHub.authenticator_class = "dummy"
c.Authenticator.allow_all = True
c.JupyterHub.spawner_class = Spawner
c.Spawner.http_timeout = 30
c.ConfigurableHTTPProxy.command = [sys.executable, "-m", "dachub.hub.proxy"]
c.ConfigurableHTTPProxy.api_url = "http://127.0.0.1:{proxy_port}"
c.ConfigurableHTTPProxy.pid_file = str(here / "proxy.pid")
c.JupyterHub.services = [
    dict(name="dac", url="{service_url}", api_token="{service_token}", oauth_no_confirm=True,
         oauth_redirect_uri="/services/dac/oauth_callback", timeout=1),
    dict(name="tests", api_token="{tests_token}"),
]
USE = "access:services!service=dac"
c.JupyterHub.load_roles = [
    dict(name="user", scopes=["self", USE]),
    dict(name="server", scopes=["users:activity!user", "access:servers!server", USE]),
    dict(name="dachub-service", services=["dac"], scopes=["read:users", "list:users",
         "read:servers", "delete:servers", "delete:users", "servers", "admin:server_state",
         "read:tokens", "tokens"]),
    dict(name="tests", services=["tests"], scopes=["admin:users", "admin:servers", "tokens"]),
]
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RealHub:
    """One hub; ends with the test session."""

    def __init__(self, directory: Path, service_port: int) -> None:
        self.directory = directory
        self.port, self.hub_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.api_url = f"http://127.0.0.1:{self.hub_port}/hub/api"
        self.service_token = secrets.token_hex(16)
        self._tests_token = secrets.token_hex(16)
        config = directory / "jupyterhub_config.py"
        config.write_text(
            CONFIG.format(
                directory=str(directory),
                tiny_server=str(TINY_SERVER),
                port=self.port,
                hub_port=self.hub_port,
                proxy_port=free_port(),
                service_url=f"http://127.0.0.1:{service_port}",
                service_token=self.service_token,
                tests_token=self._tests_token,
            )
        )
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        with (self.directory / "hub.log").open("ab") as out:
            self._process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "TERM", "--", sys.executable, "-m", "jupyterhub"],
                cwd=self.directory,
                stdout=out,
                stderr=out,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": str(ROOT / "src"),
                    "HOME": str(self.directory),
                },
            )
        until(self._answers, f"the hub answers (log in {self.directory})", 60)

    def _answers(self) -> bool:
        try:
            # Through the proxy: it gets its routes last.
            return httpx.get(self.url + "/hub/login", timeout=2).status_code == 200
        except httpx.HTTPError:
            return False

    def pause(self) -> None:
        """Make it hang."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it, its servers and its proxy."""
        if self._process is not None:
            self._process.send_signal(signal.SIGCONT)
            self._process.terminate()
            self._process.wait(timeout=30)
            self._process = None

    def api(self, method: str, path: str, **arguments: Any) -> Any:
        """Ask the hub as an administrator."""
        answer = httpx.request(
            method,
            self.api_url + path,
            headers={"Authorization": f"token {self._tests_token}"},
            timeout=30,
            **arguments,
        )
        assert answer.is_success, answer.text
        return answer.json() if answer.content else None

    def token(self, username: str, **request: Any) -> str:
        """A new token of a person, who is added if need be; by default all they can do."""
        known = httpx.get(
            f"{self.api_url}/users/{username}",
            headers={"Authorization": f"token {self._tests_token}"},
        )
        if known.status_code == 404:
            self.api("POST", f"/users/{username}")
        return str(self.api("POST", f"/users/{username}/tokens", json=request)["token"])

    def server_token(self, username: str, options: dict[str, Any] | None = None) -> str:
        """Start a person's server and give the token that the hub gave it."""
        self.token(username)
        self.api("POST", f"/users/{username}/server", json=options or {})
        until(lambda: self.server_ready(username), f"{username}'s server runs")
        return (self.directory / f"{username}.token").read_text()

    def sign_in(self, username: str, authorize: str) -> str:
        """Sign in as a browser does, go to ``authorize`` and say where the hub sends it then."""
        with httpx.Client(base_url=self.url, follow_redirects=False) as browser:
            login = browser.get("/hub/login")
            found = re.search(r'name="_xsrf" value="([^"]+)"', login.text)
            assert found, login.text
            browser.post(
                "/hub/login",
                params={"next": "/hub/home"},
                data={"username": username, "password": "x", "_xsrf": found[1]},
            )
            back = browser.get(authorize)
            assert back.status_code == 302, back.text
            return str(back.headers["location"])

    def server_ready(self, username: str) -> bool:
        """Whether the person's default server runs."""
        server = self.api("GET", f"/users/{username}")["servers"].get("")
        return bool(server and server["ready"])
