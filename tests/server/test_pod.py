"""The service as it runs in a pod: told by its environment, it writes nothing, ends in order."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest
from tests.conftest import Databases
from tests.harness.waiting import until
from tests.server.service import Service

from dachub import migrations

ADMIN_PASSWORD = "correct-horse-battery-staple"
LOGIN = {
    "issuer": "https://idp.example",
    "subject": "s1",
    "candidate": "ada",
    "at": "2026-01-01T00:00:00Z",
}
Pod = Callable[..., Service]


@pytest.fixture
def pod(tmp_path: Path) -> Iterator[Pod]:
    """Starts services as pods do: the database in the configuration, no file for the log."""
    running: list[Service] = []

    def do(database_url: str, **environment: str) -> Service:
        directory = tmp_path / f"pod-{len(running)}"
        (directory / "tmp").mkdir(parents=True)
        service = Service(directory, "", settings=f"database:\n  url: {database_url}\n")
        for name in ("DACHUB_DATABASE_URL", "DACHUB_LOG_FILE"):
            del service.environment[name]
        service.environment |= {
            "PYTHONDONTWRITEBYTECODE": "1",
            "HOME": str(directory),
            "TMPDIR": str(directory / "tmp"),
            "DACHUB_DATABASE_PASSWORD": "as good as any",
            "DACHUB_WORK": "service",
        } | environment
        service.start()
        running.append(service)
        return service

    yield do
    for service in running:
        if service.process is not None:
            service.stop(signal.SIGKILL)


def lines(service: Service) -> list[dict[str, Any]]:
    return [json.loads(line) for line in service.output.read_text().splitlines()]


def test_it_logs_to_standard_output_and_writes_no_file(databases: Databases, pod: Pod) -> None:
    service = pod(databases.create(), DACHUB_SERVICE_HOST="0.0.0.0")
    service.until_health(200)
    assert service.ask("POST", "/hub/logins", json=LOGIN).is_success
    assert service.ask("GET", "/nothing").status_code == 404
    assert service.stop() == 0
    told = lines(service)
    assert {"service starts", "database ready", "request"} <= {line["message"] for line in told}
    assert all("@timestamp" in line for line in told)
    written = {str(path.relative_to(service.directory)) for path in service.directory.rglob("*")}
    assert written == {"dachub.yaml", "terminal.log", "tmp"}


def test_it_lives_but_is_not_ready_without_its_database(pod: Pod) -> None:
    service = pod("postgresql://dachub@127.0.0.1:1/dachub")
    until(lambda: service.alive(), "the service answers")
    assert service.health() == 503


def test_without_a_database_named_it_says_so(tmp_path: Path) -> None:
    service = Service(tmp_path, "")
    del service.environment["DACHUB_DATABASE_URL"]
    run = subprocess.run(
        [sys.executable, "-m", "dachub.server"],
        env=service.environment,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 2
    assert "database.url" in run.stderr


def test_told_to_end_it_is_not_ready_but_answers_until_nobody_sends_any_more(
    database_url: str, pod: Pod
) -> None:
    service = pod(database_url, DACHUB_DRAIN_SECONDS="3")
    service.until_health(200)
    assert service.process is not None
    service.process.send_signal(signal.SIGTERM)
    service.until_health(503)
    assert service.alive()
    assert service.ask("POST", "/hub/logins", json=LOGIN).is_success
    assert service.process.wait(timeout=30) == 0


def test_what_was_asked_before_it_ends_is_answered(database_url: str, pod: Pod) -> None:
    service = pod(database_url)
    service.until_health(200)
    assert service.process is not None
    with psycopg.connect(database_url) as connection, ThreadPoolExecutor() as threads:
        connection.execute("lock table person in share mode")  # lets all but logins go on
        asked = threads.submit(lambda: service.ask("POST", "/hub/logins", json=LOGIN))
        until(lambda: waits_for_a_lock(database_url), "the request waits for the table")
        service.process.send_signal(signal.SIGTERM)
        until(lambda: not service.alive(), "it takes no more requests")
        connection.rollback()
        assert asked.result(timeout=20).is_success
    assert service.process.wait(timeout=30) == 0


def waits_for_a_lock(url: str) -> bool:
    with psycopg.connect(url) as connection:
        return connection.execute("select 1 from pg_locks where not granted").fetchone() is not None


@pytest.mark.parametrize(
    ("trusted", "secure"), [("[10.0.0.0/8]", False), ("[10.0.0.0/8, 127.0.0.1]", True)]
)
def test_only_proxies_in_trusted_networks_say_that_it_was_over_tls(
    database_url: str, tmp_path: Path, trusted: str, secure: bool
) -> None:
    service = Service(tmp_path, database_url, settings=f"listen: {{trusted_proxies: {trusted}}}")
    service.start()
    try:
        service.until_health(200)
        answer = httpx.get(
            f"http://127.0.0.1:{service.port}/services/dac/login",
            headers={"X-Forwarded-Proto": "https"},
        )
        assert ("Secure" in answer.headers["set-cookie"]) is secure
    finally:
        service.stop(signal.SIGKILL)


def test_the_database_is_migrated_by_a_command_that_needs_no_data_directory(
    databases: Databases, tmp_path: Path
) -> None:
    url = databases.create()
    config = tmp_path / "dachub.yaml"
    config.write_text(f"database:\n  url: {url}\n")
    run = subprocess.run(
        [Path(sys.executable).parent / "dachub", "migrate"],
        env={"DACHUB_CONFIG": str(config), "DACHUB_DATABASE_PASSWORD": "as good as any"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert run.returncode == 0, run.stderr
    assert migrations.current(url) == migrations.head()
    assert list(tmp_path.iterdir()) == [config]


def test_two_that_start_at_once_make_the_first_administrator_once(
    databases: Databases, pod: Pod
) -> None:
    url = databases.create()
    services = [pod(url, DACHUB_ADMIN_PASSWORD=ADMIN_PASSWORD) for _ in range(2)]
    for service in services:
        service.until_health(200)
    made = [line for each in services for line in lines(each) if line["message"] == "first data"]
    assert sorted(line["dachub"]["made"] for line in made) == [False, True]
    with psycopg.connect(url) as connection:
        assert connection.execute("select username from person").fetchall() == [("admin",)]
    assert ADMIN_PASSWORD not in "".join(each.output.read_text() for each in services)


def test_a_first_password_that_anybody_would_guess_is_refused_and_holds_up_nothing(
    databases: Databases, pod: Pod
) -> None:
    service = pod(databases.create(), DACHUB_ADMIN_PASSWORD="admin")
    service.until_health(200)
    refused = [line for line in lines(service) if line["message"] == "no first administrator"]
    assert [line["error"]["code"] for line in refused] == ["weak-password"]
