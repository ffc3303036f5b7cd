"""A real Prometheus before a real platform on one machine."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.harness.platform import Platform
from tests.harness.prometheus import Prometheus, job, prometheus, require
from tests.harness.waiting import until
from tests.watching.test_figures import used

TOKEN = "metrics-token-of-the-test"
# Figures that are there only once there is something to tell.
NOT_YET = {
    "dachub_backup_succeeded_timestamp_seconds",
    "dachub_cores_limit",
    "dachub_core_hours_today",
    "dachub_mails",
    "dachub_quota_groups",
    "dachub_sessions",
    "dachub_storage_oldest_sample_timestamp_seconds",
}


@pytest.fixture(scope="module")
def platform() -> Iterator[Platform]:
    require("prometheus")
    with Platform(environment={"DACHUB_METRICS_TOKEN": TOKEN}) as running:
        yield running


@pytest.fixture
def watching(platform: Platform, tmp_path: Path) -> Iterator[Prometheus]:
    jobs = [
        job("dachub", "/services/dac/metrics", TOKEN, platform.url),
        job("dachub-hub", "/hub/metrics", TOKEN, platform.url),
    ]
    with prometheus(tmp_path, jobs) as running:
        for name in ("dachub", "dachub-hub"):
            until(lambda name=name: running.answering(name) == 1, f"{name} answers", 30)
        yield running


def test_every_figure_of_ours_that_alerts_and_panels_use_is_there(watching: Prometheus) -> None:
    ours = {name for name in used() if name.startswith(("dachub_", "jupyterhub_"))} - NOT_YET
    for name in ("dachub_enforcement_held", "dachub_outbox_held"):
        until(lambda name=name: name in watching.names(), f"{name} is told the first time", 60)
    assert ours - watching.names() == set()


def test_a_service_that_hangs_is_told_and_forgotten_when_it_goes_on(
    platform: Platform, watching: Prometheus
) -> None:
    until(lambda: not watching.firing("critical"), "nothing critical", 60)
    platform.kill("service", signal.SIGSTOP)
    until(lambda: watching.firing("critical") == {"DachubServiceDown"}, "the alert fires", 30)
    platform.kill("service", signal.SIGCONT)
    until(lambda: not watching.firing("critical"), "nothing critical any more", 60)
