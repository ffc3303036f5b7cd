"""People's ways in to a cluster, rendered by the real Zero to JupyterHub chart."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.harness.helm import KUBERNETES, ROOT, Helm, Objects

from dachub.config import Settings
from dachub.deploy import z2jh

ROUTES = ROOT / "deploy" / "routes"
CHART = os.environ.get("Z2JH_CHART")
DAY_MILLISECONDS = "86400000"

pytestmark = pytest.mark.skipif(CHART is None, reason="needs Z2JH_CHART, the path of the chart")


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart, with its schema as it is packaged: a checkout has it as YAML."""
    assert CHART is not None
    copy = tmp_path_factory.mktemp("chart") / "jupyterhub"
    shutil.copytree(CHART, copy)
    source = copy / "values.schema.yaml"
    if source.exists():
        (copy / "values.schema.json").write_text(json.dumps(yaml.safe_load(source.read_text())))
    return copy


def rendered(chart: Path, **cluster: Any) -> Objects:
    """What Helm makes of the chart, with the values that dachub makes of a section ``cluster``."""
    listen = {"public_url": "https://dac.example.org"}
    settings = Settings.model_validate({"listen": listen, "cluster": cluster})
    done = Helm.found().run(
        *("template", "jupyterhub", chart, "--kube-version", KUBERNETES),
        values=z2jh.values(settings),
    )
    assert done.returncode == 0, done.stderr
    return Objects([tree for tree in yaml.safe_load_all(done.stdout) if tree])


def routed(chart: Path, name: str) -> Objects:
    """The same with a file of ``deploy/routes`` among the site's own values."""
    return rendered(chart, hub={"values": yaml.safe_load((ROUTES / name).read_text())})


def service(found: Objects) -> dict[str, Any]:
    """The Service of the platform's proxy."""
    return found.one("Service", "proxy-public")


def test_an_nginx_finds_the_proxy_on_a_port_of_every_node(chart: Path) -> None:
    found = rendered(chart, entry={"kind": "NodePort", "node_port": 30080})
    spec = service(found)["spec"]
    assert (spec["type"], [port["nodePort"] for port in spec["ports"]]) == ("NodePort", [30080])
    assert found.names("Ingress") | found.names("HTTPRoute") == set()


def test_long_headers_pass_the_proxy(chart: Path) -> None:
    pod = rendered(chart).one("Deployment", "proxy")["spec"]["template"]["spec"]
    [container] = pod["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environment["NODE_OPTIONS"] == "--max-http-header-size=65536"


def test_a_load_balancer_keeps_silent_notebooks_connected(chart: Path) -> None:
    found = service(routed(chart, "load-balancer.yaml"))
    notes = found["metadata"]["annotations"]
    assert found["spec"]["loadBalancerIP"] == "10.20.0.10"
    assert notes["service.beta.kubernetes.io/openstack-internal-load-balancer"] == "true"
    for side in ("client", "member"):
        assert notes[f"loadbalancer.openstack.org/timeout-{side}-data"] == DAY_MILLISECONDS


def test_an_ingress_leads_to_the_proxy(chart: Path) -> None:
    found = routed(chart, "ingress.yaml")
    [rule] = found.one("Ingress", "jupyterhub")["spec"]["rules"]
    [path] = rule["http"]["paths"]
    assert (rule["host"], path["path"]) == ("dac.example.org", "/")
    assert path["backend"]["service"]["name"] == "proxy-public"
    assert service(found)["spec"]["type"] == "ClusterIP"


def test_a_route_leads_to_the_proxy(chart: Path) -> None:
    spec = routed(chart, "http-route.yaml").one("HTTPRoute", "jupyterhub")["spec"]
    assert spec["hostnames"] == ["dac.example.org"]
    assert spec["rules"] == [{"backendRefs": [{"name": "proxy-public", "port": 80}]}]
