"""Prometheus and its tool ``promtool``: Debian's package ``prometheus`` has both."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from tests.harness.platform import free_port
from tests.harness.waiting import until

WATCHING = Path(__file__).parents[2] / "deploy" / "chart" / "files" / "watching"
RULES = (WATCHING / "platform.yaml", WATCHING / "cluster.yaml")
DASHBOARD = WATCHING / "dashboard.json"


def alerts(*files: Path) -> dict[str, dict[str, Any]]:
    """Every alert by its name, of these files or of all."""
    groups = [
        group for file in files or RULES for group in yaml.safe_load(file.read_text())["groups"]
    ]
    return {rule["alert"]: rule for group in groups for rule in group["rules"]}


def require(program: str) -> str:
    """Give the program's path, or skip the test."""
    path = shutil.which(program)
    if path is None:
        pytest.skip(f"there is no program `{program}`: install Debian's package `prometheus`")
    return path


def promtool(*arguments: str | Path) -> str:
    """Run promtool; gives what it printed, and fails the test when it failed."""
    done = subprocess.run(
        [require("promtool"), *map(str, arguments)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def hurried() -> dict[str, Any]:
    """The platform's rules, for a Prometheus that is not to wait: what ails for 2 s is told."""
    rules: dict[str, Any] = yaml.safe_load(RULES[0].read_text())
    for group in rules["groups"]:
        for rule in group["rules"]:
            rule["for"] = "2s"
    return rules


def job(name: str, path: str, token: str, *addresses: str) -> dict[str, Any]:
    """What Prometheus asks at these addresses (``http://host:port``)."""
    return {
        "job_name": name,
        "metrics_path": path,
        "authorization": {"credentials": token},
        "static_configs": [{"targets": [address.removeprefix("http://") for address in addresses]}],
    }


class Prometheus:
    """A Prometheus that runs."""

    def __init__(self, port: int) -> None:
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False)

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            return self._http.get("/-/ready").status_code == 200
        except httpx.HTTPError:
            return False

    def ask(self, query: str) -> list[dict[str, Any]]:
        """What a query gives now."""
        answer = self._http.get("/api/v1/query", params={"query": query})
        assert answer.status_code == 200, answer.text
        found: list[dict[str, Any]] = answer.json()["data"]["result"]
        return found

    def answering(self, job: str) -> int:
        """How many processes of a job answer now."""
        return len(self.ask(f'up{{job="{job}"}} == 1'))

    def names(self) -> set[str]:
        """Names of all figures that it has."""
        told: list[str] = self._http.get("/api/v1/label/__name__/values").json()["data"]
        return set(told)

    def firing(self, severity: str = ".*") -> set[str]:
        """Names of the alerts that fire."""
        query = f'ALERTS{{alertstate="firing", severity=~"{severity}"}}'
        return {each["metric"]["alertname"] for each in self.ask(query)}


@contextmanager
def prometheus(directory: Path, jobs: Sequence[Mapping[str, Any]]) -> Iterator[Prometheus]:
    """Run a Prometheus on loopback that asks these jobs every second and keeps our rules."""
    program, port = require("prometheus"), free_port()
    (directory / "rules.yaml").write_text(yaml.safe_dump(hurried()))
    config = directory / "prometheus.yaml"
    config.write_text(
        yaml.safe_dump(
            {
                "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
                "rule_files": [str(directory / "rules.yaml")],
                "scrape_configs": list(jobs),
            }
        )
    )
    with (directory / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            [
                *("setpriv", "--pdeathsig", "KILL", "--", program),
                *(f"--config.file={config}", f"--storage.tsdb.path={directory / 'series'}"),
                f"--web.listen-address=127.0.0.1:{port}",
            ],
            stdout=log,
            stderr=log,
        )
    running = Prometheus(port)
    try:
        until(running.is_ready, "Prometheus answers", 30)
        yield running
    finally:
        process.terminate()
        process.wait()
