"""A storm of starts is let through, whatever Zero to JupyterHub said of it before."""

from __future__ import annotations

from pathlib import Path

import pytest
from traitlets.config import Config

from dachub.hub import configuration
from dachub.hub.settings import HubSettings

BEFORE = {
    "JupyterHub": {"concurrent_spawn_limit": 64, "active_server_limit": 200},
    "Spawner": {"consecutive_failure_limit": 5},
    "KubeSpawner": {"start_timeout": 300},
}
WHERE = {
    "machine": {
        "bind_url": "http://127.0.0.1:8000", "hub_port": 8081, "proxy_api_port": 8001,
        "homes": "/srv/homes", "unix_accounts": False, "log_directory": "/var/log",
    },
    "pods": {},
}  # fmt: skip


@pytest.mark.parametrize("place", WHERE)
def test_nobody_is_answered_429_and_a_wait_is_no_slow_start(place: str, tmp_path: Path) -> None:
    if place == "pods":
        pytest.importorskip("kubespawner")
    settings = HubSettings.model_validate(
        {
            "state_directory": tmp_path, "service_url": "http://127.0.0.1:1",
            "public_url": "http://127.0.0.1:8000", place: WHERE[place],
        }
    )  # fmt: skip
    c = Config(BEFORE)
    for part in (configuration._hub, configuration._place, configuration._servers):
        part(c, settings)
    assert (c.JupyterHub.concurrent_spawn_limit, c.JupyterHub.active_server_limit) == (0, 0)
    spawner = c.JupyterHub.spawner_class
    said = {}
    for section in spawner.section_names():  # the last one wins
        said |= c[section]
    servers = settings.servers
    assert said["start_timeout"] > servers.queue_seconds + servers.start_timeout_seconds
    assert said["consecutive_failure_limit"] == 0
