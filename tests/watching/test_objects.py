"""What the chart makes for the Prometheus operator and for Grafana's sidecar."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.harness.helm import Helm, Objects
from tests.harness.prometheus import DASHBOARD, alerts

from dachub.config import Settings
from dachub.deploy import chart, z2jh

WATCHED = Settings.model_validate(
    {
        "listen": {"public_url": "https://dac.example.org"},
        "cluster": {
            "watching": {
                "namespace": "prometheus",
                "operator": True,
                "labels": {"release": "stack"},
                "dashboard": True,
            },
            "values": {"metrics": {"rules": {"runbooks": "https://docs.example.org/runbooks/"}}},
        },
    }
)


@pytest.fixture(scope="module")
def objects() -> Objects:
    """What the chart makes where dachub.yaml says so."""
    return Helm.found().objects(chart.values(WATCHED))


def test_nothing_is_made_that_a_cluster_without_the_operator_would_not_take() -> None:
    kinds = {each["kind"] for each in Helm.found().objects()}
    assert not kinds & {"ServiceMonitor", "PrometheusRule"}


@pytest.mark.parametrize(
    ("name", "job", "path"),
    [("dachub", "dachub", "/services/dac/metrics"), ("dachub-hub", "dachub-hub", "/hub/metrics")],
)
def test_prometheus_is_led_to_both_parts_with_a_token_by_reference(
    objects: Objects, name: str, job: str, path: str
) -> None:
    monitor = objects.one("ServiceMonitor", name)
    assert monitor["metadata"]["labels"]["release"] == "stack"
    (endpoint,) = monitor["spec"]["endpoints"]
    assert endpoint["path"] == path
    assert endpoint["authorization"] == {"credentials": {"name": "dachub", "key": "metrics-token"}}
    assert endpoint["relabelings"][0]["replacement"] == job


def test_the_rule_holds_every_alert_and_leads_to_the_published_pages(objects: Objects) -> None:
    rule = objects.one("PrometheusRule")
    made = {each["alert"]: each for group in rule["spec"]["groups"] for each in group["rules"]}
    assert list(made) == list(alerts())
    for name, alert in alerts().items():
        page = f"https://docs.example.org/runbooks/{name}.md"
        assert made[name]["annotations"] == alert["annotations"] | {"runbook_url": page}
        assert made[name]["expr"] == alert["expr"]


def test_the_dashboard_is_found_by_the_sidecar(objects: Objects) -> None:
    made = objects.one("ConfigMap", "dachub-dashboard")
    assert made["metadata"]["labels"]["grafana_dashboard"] == "1"
    assert json.loads(made["data"]["dachub.json"]) == json.loads(DASHBOARD.read_text())


def test_only_that_namespace_is_let_in(objects: Objects) -> None:
    there = {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": "prometheus"}}}
    (service,) = objects.one("NetworkPolicy")["spec"]["ingress"]
    assert there in service["from"]
    hub: dict[str, Any] = z2jh.values(WATCHED)["hub"]
    assert hub["networkPolicy"]["ingress"] == [{"from": [there], "ports": [{"port": "http"}]}]


def test_the_hub_is_given_the_token_by_reference() -> None:
    given = z2jh.values(WATCHED)["hub"]["extraEnv"]["DACHUB_METRICS_TOKEN"]
    assert given == {"valueFrom": {"secretKeyRef": {"name": "dachub", "key": "metrics-token"}}}
