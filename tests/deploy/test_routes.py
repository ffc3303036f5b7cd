"""The values for people's way in, rendered by the real Zero to JupyterHub chart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROUTES = Path(__file__).parents[2] / "deploy" / "routes"
CHART = os.environ.get("Z2JH_CHART")

pytestmark = [
    pytest.mark.skipif(shutil.which("helm") is None, reason="needs helm"),
    pytest.mark.skipif(CHART is None, reason="needs Z2JH_CHART, the path of the chart"),
]


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


def rendered(chart: Path, name: str) -> dict[tuple[str, str], Any]:
    """What Helm makes of it, by kind and name."""
    words = ["helm", "template", "jupyterhub", chart, "--kube-version", "1.34.0"]
    words += ["--values", ROUTES / name]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    made = [tree for tree in yaml.safe_load_all(done.stdout) if tree]
    return {
        (tree["kind"], tree["metadata"]["name"]): tree["spec"] for tree in made if "spec" in tree
    }


def test_an_nginx_finds_the_proxy_on_a_port_of_every_node(chart: Path) -> None:
    found = rendered(chart, "node-port.yaml")
    service = found["Service", "proxy-public"]
    assert service["type"] == "NodePort"
    assert [port["nodePort"] for port in service["ports"]] == [30080]
    assert not [kind for kind, _ in found if kind in {"Ingress", "HTTPRoute"}]


def test_an_ingress_leads_to_the_proxy(chart: Path) -> None:
    found = rendered(chart, "ingress.yaml")
    [rule] = found["Ingress", "jupyterhub"]["rules"]
    [path] = rule["http"]["paths"]
    assert (rule["host"], path["path"]) == ("dac.example.org", "/")
    assert path["backend"]["service"]["name"] == "proxy-public"
    assert found["Service", "proxy-public"]["type"] == "ClusterIP"


def test_a_route_leads_to_the_proxy(chart: Path) -> None:
    route = rendered(chart, "http-route.yaml")["HTTPRoute", "jupyterhub"]
    assert route["hostnames"] == ["dac.example.org"]
    assert route["rules"] == [{"backendRefs": [{"name": "proxy-public", "port": 80}]}]


@pytest.mark.parametrize("name", sorted(path.name for path in ROUTES.iterdir()))
def test_long_headers_pass_the_proxy(chart: Path, name: str) -> None:
    [container] = rendered(chart, name)["Deployment", "proxy"]["template"]["spec"]["containers"]
    environment = {entry["name"]: entry.get("value") for entry in container["env"]}
    assert environment["NODE_OPTIONS"] == "--max-http-header-size=65536"
