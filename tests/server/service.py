"""The service as a process of its own, on a database that the test can take away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx
import psycopg
from tests.harness.waiting import until
from tests.server.realhub import ROOT, free_port

HUB_TOKEN = "hub-token-5b6a0d1c9f8e7d6c"
SERVICE_TOKEN = "service-token-5b6a0d1c9f8e7d6c"
SECRETS = (HUB_TOKEN, SERVICE_TOKEN, "portal-secret-5b6a0d1c9f8e")


class Service:
    """``python -m dachub.server``."""

    def __init__(
        self,
        directory: Path,
        database_url: str,
        *,
        hub_api_url: str = "http://127.0.0.1:1/hub/api",
        service_token: str = SERVICE_TOKEN,
        settings: str = "",
    ) -> None:
        self.directory = directory
        self.database_url = database_url
        self.port = free_port()
        self.log_file = directory / "service.json"
        self.output = directory / "terminal.log"
        config = directory / "dachub.yaml"
        config.write_text(settings)
        config.chmod(0o600)
        self.environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT / "src"),
            "DACHUB_CONFIG": str(config),
            "DACHUB_DATABASE_URL": database_url,
            "DACHUB_HUB_TOKEN": HUB_TOKEN,
            "DACHUB_SERVICE_TOKEN": service_token,
            "DACHUB_HUB_API_URL": hub_api_url,
            "DACHUB_PUBLIC_URL": "http://127.0.0.1:8000",
            "DACHUB_SERVICE_PORT": str(self.port),
            "DACHUB_LOG_FILE": str(self.log_file),
            "DACHUB_PORTAL_SECRET": SECRETS[2],
        }
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, without waiting."""
        with self.output.open("ab") as out:
            self.process = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", sys.executable, "-m", "dachub.server"],
                env=self.environment,
                stdout=out,
                stderr=out,
                cwd=self.directory,
            )

    def stop(self, number: int = signal.SIGTERM) -> int:
        """End it and give its exit status."""
        assert self.process is not None
        self.process.send_signal(number)
        status = self.process.wait(timeout=30)
        self.process = None
        return status

    def ask(self, method: str, path: str, **arguments: Any) -> httpx.Response:
        """Ask it as the hub."""
        headers = {"Authorization": f"Bearer {HUB_TOKEN}", **arguments.pop("headers", {})}
        url = f"http://127.0.0.1:{self.port}/services/dac/api/v1{path}"
        return httpx.request(method, url, headers=headers, timeout=15, **arguments)

    def health(self) -> int | None:
        """Status of its health; ``None`` while nobody listens."""
        try:
            return self.ask("GET", "/health").status_code
        except httpx.TransportError:
            return None

    def alive(self) -> bool:
        """Whether it answers at all."""
        try:
            return self.ask("GET", "/alive").is_success
        except httpx.TransportError:
            return False

    def until_health(self, status: int, seconds: float = 40) -> None:
        """Wait for a status of its health."""
        until(lambda: self.health() == status, f"health {status} ({self.output})", seconds)

    def log(self) -> list[dict[str, Any]]:
        """Lines of its log file."""
        return [json.loads(line) for line in self.log_file.read_text().splitlines()]


class Outage:
    """Takes a database away: connections die, new ones are refused."""

    def __init__(self, maintenance_url: str, database_url: str) -> None:
        self._maintenance_url = maintenance_url
        self._name = database_url.split("@/", 1)[1].split("?", 1)[0]

    def begin(self) -> None:
        """Take it away."""
        self._allow("false")
        with psycopg.connect(self._maintenance_url, autocommit=True) as connection:
            connection.execute(
                "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s",
                [self._name],
            )

    def end(self) -> None:
        """Give it back."""
        self._allow("true")

    def _allow(self, answer: str) -> None:
        with psycopg.connect(self._maintenance_url, autocommit=True) as connection:
            connection.execute(f"alter database {self._name} with allow_connections {answer}")  # type: ignore[arg-type]
