"""Nobody watches what is not told: each figure of an alert or a panel is exported by somebody."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from jupyterhub import metrics as jupyterhub_metrics
from prometheus_client import REGISTRY, CollectorRegistry
from tests.harness.prometheus import alerts
from tests.watching.test_dashboard import queries

from dachub.hub import meters
from dachub.hub.storage import OutboxStatus

ROOT = Path(__file__).parents[2]
MONITORING = ROOT / "docs" / "monitoring.md"
SUFFIX = re.compile(r"_(bucket|count|sum)$")
# What others tell, by the page docs/monitoring.md: (exporter, its figures).
OF_OTHERS = {
    "Prometheus": {"up"},
    "blackbox exporter": {"probe_success", "probe_ssl_earliest_cert_expiry"},
    "kube-state-metrics": {
        "kube_cronjob_created",
        "kube_job_status_failed",
        "kube_node_status_condition",
        "kube_pod_container_status_restarts_total",
        "kube_pod_status_phase",
    },
    "kubelet": {
        "kubelet_volume_stats_available_bytes",
        "kubelet_volume_stats_capacity_bytes",
    },
    "cluster autoscaler": {"cluster_autoscaler_failed_scale_ups_total"},
}


def used() -> set[str]:
    """Every figure that an alert or a panel asks for."""
    asked = [*queries(), *(rule["expr"] for rule in alerts().values())]
    return {word for query in asked for word in re.findall(r"\b([a-z]\w*)(?=[{\[])", query)} | {
        word for query in asked for word in re.findall(r"\b(?:dachub|jupyterhub)_\w+", query)
    }


def exported() -> set[str]:
    """Every figure that service, hub and plugin export."""
    service = (ROOT / "src" / "dachub" / "server" / "meters.py").read_text()
    told = set(re.findall(r'"(dachub_\w+)"', service))
    assert jupyterhub_metrics.RUNNING_SERVERS  # importing it registers the hub's figures
    meters.OUTBOX.show(OutboxStatus(0, None, 0))
    try:
        for family in REGISTRY.collect():
            told |= {family.name, *(sample.name for sample in family.samples)}
    finally:
        meters.OUTBOX.show(None)
    return told


def test_each_figure_is_exported_by_somebody() -> None:
    known = exported().union(*OF_OTHERS.values())
    unknown = {name for name in used() if name not in known and SUFFIX.sub("", name) not in known}
    assert unknown == set()


@pytest.mark.parametrize("exporter", OF_OTHERS)
def test_whose_figures_are_needed_is_written_down_and_nobody_is_named_in_vain(
    exporter: str,
) -> None:
    assert OF_OTHERS[exporter] <= used()
    assert exporter in MONITORING.read_text()


def test_the_outbox_ages_while_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    begin = datetime(2026, 3, 1, tzinfo=UTC)
    meter, registry = meters.OutboxMeter(), CollectorRegistry()
    registry.register(meter)
    assert registry.get_sample_value("dachub_outbox_waiting") is None
    meter.show(OutboxStatus(2, begin, 1, 3))
    for minutes in (1, 5):
        monkeypatch.setattr(meters, "now", lambda m=minutes: begin + timedelta(minutes=m))
        assert registry.get_sample_value("dachub_outbox_oldest_seconds") == 60 * minutes
    names = ("waiting", "refused", "held")
    told = [registry.get_sample_value(f"dachub_outbox_{name}") for name in names]
    assert told == [2, 1, 3]
    monkeypatch.setattr(meters, "now", lambda: begin - timedelta(minutes=1))  # a clock set back
    assert registry.get_sample_value("dachub_outbox_oldest_seconds") == 0
