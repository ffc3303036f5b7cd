"""The service as a process: it outlives its database, says what it does, and ends in order."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest
from tests.conftest import Databases
from tests.server.service import HUB_TOKEN, SECRETS, Outage, Service

from dachub import migrations

LOGIN = {
    "issuer": "https://idp.example",
    "subject": "s1",
    "candidate": "ada",
    "at": "2026-01-01T00:00:00Z",
}


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    running: list[Service] = []

    def do(database_url: str, **arguments: str) -> Service:
        service = Service(tmp_path, database_url, **arguments)
        running.append(service)
        service.start()
        return service

    yield do
    for service in running:
        if service.process is not None:
            service.stop(signal.SIGKILL)


def test_it_waits_for_a_database_that_is_down_and_migrates_it(
    databases: Databases, start: Callable[..., Service]
) -> None:
    url = databases.create()
    outage = Outage(databases.maintenance_url, url)
    outage.begin()
    service = start(url)
    service.until_health(503)
    answer = service.ask("POST", "/hub/logins", json=LOGIN)
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert answer.headers["content-type"] == "application/problem+json"
    outage.end()
    service.until_health(200)
    assert migrations.current(url) == migrations.head()
    assert service.ask("POST", "/hub/logins", json=LOGIN).json()["username"] == "ada"


def test_it_outlives_its_database_and_recovers_by_itself(
    databases: Databases, database_url: str, start: Callable[..., Service]
) -> None:
    service = start(database_url)
    service.until_health(200)
    outage = Outage(databases.maintenance_url, database_url)
    for _ in range(2):
        outage.begin()
        service.until_health(503)
        answer = service.ask("POST", "/hub/logins", json=LOGIN)
        assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
        assert "psycopg" not in answer.text
        outage.end()
        service.until_health(200)
        assert service.ask("POST", "/hub/logins", json=LOGIN).is_success
    assert service.stop() == 0


def test_what_it_answered_is_in_the_database_when_it_is_killed(
    database_url: str, start: Callable[..., Service]
) -> None:
    service = start(database_url)
    service.until_health(200)
    for number in range(20):
        record = {**LOGIN, "subject": f"s{number}", "candidate": f"ada{number}"}
        assert service.ask("POST", "/hub/logins", json=record).is_success
    service.stop(signal.SIGKILL)
    with psycopg.connect(database_url) as connection:
        found = connection.execute("select count(*) from person").fetchone()
    assert found == (20,)


def test_it_ends_in_order(database_url: str, start: Callable[..., Service]) -> None:
    service = start(database_url)
    service.until_health(200)
    begun = time.monotonic()
    assert service.stop() == 0
    assert time.monotonic() - begun < 10
    assert "Traceback" not in service.output.read_text()


def test_its_log_is_structured_carries_request_ids_and_no_secret(
    database_url: str, start: Callable[..., Service]
) -> None:
    service = start(database_url)
    service.until_health(200)
    service.ask("POST", "/hub/logins", json=LOGIN, headers={"X-Request-ID": "from-the-hub-1"})
    answer = service.ask("GET", "/me?token=abcdefghijklmnopqrstuvwxyz&code=0123456789abcdef")
    assert answer.headers["x-request-id"]
    answer = service.ask(
        "GET", "/me", headers={"X-Request-ID": "bad id\t<b>", "Authorization": "x"}
    )
    assert answer.headers["x-request-id"].isalnum()
    service.ask("GET", "/me", headers={"Authorization": "Bearer secret-token-of-somebody"})
    assert service.stop() == 0
    lines = service.log()
    ids = [line.get("http", {}).get("request", {}).get("id") for line in lines]
    ids += [line.get("http.request.id") for line in lines]
    assert "from-the-hub-1" in ids
    for line in lines:
        assert {"@timestamp", "message", "log.level", "ecs.version"} <= line.keys() | (
            {"log.level"} if "level" in line.get("log", {}) else set()
        ) | ({"ecs.version"} if "version" in line.get("ecs", {}) else set()), line
    written = service.log_file.read_text() + service.output.read_text()
    for secret in (*SECRETS, "abcdefghijklmnopqrstuvwxyz", "secret-token-of-somebody"):
        assert secret not in written
    assert service.log_file.stat().st_mode & 0o777 == 0o600
    with psycopg.connect(database_url) as connection:
        found = connection.execute("select request_id from audit where action = 'login'").fetchall()
    assert found == [("from-the-hub-1",)]


def test_a_missing_part_of_the_environment_is_named_without_its_value(tmp_path: Path) -> None:
    service = Service(tmp_path, "postgresql://u:very-secret-password@h/d")
    service.environment.pop("DACHUB_HUB_API_URL")
    service.environment["DACHUB_HUB_TOKEN"] = "short"
    run = subprocess.run(
        [sys.executable, "-m", "dachub.server"],
        env=service.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2
    assert "DACHUB_HUB_API_URL" in run.stderr
    assert "DACHUB_HUB_TOKEN" in run.stderr
    assert "very-secret-password" not in run.stderr
    assert "short" not in run.stderr
    assert len(run.stderr.splitlines()) == 1


def test_several_at_once_start_and_work_beside_each_other(
    databases: Databases, tmp_path: Path
) -> None:
    url = databases.create()
    services = []
    try:
        for name in ("one", "two"):
            (tmp_path / name).mkdir()
            service = Service(tmp_path / name, url)
            service.start()
            services.append(service)
        for service in services:
            service.until_health(200)
        names = [
            service.ask("POST", "/hub/logins", json=LOGIN).json()["username"]
            for service in services
        ]
        assert names == ["ada", "ada"]
    finally:
        for service in services:
            if service.process is not None:
                service.stop(signal.SIGKILL)


def test_nobody_listens_beyond_loopback(database_url: str, start: Callable[..., Service]) -> None:
    import psutil

    service = start(database_url)
    service.until_health(200)
    assert service.process is not None
    listening = [
        connection.laddr.ip
        for connection in psutil.Process(service.process.pid).net_connections()
        if connection.status == psutil.CONN_LISTEN
    ]
    assert listening == ["127.0.0.1"]
    assert HUB_TOKEN not in " ".join(psutil.Process(service.process.pid).cmdline())
    assert isinstance(service.ask("GET", "/health"), httpx.Response)
