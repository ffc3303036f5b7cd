"""The chart that stands in for Zero to JupyterHub in tests on a cluster takes what dachub makes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.deploy.test_routes import rendered
from tests.harness.helm import ROOT

from dachub.hub.settings import HubSettings

STAND_IN = ROOT / "tests" / "k8s" / "hub-chart"


@pytest.mark.parametrize(
    ("homes", "kind"), [({}, "dynamic"), ({"kind": "shared", "claim": "cephfs"}, "static")]
)
def test_the_stand_in_hands_the_hub_all_that_it_needs(homes: dict[str, Any], kind: str) -> None:
    found = rendered(STAND_IN, homes=homes)
    assert found.names("Service") == {"hub", "proxy-public", "proxy-api"}
    HubSettings.model_validate_json(found.one("Secret", "hub-files")["stringData"]["dachub.json"])
    values = json.loads(found.one("Secret", "hub-values")["stringData"]["values.json"])
    assert values["singleuser"]["storage"]["type"] == kind
