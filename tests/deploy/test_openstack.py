"""The one file of the OpenStack page makes everything that the page makes of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from dachub import config
from dachub.config import Settings
from dachub.deploy import chart, nginx, z2jh

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "openstack.md"


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """The example of the page, beside the files that it names."""
    [example] = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "dachub.yaml").write_text(example)
    (tmp_path / "conditions.txt").write_text("Be kind.")
    return config.load(tmp_path / "dachub.yaml")


def test_the_proxy_is_led_to_the_load_balancer_that_the_cluster_makes(settings: Settings) -> None:
    route = yaml.safe_load((ROOT / "deploy/routes/load-balancer.yaml").read_text())
    service = z2jh.values(settings)["proxy"]["service"]
    assert {key: service[key] for key in route["proxy"]["service"]} == route["proxy"]["service"]
    written = nginx.written(settings)
    assert f"server {service['loadBalancerIP']}:80;" in written["dachub.conf"]
    assert "Be kind." in written["static/acceptable-use.html"]


def test_core_and_peoples_servers_have_nodes_of_their_own(settings: Settings) -> None:
    group = "capi.stackhpc.com/node-group"
    values = z2jh.values(settings)
    assert values["singleuser"]["nodeSelector"] == {group: "users"}
    for part in (
        values["hub"],
        values["proxy"]["chp"],
        values["scheduling"]["userScheduler"],
        chart.values(settings)["scheduling"],
    ):
        assert part["nodeSelector"] == {group: "default-worker"}
    assert 'name           = "users"' in (ROOT / "deploy/tofu/cluster.tf").read_text()
