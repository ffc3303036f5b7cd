"""A real hub for the tests of the plugin: killed, restarted, logged in to."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any
from urllib.parse import urljoin, urlsplit

import argon2
import httpx
from tests.harness.fake_service import FakeService
from tests.harness.waiting import until
from tests.harness.witness import TINY_SERVER

from dachub.hub.settings import HubSettings, LoginSettings, MachineSettings, ServerSettings
from dachub.model.people import LocalAccount
from dachub.model.site import Size
from dachub.model.software import Environment

TOKEN = "hub-token-of-the-test"
METRICS_TOKEN = "metrics-token-of-the-test"
GIB = 1024**3
SIZES = (
    Size(name="small", title="Small", milli_cores=1000, memory_bytes=2 * GIB),
    Size(name="tiny", title="Tiny", milli_cores=250, memory_bytes=GIB // 2),
    Size(name="large", title="Large", milli_cores=4000, memory_bytes=8 * GIB, groups=("coma",)),
)
HASHER = argon2.PasswordHasher(time_cost=1, memory_cost=1024)
PYTHONPATH = str(Path(__file__).parents[2] / "src")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def account(username: str, **more: Any) -> LocalAccount:
    """A local account whose password is its name with '-password'."""
    return LocalAccount(
        username=username, password_hash=HASHER.hash(f"{username}-password"), **more
    )


class RunningHub:
    """One hub in a directory of its own."""

    def __init__(
        self,
        directory: Path,
        service: FakeService,
        login: LoginSettings | None = None,
        command: tuple[str, ...] = (str(TINY_SERVER),),
        unix_accounts: bool = False,
        port: int | None = None,
        interpreter: str = "/usr/bin/python3",
        environments: tuple[Environment, ...] | None = None,
        **servers: Any,
    ) -> None:
        self.directory = directory
        self.service = service
        self.port = port or free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        if environments is None:
            environments = (
                Environment(
                    name="astronomy",
                    title="Astronomy",
                    description="astropy",
                    interpreter=interpreter,
                ),
            )
        service.sizes, service.environments = SIZES, environments
        state = directory / "hub"
        state.mkdir(mode=0o700)
        self.settings = HubSettings(
            login=login or LoginSettings(),
            servers=ServerSettings(
                sizes=SIZES,
                environments=environments,
                **{"idle_stop_seconds": None, "heartbeat_seconds": 1, **servers},
            ),
            state_directory=state,
            service_url=service.url,
            public_url=self.url,
            log_file=directory / "hub.json",
            machine=MachineSettings(
                bind_url=self.url,
                hub_port=free_port(),
                proxy_api_port=free_port(),
                homes=directory / "homes",
                group_links=directory / "group-links",
                unix_accounts=unix_accounts,
                command=command,
                log_directory=directory / "server-logs",
            ),
        )
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        path = self.directory / "settings.json"
        path.write_text(self.settings.model_dump_json())
        with (self.directory / "hub.log").open("ab") as log:
            self.process = subprocess.Popen(
                [
                    sys.executable,
                    "-m",
                    "jupyterhub",
                    "-f",
                    f"{PYTHONPATH}/dachub/hub/jupyterhub_config.py",
                ],
                cwd=self.directory,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
                env={
                    "PATH": os.environ["PATH"],
                    "PYTHONPATH": PYTHONPATH,
                    "PYTHONDONTWRITEBYTECODE": "1",
                    "DACHUB_HUB_SETTINGS": str(path),
                    "DACHUB_HUB_TOKEN": TOKEN,
                    "DACHUB_SERVICE_TOKEN": "service-token-of-the-test",
                    "DACHUB_METRICS_TOKEN": METRICS_TOKEN,
                    "DACHUB_OIDC_CLIENT_SECRET": "secret-of-the-test",
                    "CONFIGPROXY_AUTH_TOKEN": "proxy-token-of-the-test",
                    "JUPYTERHUB_CRYPT_KEY": "0" * 64,
                    "JPY_COOKIE_SECRET": "1" * 64,
                },
            )
        until(self._answers, "the hub answers", 60)

    def _answers(self) -> bool:
        assert self.process is not None
        if self.process.poll() is not None:
            raise AssertionError(f"The hub ended: {self.log()[-4000:]}")
        try:
            return httpx.get(f"{self.url}/hub/api/", timeout=2, trust_env=False).status_code == 200
        except httpx.HTTPError:
            return False

    def kill(self) -> None:
        assert self.process is not None
        self.process.kill()
        self.process.wait(30)

    def stop(self) -> None:
        if self.process is None or self.process.poll() is not None:
            return
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()

    def close(self) -> None:
        """End hub, proxy and every server."""
        self.stop()
        for pid in self.server_pids():
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        return (self.directory / "hub.log").read_text(errors="replace")

    def log_of(self, username: str) -> Path:
        """What a person's server says."""
        return self.directory / "server-logs" / f"{username}.log"

    def server_pids(self) -> list[int]:
        """Processes of servers this hub started, whoever watches them now."""
        mark = f"DACHUB_API_URL={self.service.url}/".encode()
        found = []
        for entry in Path("/proc").iterdir():
            try:
                if entry.name.isdigit() and mark in (entry / "environ").read_bytes():
                    found.append(int(entry.name))
            except OSError:
                continue
        return found

    def server_environ(self, pid: int) -> dict[str, str]:
        raw = Path(f"/proc/{pid}/environ").read_bytes().decode().split("\0")
        return dict(entry.split("=", 1) for entry in raw if "=" in entry)

    def sql(self, query: str) -> list[Any]:
        connection = sqlite3.connect(self.settings.state_directory / "outbox.sqlite")
        try:
            return connection.execute(query).fetchall()
        finally:
            connection.close()

    def browser(self) -> Visitor:
        return Visitor(self.url)

    def json_log(self) -> list[dict[str, Any]]:
        lines = (self.directory / "hub.json").read_text().splitlines()
        return [json.loads(line) for line in lines]


class Visitor:
    """A person's browser, without the browser."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = httpx.Client(base_url=url, follow_redirects=True, timeout=60, trust_env=False)

    def _xsrf(self) -> str:
        return next(cookie.value for cookie in self.client.cookies.jar if cookie.name == "_xsrf")

    def sign_in(self, username: str, password: str | None = None) -> httpx.Response:
        self.client.get("/hub/login")
        return self.client.post(
            "/hub/login",
            data={
                "username": username,
                "password": password or f"{username}-password",
                "_xsrf": self._xsrf(),
            },
        )

    def sign_in_with_provider(self, subject: str) -> httpx.Response:
        """Go to the provider, say who we are, come back."""
        page = self.client.get("/hub/oauth_login")
        if "sub" not in page.text or urlsplit(str(page.url)).port == urlsplit(self.url).port:
            return page
        return self.client.post(str(page.url), data={"sub": subject})

    def spawn(self, **options: str) -> httpx.Response:
        page = self.client.get("/hub/spawn")
        action = re.search(r'id="spawn_form" action="([^"]*)"', page.text)
        if action is None:
            action = re.search(r'action="([^"]*)"[^>]*id="spawn_form"', page.text)
        assert action is not None, page.text
        target = urljoin(str(page.url), action[1].replace("&amp;", "&"))
        return self.client.post(target, data={**options, "_xsrf": self._xsrf()})

    def api(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return self.client.request(
            method,
            f"/hub/api{path}",
            json=body,
            headers={"X-XSRFToken": self._xsrf(), "Referer": f"{self.url}/hub/home"},
        )
