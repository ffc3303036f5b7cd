"""A real Prometheus before the platform on the cluster: every replica, the hub, a real alert."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from tests.harness.prometheus import Prometheus, job, prometheus, require
from tests.harness.waiting import until
from tests.k8s.installed import Installed

SEEN = 'dachub_leader_seen_timestamp_seconds{kind="service"}'
SERVICE = "app.kubernetes.io/component=service"


@pytest.fixture
def watching(platform: Installed, tmp_path: Path) -> Iterator[Prometheus]:
    require("prometheus")
    secret = platform.here.get("secret", "dachub")["data"]["metrics-token"]
    token = base64.b64decode(secret).decode()
    pods = platform.here.do("get", "pods", f"--selector={SERVICE}", "--output=name").split()
    with ExitStack() as forwards:
        lead = forwards.enter_context
        replicas = [lead(platform.here.forwarded(pod, 8080)) for pod in pods]
        hub = lead(platform.here.forwarded("service/hub", 8081))
        jobs = [
            job("dachub", "/services/dac/metrics", token, *replicas),
            job("dachub-hub", "/hub/metrics", token, hub),
        ]
        yield lead(prometheus(tmp_path, jobs))


def test_every_replica_and_the_hub_are_asked_and_a_service_that_is_gone_is_told(
    platform: Installed, watching: Prometheus
) -> None:
    until(lambda: watching.answering("dachub") == 2, "both replicas answer", 30)
    until(lambda: watching.answering("dachub-hub") == 1, "the hub answers", 30)
    until(lambda: "dachub_outbox_held" in watching.names(), "the outbox is told", 30)
    until(lambda: len(watching.ask(SEEN)) == 2, "both tell of the leader", 30)
    until(lambda: len(watching.ask(f"group by (replica) ({SEEN})")) == 1, "of the same one", 30)
    until(lambda: not watching.firing("critical"), "nothing critical", 60)
    platform.here.do("scale", "deployment/dachub", "--replicas=0")
    try:
        until(lambda: watching.firing("critical") == {"DachubServiceDown"}, "it is told", 90)
    finally:
        platform.here.do("scale", "deployment/dachub", "--replicas=2")
        platform.wait_until_ready()
        until(platform.answers, "the platform answers", 60)
